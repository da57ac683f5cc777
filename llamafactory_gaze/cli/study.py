"""`llamafactory-gaze study`: variants with seeds in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llamafactory_gaze.cli.common import errors_as_sentences


def study(
    file: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="What is compared: see yaml_recipes/studies/.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder for everything that the study writes. Default: saves/studies/NAME.")
    ] = None,
    runs: Annotated[
        Path | None,
        typer.Option(
            help="Folder of what is trained; studies that share it do not train the same twice. "
            "Default: `runs` in the output folder."
        ),
    ] = None,
    dataset_dir: Annotated[
        Path | None, typer.Option(help="Run on the data sets of this folder. Default: the simulated data of the demo.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Name given to `llamafactory-gaze dataset`: NAME_stage1, NAME_stage2, NAME_test.")
    ] = None,
    recipes: Annotated[
        Path | None,
        typer.Option(
            help="Folder of stage1.yaml, stage2.yaml and predict_injected.yaml, instead of the file's `recipes` and "
            "the steps that it sets for them."
        ),
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Seed of training instead of the file's. Repeatable.")] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Commands to run at the same time. Default: 2 with recipes for the CPU, else 1."),
    ] = None,
    max_steps: Annotated[int | None, typer.Option(min=1, help="Stop every training after so many steps.")] = None,
) -> None:
    """Train, predict and compare several variants with several seeds, and put them into one table.

    Every variant runs through both stages, is compared with a baseline that was trained without gaze on the same data
    and steps, and stands in study.md with its metrics, their intervals and its loss curve. A second call goes on where
    the first one stopped.

    \b
    Example:
      llamafactory-gaze study yaml_recipes/studies/layers.yaml
      llamafactory-gaze study yaml_recipes/studies/fusion.yaml --recipes yaml_recipes \\
        --dataset-dir data_registry --dataset mine
    """

    from llamafactory_gaze.study.definition import StudyError, read_study

    with errors_as_sentences(StudyError):
        seeds = tuple(seed) if seed else None
        asked = read_study(file, dataset_dir=dataset_dir, dataset=dataset, recipes=recipes, seeds=seeds)
        from llamafactory_gaze.study.run import run_study  # takes seconds, which a mistake in the file need not

        failed = run_study(asked, output or Path("saves/studies") / file.stem, runs, jobs, max_steps)
    if failed:
        raise typer.Exit(1)
