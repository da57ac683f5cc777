"""The whole experiment, as `make demo` and `llamafactory-gaze demo` run it."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from llamafactory_gaze.demo.run import StepFailed, call, plan


ROOT = Path(__file__).parents[2]
TABLE_1 = ("meteor", "rouge1", "rouge2", "rougeL", "cs_precision", "cs_recall", "cs_f1")


def gaze_command(*arguments: object) -> subprocess.CompletedProcess:
    command = [str(Path(sys.executable).with_name("llamafactory-gaze")), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=1800, check=False)


def test_the_plan_holds_the_papers_experiment_and_its_honest_baseline(tmp_path):
    steps = {step.name: step for step in plan(tmp_path, tmp_path / "data", "demo")}
    assert set(steps) == {
        "stage1", "stage2", "baseline_stage1", "baseline_stage2",
        "predict_injected", "predict_off", "predict_shuffle", "predict_baseline", "predict_untuned",
    }  # fmt: skip
    off, injected = steps["predict_off"].values, steps["predict_injected"].values
    assert off["adapter_name_or_path"] == injected["adapter_name_or_path"]
    assert "adapter_name_or_path" not in steps["predict_untuned"].values
    for name, step in steps.items():
        assert all(list(steps).index(needed) < list(steps).index(name) for needed in step.needs)


def test_a_failing_command_shows_the_end_of_its_log(tmp_path):
    command = [sys.executable, "-c", "print('first'); raise SystemExit('what went wrong')"]
    with pytest.raises(StepFailed, match=r"ended with code 1\. The end of .*step\.log:\nfirst\nwhat went wrong"):
        call(command, tmp_path / "step.log", threading.Event())


def test_an_unknown_data_set_is_refused_with_the_known_ones(tmp_path):
    (tmp_path / "dataset_info.json").write_text(json.dumps({"mine_test": {}}))
    result = gaze_command("demo", "--dataset-dir", tmp_path, "--dataset", "yours", "--output", tmp_path / "out")
    assert result.returncode != 0
    assert "yours_test" in result.stderr and "mine_test" in result.stderr


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_demo_shows_a_real_and_large_effect(tmp_path):
    """On held-out pictures gaze beats the baseline without gaze; with another image's gaze nothing is left of it."""
    output = tmp_path / "demo"
    result = gaze_command("demo", "--output", output)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    for name in ("injected.jsonl", "off.jsonl", "shuffle.jsonl", "baseline.jsonl", "untuned.jsonl", "test.json"):
        assert (output / name).stat().st_size > 0
    assert "simulated" in result.stdout.lower()

    results = json.loads((output / "report/results.json").read_text())
    metrics = results["metrics"]
    for name in TABLE_1:
        assert metrics[name]["diff"] > 0 and metrics[name]["ci95"][0] > 0, name
    assert metrics["cs_f1"]["p_two_way"] < 1e-5
    assert metrics["rougeL"]["p_two_way"] < 1e-5
    assert metrics["rougeL"]["pct"] > 25
    assert set(results["categories"]) == {"Abstraction", "Object", "Social", "Composition", "Disrupted"}

    shuffled = results["controls"]["shuffle"]["metrics"]
    for name in ("rougeL", "cs_f1"):
        advantage = shuffled[name]["vs_baseline"]
        assert advantage["ci95"][0] < 0 or advantage["diff"] < 0.05 * metrics[name]["diff"], name

    # A second call finds everything done, and makes the comparison again.
    again = gaze_command("demo", "--output", output)
    assert again.returncode == 0 and again.stdout.count("done before") == 9


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_real_photographs_and_fixations_run_to_the_report(tmp_path):
    """OSIE: photographs, fixations of people, descriptions written for this project; a few steps of the tiny model."""
    osie = Path(os.environ.get("GAZE_SHARED_DATA", ROOT / "../shared/data")) / "osie"
    if not osie.is_dir():
        pytest.skip(f"no OSIE sample at {osie}: set GAZE_SHARED_DATA")
    registry, output = tmp_path / "registry", tmp_path / "osie"
    made = gaze_command(
        "dataset", "--fixations", osie / "fixations.csv", "--images", osie / "stimuli",
        "--descriptions", osie / "descriptions.csv", "--name", "osie", "--dataset-dir", registry, "--sigma-px", 24,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    ran = gaze_command("demo", "--dataset-dir", registry, "--dataset", "osie", "--output", output, "--max-steps", 3)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    results = json.loads((output / "report/results.json").read_text())
    rows = json.loads((output / "test.json").read_text())
    assert results["data"]["n_rows"] == len(rows) > 0
    assert not results["data"].get("simulated")
    assert (output / "report/report.html").exists()
