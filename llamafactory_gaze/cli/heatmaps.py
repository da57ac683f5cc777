"""`llamafactory-gaze heatmaps`: fixations become saliency maps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from llamafactory_gaze.cli.common import column_mapping, errors_as_sentences


def heatmaps(
    fixations: Annotated[
        Path,
        typer.Argument(
            metavar="FIXATIONS",
            help="CSV, TSV or Parquet with the columns image, participant, x, y, duration_ms; trial and index may be.",
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder for the maps and maps.json: new, empty or of this command.")],
    image_size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Size of the images in pixels. Default: the screen's.")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Instead: folder of the images, whose sizes are read.")] = None,
    screen: Annotated[
        str | None,
        typer.Option(
            metavar="paper|WxH,CM_WIDE,CM_AWAY",
            help="x and y are pixels of this screen: its pixels, width and distance in cm. paper: 24-inch, 90 cm. "
            "Default: x and y are pixels of the image.",
        ),
    ] = None,
    placement: Annotated[
        str | None,
        typer.Option(
            metavar="center|fill|X,Y,W,H",
            help="Where the image stood: at its own size in the middle, as large as fits, or in these screen pixels.",
        ),
    ] = None,
    sigma_px: Annotated[
        float | None, typer.Option(help="Standard deviation of the Gaussian in pixels of the image.")
    ] = None,
    sigma_deg: Annotated[
        float | None, typer.Option(help="Or in degrees of visual angle; needs --screen. Default with --screen: 1.")
    ] = None,
    weight: Annotated[
        Literal["duration", "count"], typer.Option(help="What a fixation counts for in its map.")
    ] = "duration",
    participants: Annotated[
        Literal["pooled", "equal"], typer.Option(help="equal: everybody has the same total weight in a map.")
    ] = "pooled",
    drop_first: Annotated[
        bool, typer.Option("--drop-first", help="Leave out the first fixation of each participant (and trial).")
    ] = False,
    min_duration: Annotated[float, typer.Option(min=0, metavar="MS", help="Leave out shorter fixations.")] = 0,
    maps: Annotated[
        Literal["image", "participant", "leave-one-out", "trial"],
        typer.Option(help="One map per image (the paper's), participant, all but one participant, or trial."),
    ] = "image",
    longest_side: Annotated[
        int | None, typer.Option(min=1, help="Longer side of a map in pixels. Default: the image's.")
    ] = None,
    columns: Annotated[
        list[str] | None, typer.Option(metavar="OURS=THEIRS", help="Name of a column in the table. Repeatable.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Maps to make at the same time.")] = 2,
) -> None:
    """Make saliency maps from fixations: 16-bit PNG files, and maps.json that says how they were made.

    \b
    Example:
      llamafactory-gaze heatmaps fixations.csv --screen paper --placement fill --images photographs --output maps
      llamafactory-gaze heatmaps fixations.csv --image-size 800x600 --sigma-px 24 --output maps
    """
    from rich.console import Console
    from rich.progress import Progress

    from llamafactory_gaze.data.geometry import parse_screen, parse_size
    from llamafactory_gaze.data.heatmap_files import HeatmapOptions, make_heatmaps, summary
    from llamafactory_gaze.data.tables import DataError

    console = Console(stderr=True)
    with errors_as_sentences(DataError):
        options = HeatmapOptions(
            fixations=fixations,
            output=output,
            image_size=None if image_size is None else parse_size(image_size, "--image-size"),
            images=images,
            screen=None if screen is None else parse_screen(screen),
            placement=placement,
            sigma_px=sigma_px,
            sigma_deg=sigma_deg,
            weight=weight,
            participants=participants,
            drop_first=drop_first,
            min_duration=min_duration,
            maps=maps,
            longest_side=longest_side,
            columns=column_mapping(columns or []),
            jobs=jobs,
        )
        with Progress(console=console) as progress:
            report = make_heatmaps(options, lambda items, n: progress.track(items, total=n, description="Making maps"))
    Console(highlight=False).print(summary(report, output), markup=False, soft_wrap=True)
