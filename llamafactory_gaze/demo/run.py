"""Runs the paper's whole experiment with the tiny model: every step is a stock command, several side by side.

    data -> stage1 -> stage2 -> predict_injected, predict_off, predict_shuffle -> compare
         -> baseline_stage1 -> baseline_stage2 -> predict_baseline             ->
         -> predict_untuned                                                    ->

A step that has ended well is not run again unless its recipe, its values or a step before it has changed.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

import llamafactory_gaze
from llamafactory_gaze.demo.dataset import make_demo_data
from llamafactory_gaze.demo.picture import draw_two_gazes


ROOT = Path(llamafactory_gaze.__file__).parents[1]
RECIPES = ROOT / "yaml_recipes" / "demo"
BASE_MODEL = Path(__file__).with_name("base_model")
SIMULATED = "Pictures, observers, gaze and descriptions are simulated: no result about people or real images."

console = Console(highlight=False)


@dataclass
class Step:
    """One stock command.

    Attributes:
        name: of the recipe in `yaml_recipes/demo/`, without `.yaml`.
        values: keys of the recipe that this run sets otherwise.
        needs: names of the steps that must have ended before.
    """

    name: str
    values: dict[str, str]
    needs: tuple[str, ...] = ()
    key: str = field(default="", init=False)

    def command(self) -> list[str]:
        values = [f"{key}={value}" for key, value in self.values.items()]
        return [_executable("llamafactory-cli"), "train", str(RECIPES / f"{self.name}.yaml"), *values]


class StepFailed(Exception):
    """A command ended with an error; its log says why."""


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
    if overwrite and output.exists():
        shutil.rmtree(output)
    output.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()

    simulated = dataset is None
    if dataset_dir is None or dataset is None:
        dataset_dir, dataset = output / "data", "demo"
        if not dataset_dir.exists():
            console.print("Drawing the SIMULATED data set …")
            make_demo_data(dataset_dir)
    dataset_dir = dataset_dir.absolute()
    _copy_test_set(dataset_dir, f"{dataset}_test", output / "test.json")

    try:
        _run_all(plan(output, dataset_dir, dataset, max_steps), output, jobs)
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
    limit = {} if max_steps is None else {"max_steps": str(max_steps)}

    def stage(number: int, system: str) -> Step:
        prefix = "" if system == "injected" else f"{system}_"
        values = {
            **common,
            "dataset": f"{dataset}_stage{number}",
            "output_dir": str(output / system / f"stage{number}"),
            **limit,
        }
        if number == 1:
            return Step(f"{prefix}stage1", values)
        values["adapter_name_or_path"] = str(output / system / "stage1")
        return Step(f"{prefix}stage2", values, needs=(f"{prefix}stage1",))

    def predict(name: str, system: str | None) -> Step:
        values = {**common, "eval_dataset": f"{dataset}_test", "output_dir": str(output / "predictions" / name)}
        if system is None:
            return Step(f"predict_{name}", values)
        values["adapter_name_or_path"] = f"{output / system / 'stage1'},{output / system / 'stage2'}"
        return Step(f"predict_{name}", values, needs=("stage2" if system == "injected" else f"{system}_stage2",))

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


def _run_all(steps: list[Step], output: Path, jobs: int) -> None:
    """Runs every step once those that it needs are done; a failure lets the steps that are running end."""
    done: set[str] = set()
    by_name = {step.name: step for step in steps}
    for step in steps:
        step.key = _key(step, [by_name[name].key for name in step.needs])
    waiting: list[Step] = list(steps)
    failures: list[StepFailed] = []
    cancelled = threading.Event()
    with ThreadPoolExecutor(jobs) as pool:
        running: dict[Future[None], Step] = {}
        try:
            while waiting or running:
                ready = [step for step in waiting if done.issuperset(step.needs)]
                for step in ready[: jobs - len(running)] if not failures else []:
                    waiting.remove(step)
                    running[pool.submit(_run, step, output, cancelled)] = step
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    step = running.pop(future)
                    try:
                        future.result()
                        done.add(step.name)
                    except StepFailed as failure:
                        failures.append(failure)
        except KeyboardInterrupt:
            cancelled.set()
            raise
    if failures:
        raise failures[0]


def _run(step: Step, output: Path, cancelled: threading.Event) -> None:
    """One step, unless it has ended well before with the same recipe and values."""
    log, mark = output / "logs" / f"{step.name}.log", output / "logs" / f"{step.name}.done"
    result = Path(step.values["output_dir"])
    if mark.exists() and mark.read_text() == step.key and result.exists():
        console.print(f"  {step.name:<18} done before")
        return
    mark.unlink(missing_ok=True)
    shutil.rmtree(result, ignore_errors=True)  # LLaMA-Factory refuses a folder that a killed run has left
    console.print(f"  {step.name:<18} running, log in {log}", soft_wrap=True)
    started = time.monotonic()
    call(step.command(), log, cancelled)
    if step.name.startswith("predict_"):
        _write(output / f"{result.name}.jsonl", (result / "generated_predictions.jsonl").read_text())
    mark.write_text(step.key)
    console.print(f"  {step.name:<18} {time.monotonic() - started:.0f} s")


def call(command: list[str], log: Path, cancelled: threading.Event) -> None:
    """Runs a command with its output in a log.

    Raises:
        StepFailed: it ended with an error; the message holds the end of the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "OMP_NUM_THREADS": "1",  # the tiny model gains nothing from more, and the steps run side by side
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONUNBUFFERED": "1",
    }
    with log.open("w") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env=environment)
        while process.poll() is None:
            if cancelled.wait(0.2):
                process.terminate()
                process.wait()
    if process.returncode:
        end = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
        raise StepFailed(f"`{' '.join(command)}` ended with code {process.returncode}. The end of {log}:\n{end}")


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


def _key(step: Step, needed_keys: list[str]) -> str:
    """Changes when the step's recipe, values or predecessors do."""
    parts = [(RECIPES / f"{step.name}.yaml").read_text(), json.dumps(step.values, sort_keys=True), *needed_keys]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _copy_test_set(dataset_dir: Path, name: str, target: Path) -> None:
    """Puts the test rows beside their predictions, with paths that are right from there."""
    registry = json.loads((dataset_dir / "dataset_info.json").read_text())
    if name not in registry:
        known = ", ".join(sorted(registry))
        raise typer.BadParameter(f"{dataset_dir / 'dataset_info.json'} has no data set {name}. It has: {known}.")
    rows: list[dict[str, Any]] = json.loads((dataset_dir / registry[name]["file_name"]).read_text())
    for row in rows:
        for column in ("images", "saliencies"):
            row[column] = [path and os.path.relpath(dataset_dir / path, target.parent) for path in row[column]]
    _write(target, json.dumps(rows, indent=1, ensure_ascii=False) + "\n")


def _write(target: Path, text: str) -> None:
    """The file appears whole or not at all."""
    part = target.with_name(target.name + ".part")
    part.write_text(text)
    part.replace(target)


def _executable(name: str) -> str:
    """A command of the environment that runs us, activated or not."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else name
