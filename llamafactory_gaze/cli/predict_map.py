"""`llamafactory-gaze predict-map`: saliency maps without an eye tracker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from llamafactory_gaze.cli.common import column_mapping, errors_as_sentences


if TYPE_CHECKING:
    from llamafactory_gaze.data.predicted.source import Source


_SOURCE = "What the maps are made of (one of these)"


def predict_map(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Images, or folders of images.")],
    output: Annotated[
        Path, typer.Option(help="Folder for the maps and sources.json; maps of earlier calls may lie there.")
    ] = Path("saves/predicted"),
    method: Annotated[
        Literal["spectral-residual", "fine-grained"] | None,
        typer.Option(help="An algorithm of OpenCV. Default: spectral-residual.", rich_help_panel=_SOURCE),
    ] = None,
    predictor: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:FUNCTION",
            help="A function of your own, package.module:function or file.py:function, which is run: RGB picture of "
            "PIL in, array (H, W) of numbers from 0 up out, of any scale.",
            rich_help_panel=_SOURCE,
        ),
    ] = None,
    maps: Annotated[
        Path | None,
        typer.Option(help="Folder of another model's maps, named as the images.", rich_help_panel=_SOURCE),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(
            help="Mouse traces: CSV, TSV or Parquet with the columns image, x, y, time_ms; participant and trial may "
            "be. Or SALICON's .mat files. A position counts for as long as the pointer stayed.",
            rich_help_panel=_SOURCE,
        ),
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LEFT,TOP,RIGHT,BOTTOM",
            help="A part of the image in its pixels, its edges soft by --sigma-px. Repeatable.",
            rich_help_panel=_SOURCE,
        ),
    ] = None,
    click: Annotated[
        list[str] | None,
        typer.Option(metavar="X,Y", help="A pixel of the image. Repeatable.", rich_help_panel=_SOURCE),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(metavar="OURS=THEIRS", help="Name of a column of --trace, e.g. time_ms=t. Repeatable."),
    ] = None,
    sigma_px: Annotated[
        float | None,
        typer.Option(
            help="Standard deviation of a Gaussian in pixels of the image: around each click and position, at the "
            "edges of boxes; other maps are smoothed by it, where it is given."
        ),
    ] = None,
    longest_side: Annotated[
        int | None, typer.Option(min=1, help="Longer side of a map in pixels. Default: the image's.")
    ] = None,
    preview: Annotated[
        Path | None, typer.Option(help="Also draw the first maps over their images, into this .png file.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace maps of the same name that were made of something else.")
    ] = False,
) -> None:
    """Make saliency maps without an eye tracker: by a predictor, from mouse traces, a box or a click.

    Each map is a 16-bit PNG that says in its file what it was made of, so that nobody takes it for gaze. Maps that are
    there and say the same are kept: after a kill, call again.

    \b
    Example:
      llamafactory-gaze predict-map photo.jpg
      llamafactory-gaze predict-map photographs --output maps --preview maps.preview.png
      llamafactory-gaze predict-map photographs --output maps --predictor my_model.py:predict
      llamafactory-gaze predict-map photographs --output maps --trace mouse.csv --sigma-px 24
      llamafactory-gaze predict-map photo.jpg --output maps --click 420,310 --sigma-px 24
    """
    from rich.console import Console
    from rich.progress import Progress

    from llamafactory_gaze.data.predicted.folder import Options, predict_maps, summary
    from llamafactory_gaze.data.tables import DataError

    with errors_as_sentences(DataError, OSError):
        open_source = _source(method, predictor, maps, trace, box, click, columns, sigma_px)
        options = Options(images, output, longest_side, preview, overwrite)
        with Progress(console=Console(stderr=True)) as progress:
            report = predict_maps(options, open_source, lambda items, what: progress.track(items, description=what))
    Console(highlight=False).print(summary(report, output), markup=False, soft_wrap=True)


def _source(
    method: Literal["spectral-residual", "fine-grained"] | None,
    predictor: str | None,
    maps: Path | None,
    trace: Path | None,
    box: list[str] | None,
    click: list[str] | None,
    columns: list[str] | None,
    sigma_px: float | None,
) -> Callable[[], Source]:
    """What makes the source that was asked for.

    Raises:
        DataError: several sources, or options that do not go with the one.
    """
    from llamafactory_gaze.data.predicted.given import GivenMaps
    from llamafactory_gaze.data.predicted.marks import Boxes, Clicks, parse_box, parse_click
    from llamafactory_gaze.data.predicted.predictors import OpenCVPredictor, UserPredictor
    from llamafactory_gaze.data.predicted.traces import MouseTrace
    from llamafactory_gaze.data.tables import DataError

    sources = {
        "--method": method,
        "--predictor": predictor,
        "--maps": maps,
        "--trace": trace,
        "--box": box,
        "--click": click,
    }
    given = [option for option, value in sources.items() if value]
    if len(given) > 1:
        raise DataError(f"{' and '.join(given)} each say what the maps are made of; give one of them.")
    if columns and trace is None:
        raise DataError("--columns names columns of mouse traces; give --trace as well.")
    mapping = column_mapping(columns or [])
    if sigma_px is None:
        if trace or box or click:
            raise DataError(
                f"{given[0]} needs the Gaussian's width; give --sigma-px, about one degree of visual angle in pixels "
                "of the image (OSIE: 24)."
            )
    elif not 0 < sigma_px < float("inf"):
        raise DataError(f"--sigma-px is {sigma_px:g}; expected pixels of the image, above 0.")
    elif trace is not None:
        return lambda: MouseTrace(trace, sigma_px, mapping)
    elif box:
        boxes = [parse_box(text) for text in box]
        return lambda: Boxes(boxes, sigma_px)
    elif click:
        clicks = [parse_click(text) for text in click]
        return lambda: Clicks(clicks, sigma_px)
    if maps is not None:
        return lambda: GivenMaps(maps, sigma_px)
    if predictor is not None:
        return lambda: UserPredictor.load(predictor, sigma_px)
    return lambda: OpenCVPredictor(method or "spectral-residual", sigma_px)
