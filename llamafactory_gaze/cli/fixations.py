"""`llamafactory-gaze fixations`: eye trackers' files become one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from llamafactory_gaze.cli.common import column_mapping, errors_as_sentences


def fixations(
    recordings: Annotated[
        list[Path],
        typer.Argument(
            metavar="RECORDING...",
            help="EyeLink .asc or .asc.gz, Data Viewer fixation reports, CSV, TSV or Parquet tables of fixations or "
            "samples, BIDS _physio.tsv.gz or _physioevents.tsv.gz, OSIE's fixations.mat, CAT2000's trainSet folder, "
            "SALICON's .json or folder of .mat.",
        ),
    ],
    output: Annotated[Path, typer.Option(help="The table of all fixations, a CSV file.")],
    format: Annotated[
        Literal["eyelink", "data-viewer", "table", "samples", "bids", "osie", "cat2000", "salicon"] | None,
        typer.Option(help="What the recordings are. Default: found by their endings and content."),
    ] = None,
    participant: Annotated[
        str | None, typer.Option(help="The participant, instead of what the recordings (.asc: their names) say.")
    ] = None,
    image_message: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX", help="EyeLink: the message that names an image, with a group `image`, not !V IMGLOAD."
        ),
    ] = None,
    image_named: Annotated[
        Literal["before", "after"] | None,
        typer.Option(help="EyeLink: where images are named, before or after their recording. Default: as is found."),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(metavar="OURS=THEIRS", help="Tables: name of a column, e.g. image=PICTURE. Repeatable."),
    ] = None,
    detect: Annotated[
        Literal["ivt", "idt"] | None,
        typer.Option(
            help="Find fixations in samples: by velocity or by dispersion. Needs --screen (BIDS may name it). EyeLink: "
            "instead of reading its own."
        ),
    ] = None,
    screen: Annotated[
        str | None,
        typer.Option(
            metavar="paper|WxH,CM_WIDE,CM_AWAY",
            help="With --detect: pixels, width and distance in cm of the screen. paper: 24-inch, 90 cm.",
        ),
    ] = None,
    velocity: Annotated[
        float | None, typer.Option(metavar="DEG_PER_S", help="ivt: a fixation is slower. Default: 30.")
    ] = None,
    dispersion: Annotated[
        float | None, typer.Option(metavar="DEG", help="idt: width + height of a fixation are less. Default: 1.")
    ] = None,
    min_fixation: Annotated[
        float | None, typer.Option(metavar="MS", help="With --detect: the shortest fixation. Default: ivt 60, idt 100.")
    ] = None,
    eye: Annotated[Literal["left", "right", "both"], typer.Option(help="Keep the fixations of one eye.")] = "both",
    only_on_images: Annotated[
        bool, typer.Option("--only-on-images", help="Leave out fixations before an image was named in their trial.")
    ] = False,
    skip_bad_lines: Annotated[
        bool, typer.Option("--skip-bad-lines", help="Leave out lines that cannot be read, and say how many.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")] = False,
) -> None:
    """Read eye trackers' files into one table of fixations: image, participant, trial, index, x, y, duration_ms.

    \b
    Example:
      llamafactory-gaze fixations recordings/*.asc --output fixations.csv --eye left
      llamafactory-gaze fixations p1.asc --output p1.csv --image-message '^picture (?P<image>\\S+)'
      llamafactory-gaze fixations report.txt --output fixations.csv --columns image=PICTURE
      llamafactory-gaze fixations gaze.csv --output fixations.csv --detect ivt --screen 1920x1080,53.1,90
      llamafactory-gaze fixations sub-*/beh/*_physio.tsv.gz --output fixations.csv --detect idt --dispersion 1.5
      llamafactory-gaze fixations CAT2000/trainSet --output fixations.csv
    """
    from rich.console import Console
    from rich.progress import Progress

    from llamafactory_gaze.data.maps.geometry import parse_screen
    from llamafactory_gaze.data.recordings import choose_detection, read_recording
    from llamafactory_gaze.data.recordings import output as table
    from llamafactory_gaze.data.tables import DataError

    console = Console(stderr=True)
    with errors_as_sentences(DataError):
        table.check_inputs(recordings)
        table.check_output(output, recordings, overwrite)
        mapping = column_mapping(columns or [])
        detection = choose_detection(
            detect, velocity, dispersion, min_fixation, None if screen is None else parse_screen(screen)
        )
        with Progress(console=console) as progress:
            read = [
                read_recording(
                    path,
                    format,
                    participant=participant,
                    image_message=image_message,
                    image_named=image_named,
                    columns=mapping,
                    detection=detection,
                    eye=eye,
                    only_on_images=only_on_images,
                    skip_bad_lines=skip_bad_lines,
                )
                for path in progress.track(recordings, description="Reading")
            ]
        table.check_participants(read, named=participant is not None)
        count = table.write_fixations(read, output)
    Console(highlight=False).print("\n".join(table.summary(read, output, count)), markup=False, soft_wrap=True)
