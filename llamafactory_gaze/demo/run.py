"""Runs the paper's whole experiment with the tiny model: every step is a stock command, several side by side.

    data -> stage1 -> stage2 -> predict_injected, predict_off, predict_shuffle -> compare
         -> baseline_stage1 -> baseline_stage2 -> predict_baseline             ->
         -> predict_untuned                                                    ->

How steps are run and resumed: `llamafactory_gaze/steps.py`.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

import llamafactory_gaze
from llamafactory_gaze.data.entries import files_read
from llamafactory_gaze.demo.dataset import make_demo_data
from llamafactory_gaze.demo.picture import draw_two_gazes
from llamafactory_gaze.steps import CPU, Step, StepFailed, llamafactory, run_steps, write_whole


ROOT = Path(llamafactory_gaze.__file__).parents[1]
RECIPES = ROOT / "yaml_recipes" / "demo"
BASE_MODEL = Path(__file__).with_name("base_model")
SYSTEMS = ("injected", "baseline", "off", "shuffle", "untuned")
SIMULATED = "Pictures, observers, gaze and descriptions are simulated: no result about people or real images."

console = Console(highlight=False)


def run_demo(
    output: Path,
    dataset_dir: Path | None = None,
    dataset: str | None = None,
    jobs: int = 2,
    max_steps: int | None = None,
    overwrite: bool = False,
) -> None:
    """Makes the simulated data (unless another data set is named), trains, predicts and compares.

    Args:
        output: everything is written here: `data/`, `injected/`, `baseline/`, `logs/`, one `*.jsonl` of predictions for
            each system, `test.json`, and `report/` with the comparison.
        dataset_dir, dataset: run on `<dataset>_stage1`, `_stage2` and `_test` of that folder's dataset_info.json.
        jobs: commands that run at the same time, one thread of torch each.
        max_steps: end every training after so many steps.
        overwrite: begin anew, deleting what an earlier run has written.

    Raises:
        typer.Exit: a step failed; the log's end has been printed.
    """
    if not RECIPES.is_dir():
        raise typer.BadParameter(f"the demo's recipes are not at {RECIPES}: run it from a clone of the project.")
    if (dataset_dir is None) != (dataset is None):
        raise typer.BadParameter("--dataset-dir and --dataset belong together: give both or neither.")
    output = output.absolute()
    if dataset_dir is not None:
        rows_of_test(dataset_dir, f"{dataset}_test")  # before anything is deleted
    if overwrite:
        remove_run(output)
    output.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()

    simulated = dataset is None
    if dataset_dir is None or dataset is None:
        dataset_dir, dataset = output / "data", "demo"
        if not dataset_dir.exists():
            console.print("Drawing the SIMULATED data set …")
            make_demo_data(dataset_dir)
    dataset_dir = dataset_dir.absolute()
    copy_test_set(dataset_dir, f"{dataset}_test", output / "test.json")

    try:
        steps = plan(output, dataset_dir, dataset, max_steps)
        failures = run_steps(steps, jobs, console, stop_at_failure=True)
        if failures:
            raise StepFailed(next(iter(failures.values())))
        for name in SYSTEMS:
            predictions = output / "predictions" / name / "generated_predictions.jsonl"
            write_whole(output / f"{name}.jsonl", predictions.read_text())
        if simulated:
            draw_two_gazes(output, output / "two_gazes.png")
        console.print(f"Trained and predicted in {time.monotonic() - started:.0f} s. Comparing …")
        _compare(output, simulated, title=f"llamafactory-gaze, tiny model, data set '{dataset}'")
    except StepFailed as failure:
        console.print(f"[bold red]Error:[/] {failure}", soft_wrap=True)
        raise typer.Exit(1) from failure


def plan(output: Path, dataset_dir: Path, dataset: str, max_steps: int | None = None) -> list[Step]:
    """The steps of the experiment, with every path of their recipes set."""
    common = {"model_name_or_path": str(BASE_MODEL), "dataset_dir": str(dataset_dir)}
    limit = {} if max_steps is None else {"max_steps": max_steps}
    read = cache(files_read)

    def step(recipe: str, values: dict[str, Any], needs: tuple[str, ...] = ()) -> Step:
        file = RECIPES / f"{recipe}.yaml"
        return Step(
            name=recipe,
            command=llamafactory(file, {**common, **values}),
            result=Path(values["output_dir"]),
            log=output / "logs" / f"{recipe}.log",
            needs=needs,
            inputs=(file, BASE_MODEL, *read(dataset_dir, values.get("dataset") or values["eval_dataset"])),
            environment=CPU,
        )

    def stage(number: int, system: str) -> Step:
        prefix = "" if system == "injected" else f"{system}_"
        values = {
            "dataset": f"{dataset}_stage{number}",
            "output_dir": str(output / system / f"stage{number}"),
            **limit,
        }
        if number == 1:
            return step(f"{prefix}stage1", values)
        values["adapter_name_or_path"] = str(output / system / "stage1")
        return step(f"{prefix}stage2", values, needs=(f"{prefix}stage1",))

    def predict(name: str, system: str | None) -> Step:
        values = {"eval_dataset": f"{dataset}_test", "output_dir": str(output / "predictions" / name)}
        if system is None:
            return step(f"predict_{name}", values)
        values["adapter_name_or_path"] = f"{output / system / 'stage1'},{output / system / 'stage2'}"
        return step(f"predict_{name}", values, needs=("stage2" if system == "injected" else f"{system}_stage2",))

    return [
        stage(1, "injected"),
        stage(1, "baseline"),
        stage(2, "injected"),
        stage(2, "baseline"),
        predict("injected", "injected"),
        predict("baseline", "baseline"),
        predict("off", "injected"),
        predict("shuffle", "injected"),
        predict("untuned", None),
    ]


def _compare(output: Path, simulated: bool, title: str) -> None:
    """The comparison, its output on this terminal. Where WordNet cannot be had, the report says what is missing."""
    wordnet = subprocess.run([sys.executable, "-m", "eval.wordnet"], cwd=ROOT, text=True, capture_output=True)
    (output / "logs" / "wordnet.log").write_text(wordnet.stdout + wordnet.stderr)
    command = [sys.executable, "-m", "eval.compare", "--title", title]
    command += ["--baseline", str(output / "baseline.jsonl"), "--injected", str(output / "injected.jsonl")]
    command += ["--dataset", str(output / "test.json"), "--output", str(output / "report")]
    for name in ("off", "shuffle", "untuned"):
        command += ["--control", f"{name}={output / f'{name}.jsonl'}"]
    if simulated:
        command += ["--simulated", SIMULATED]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    if subprocess.run(command, cwd=ROOT, env=environment).returncode:
        raise StepFailed(f"`{' '.join(command)}` failed; see above.")


def remove_run(output: Path) -> None:
    """Deletes what a run has written, and nothing else that lies there.

    Raises:
        typer.BadParameter: there is something, but no run.
    """
    if not any(output.glob("[!.]*")):  # a killed call may have left hidden files, which the next one removes
        return
    if not any(output.glob("logs/stage1.*")):
        raise typer.BadParameter(f"{output} holds no run of the demo to overwrite: name another --output.")
    for name in ("data", "injected", "baseline", "predictions", "logs", "report"):
        shutil.rmtree(output / name, ignore_errors=True)
    for name in ("test.json", "two_gazes.png", *(f"{system}.jsonl" for system in SYSTEMS)):
        (output / name).unlink(missing_ok=True)


def copy_test_set(dataset_dir: Path, name: str, target: Path) -> None:
    """Puts the test rows beside their predictions, with paths that are right from there.

    Raises:
        typer.BadParameter: as `rows_of_test`.
    """
    rows = rows_of_test(dataset_dir, name)
    for row in rows:
        for column in ("images", "saliencies"):
            paths = row.get(column) or []
            row[column] = [path and os.path.relpath(dataset_dir / path, target.parent) for path in paths]
    write_whole(target, json.dumps(rows, indent=1, ensure_ascii=False) + "\n")


def rows_of_test(dataset_dir: Path, name: str) -> list[dict[str, Any]]:
    """The rows of a test set.

    Raises:
        typer.BadParameter: the registry lacks the data set, or it is no .json or .jsonl file of rows.
    """
    info = dataset_dir / "dataset_info.json"
    if not info.is_file():
        raise typer.BadParameter(f"{info} does not exist: --dataset-dir is the folder that holds it.")
    registry = json.loads(info.read_text(encoding="utf-8"))
    if name not in registry:
        raise typer.BadParameter(f"{info} has no data set {name}. It has: {', '.join(sorted(registry))}.")
    file = dataset_dir / str(registry[name].get("file_name"))
    if not file.is_file() or file.suffix not in (".json", ".jsonl"):
        raise typer.BadParameter(f"{info}, {name}: `file_name` must be a .json or .jsonl file; found {file}.")
    text = file.read_text(encoding="utf-8")
    return json.loads(text) if file.suffix == ".json" else [json.loads(line) for line in text.splitlines() if line]
