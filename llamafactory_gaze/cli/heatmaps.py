"""`llamafactory-gaze heatmaps`: fixations become saliency maps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llamafactory_gaze.cli import map_options as shared
from llamafactory_gaze.cli.common import column_mapping, errors_as_sentences
from llamafactory_gaze.data.maps.options import MapOptions


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
    screen: shared.ScreenOption = None,
    placement: shared.PlacementOption = None,
    sigma_px: shared.SigmaPxOption = None,
    sigma_deg: shared.SigmaDegOption = None,
    weight: shared.WeightOption = MapOptions.weight,
    participants: shared.ParticipantsOption = MapOptions.participants,
    drop_first: shared.DropFirstOption = False,
    min_duration: shared.MinDurationOption = 0,
    off_image: shared.OffImageOption = MapOptions.off_image,
    maps: shared.MapsOption = MapOptions.maps,
    longest_side: shared.LongestSideOption = None,
    columns: shared.ColumnsOption = None,
    jobs: shared.JobsOption = 2,
) -> None:
    """Make saliency maps from fixations: 16-bit PNG files, and maps.json that says how they were made.

    \b
    Example:
      llamafactory-gaze heatmaps fixations.csv --screen paper --placement fill \\
        --images photographs --output maps
      llamafactory-gaze heatmaps fixations.csv --image-size 800x600 --sigma-px 24 --output maps
    """
    from rich.console import Console
    from rich.progress import Progress

    from llamafactory_gaze.data.maps.folder import HeatmapOptions, make_heatmaps, summary
    from llamafactory_gaze.data.maps.geometry import parse_size
    from llamafactory_gaze.data.tables import DataError

    console = Console(stderr=True)
    with errors_as_sentences(DataError):
        options = HeatmapOptions(
            fixations=fixations,
            output=output,
            making=shared.map_options(
                screen,
                placement,
                sigma_px,
                sigma_deg,
                weight,
                participants,
                drop_first,
                min_duration,
                off_image,
                maps,
                longest_side,
            ),
            image_size=None if image_size is None else parse_size(image_size, "--image-size"),
            images=images,
            columns=column_mapping(columns or []),
            jobs=jobs,
        )
        with Progress(console=console) as progress:
            report = make_heatmaps(options, lambda items, what: progress.track(items, description=what))
    Console(highlight=False).print(summary(report, output), markup=False, soft_wrap=True)
