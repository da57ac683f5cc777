"""`llamafactory-gaze demo`: the whole experiment with a tiny model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    output: Annotated[Path, typer.Option(help="Folder for everything that the demo writes.")] = Path("saves/demo"),
    dataset_dir: Annotated[
        Path | None, typer.Option(help="Run on the data sets of this folder. Default: the simulated data of the demo.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Name given to `llamafactory-gaze dataset`: NAME_stage1, NAME_stage2, NAME_test.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Trainings to run at the same time.")] = 2,
    max_steps: Annotated[int | None, typer.Option(min=1, help="Stop every training after so many steps.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Delete an earlier run in the output folder, and begin anew.")
    ] = False,
) -> None:
    """Run the whole experiment with a tiny model: both stages with and without gaze, predictions, comparison.

    \b
    Example:
      llamafactory-gaze demo
      llamafactory-gaze demo --dataset-dir data_registry --dataset osie --output saves/osie
    """
    from llamafactory_gaze.demo.run import run_demo

    run_demo(
        output=output,
        dataset_dir=dataset_dir,
        dataset=dataset,
        jobs=jobs,
        max_steps=max_steps,
        overwrite=overwrite,
    )
