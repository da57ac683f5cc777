"""`llamafactory-gaze validate`: is a data set fit for training and evaluation?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llamafactory_gaze.cli.common import errors_as_sentences


def validate(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET",
            help="Name given to `llamafactory-gaze dataset` (checks NAME_stage1, NAME_stage2, NAME_test and "
            "all folds), or a single entry of dataset_info.json.",
        ),
    ],
    dataset_dir: Annotated[
        Path, typer.Option(help="LLaMA-Factory's dataset_dir: the folder of dataset_info.json.")
    ] = Path("data_registry"),
    media_dir: Annotated[
        Path | None, typer.Option(help="Folder of the paths in rows. Default, as in LLaMA-Factory: --dataset-dir.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Lines to print of each kind of problem.")] = 10,
    json: Annotated[Path | None, typer.Option(help="Write all problems to this file, for machines.")] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Files to decode at the same time. Default: all cores.")
    ] = None,
) -> None:
    """Check a data set: files, sizes, maps, rows, text, duplicates, and leaks between training and test.

    Exit code 0: no problem (there may be warnings); 2: problems; 1: the data set could not be checked at all.
    Rows are counted from 0, as in LLaMA-Factory's own messages.

    \b
    Example:
      llamafactory-gaze validate osie
      llamafactory-gaze validate gaze_test --dataset-dir data_registry --json problems.json
    """
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from llamafactory_gaze.data.tables import DataError
    from llamafactory_gaze.data.validation.report import lines_of, validate_dataset

    with errors_as_sentences(DataError, OSError), Progress(console=Console(stderr=True), transient=True) as progress:
        report = validate_dataset(
            dataset, dataset_dir, media_dir, jobs, lambda items, what: progress.track(items, description=what)
        )
        if json is not None:
            report.write_json(json)

    console = Console(highlight=False)
    table = Table("entry")
    columns = ["rows", "images", "videos", "maps", "people", "categories"]
    if not any(line.videos for line in report.summary):
        columns.remove("videos")
    for column in columns:
        table.add_column(column, justify="right")
    for line in report.summary:
        table.add_row(line.entry, *(f"{getattr(line, column):,}" for column in columns))
    console.print(table)
    for word, style, problems in (("Problem", "bold red", report.errors), ("Warning", "bold yellow", report.warnings)):
        for said in lines_of(problems, limit):
            console.print(f"[{style}]{word}:[/] ", end="")
            console.print(said, markup=False, soft_wrap=True)
    console.print(f"Problems: {len(report.errors)}. Warnings: {len(report.warnings)}.")
    if report.errors:
        raise typer.Exit(2)
