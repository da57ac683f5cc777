"""Runs a study and writes what it found; a second call goes on where the first one stopped."""

import json
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from llamafactory_gaze.data.provenance import installed_versions
from llamafactory_gaze.demo.dataset import make_demo_data
from llamafactory_gaze.demo.run import BASE_MODEL, SIMULATED, copy_test_set
from llamafactory_gaze.steps import run_steps
from llamafactory_gaze.study import moved
from llamafactory_gaze.study.definition import Study
from llamafactory_gaze.study.plan import Plan
from llamafactory_gaze.study.records import make_record
from llamafactory_gaze.study.report import write_report
from llamafactory_gaze.study.tables import summarise


console = Console(highlight=False)


def run_study(
    study: Study, output: Path, runs: Path | None = None, jobs: int | None = None, max_steps: int | None = None
) -> int:
    """Runs every variant with every seed, compares, and writes `study.json`, `study.md` and the figures.

    Args:
        output: the report is written here, and in `<variant>/seed<seed>/` what it rests on.
        runs: folder for what is trained and predicted, and the simulated data. Studies that share it do not train the
            same twice. Default: `runs` in `output`.
        jobs: commands that run at the same time. Default: two if the recipes are for the CPU, else one.
        max_steps: end every training after so many steps.

    Returns:
        the number of runs that failed; their logs are named in the report.

    Raises:
        StudyError: the study cannot be run as it is.
    """
    output = output.absolute()
    runs = (runs or output / "runs").absolute()
    for folder in (output, runs):
        folder.mkdir(parents=True, exist_ok=True)
    dataset_dir, dataset = study.dataset_dir, study.dataset
    if dataset_dir is None or dataset is None:
        dataset_dir, dataset = runs / f"data-{study.pictures}", "demo"
        if not dataset_dir.exists():
            console.print("Drawing the SIMULATED data set …")
            make_demo_data(dataset_dir, train_images=study.pictures)
    dataset_dir = dataset_dir.absolute()
    copy_test_set(dataset_dir, f"{dataset}_test", output / "test.json")
    rows = json.loads((output / "test.json").read_text())
    plan = Plan(study, output, runs, dataset_dir, dataset, all(row.get("looked_at") for row in rows), max_steps)
    if moved.NAME in study.controls:
        moved.make_moved(plan.test, plan.moved)
    jobs = jobs or (2 if plan.recipes["stage1"].get("use_cpu") else 1)
    console.print(f"{study.title}: {len(study.variants)} variants and the baseline, seeds {list(study.seeds)}.")
    started = time.monotonic()
    failures = run_steps(plan.steps(), jobs, console, stop_at_failure=False)
    console.print(f"All steps took {(time.monotonic() - started) / 60:.1f} minutes.")

    records = [make_record(plan, run, failures) for run in plan.runs]
    simulated = SIMULATED if all(row.get("simulated") for row in rows) else None
    write_report(plan, records, summarise(plan, records), _about(plan, jobs, max_steps, simulated))
    failed = [record for record in records if record["failed"] is not None]
    for record in failed:
        console.print(f"[bold red]Failed:[/] {record['variant']}, seed {record['seed']}", soft_wrap=True)
        console.print(record["failed"], markup=False, soft_wrap=True)
    console.print(f"Report: {output / 'study.md'}", soft_wrap=True)
    return len(failed)


def _about(plan: Plan, jobs: int, max_steps: int | None, simulated: str | None) -> dict[str, Any]:
    """What the numbers rest on."""
    study = plan.study
    words = ["llamafactory-gaze", "study", str(study.file)]
    words += ["--recipes", str(study.recipes)]
    if study.dataset is not None:
        words += ["--dataset-dir", str(study.dataset_dir), "--dataset", study.dataset]
    words += [word for seed in study.seeds for word in ("--seed", str(seed))]
    words += [] if max_steps is None else ["--max-steps", str(max_steps)]
    own = plan.model == str(BASE_MODEL)
    return {
        "command": " ".join(words),
        "model": "the tiny base model of the demo" if own else plan.model,
        "data": f"data set {study.dataset}"
        if study.dataset
        else f"the demo's simulated data, {study.pictures} training pictures",
        "recipes": str(study.recipes),
        "simulated": simulated,
        "seeds": list(study.seeds),
        "jobs": jobs,
        "versions": installed_versions("llamafactory", "transformers", "peft", "torch", "llamafactory-gaze"),
    }
