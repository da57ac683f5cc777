"""`llamafactory-gaze study` itself: a study with one variant that works and one that cannot, to the report."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from llamafactory_gaze.demo.dataset import make_demo_data
from llamafactory_gaze.demo.run import RECIPES


ROOT = Path(__file__).parents[2]
STUDY = f"""
title: Heads
question: Does it run?
recipes: {RECIPES}
seeds: [1]
controls: [off, moved]
variants:
  one late block:
    gaze_layers: late
  five heads:
    gaze_layers: late
    gaze_num_heads: 5  # the tower's width cannot be divided by it
"""
# stage1, stage2, predict-none and words of the baseline; the same, two controls and the comparison of the variant
GOOD_STEPS = 4 + 7


def study_command(*arguments: object) -> subprocess.CompletedProcess:
    command = [str(Path(sys.executable).with_name("llamafactory-gaze")), "study", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=840, check=False)


def test_a_mistake_in_the_file_ends_in_one_sentence(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(STUDY + "varients: {}\n")
    result = study_command(file, "--output", tmp_path / "output")
    assert result.returncode == 1
    assert result.stderr.startswith(f"Error: {file}: `varients` is not known. Known are title, ")
    assert result.stderr.count("\n") == 1 and not result.stdout
    assert not (tmp_path / "output").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_study_runs_to_its_report_and_goes_on_where_it_stopped(tmp_path):
    make_demo_data(tmp_path / "data", train_images=10, test_images=5, observers=4)
    file, output = tmp_path / "heads.yaml", tmp_path / "output"
    file.write_text(STUDY)
    arguments = (
        file, "--output", output, "--dataset-dir", tmp_path / "data", "--dataset", "demo", "--max-steps", 2
    )  # fmt: skip

    first = study_command(*arguments)
    assert first.returncode == 1, first.stdout[-3000:] + first.stderr[-3000:]
    assert "Failed: five heads, seed 1" in first.stdout and "Traceback" not in first.stderr
    assert first.stdout.count("running, log in") == GOOD_STEPS + 1 and "done before" not in first.stdout

    found = json.loads((output / "study.json").read_text())
    runs = {(run["variant"], run["seed"]): run for run in found["runs"]}
    assert set(runs) == {("baseline", 1), ("one late block", 1), ("five heads", 1)}
    assert [name for (name, _), run in runs.items() if run["failed"] is not None] == ["five heads"]
    assert "gaze_num_heads is 5: the tower's width 96 must be divisible by it" in runs["five heads", 1]["failed"]
    check_baseline(runs["baseline", 1])
    check_good_run(runs["one late block", 1], tmp_path, output)
    variants = {variant["variant"]: variant for variant in found["variants"]}
    assert set(variants) == {"baseline", "one late block"}
    assert variants["one late block"]["seeds"] == [1]
    assert set(variants["one late block"]["controls"]) == {"off"}
    check_report(output)

    adapters = sorted((output / "runs").rglob("adapter_model.safetensors"))
    assert len(adapters) == 4  # two stages of the baseline and of the variant
    written = {adapter: adapter.stat().st_mtime_ns for adapter in adapters}
    second = study_command(*arguments)
    assert second.returncode == 1, second.stdout[-3000:] + second.stderr[-3000:]
    assert second.stdout.count("done before") == GOOD_STEPS
    assert re.findall(r"(\S+) +running, log in", second.stdout) == ["five-heads/seed1/stage1"]
    assert {adapter: adapter.stat().st_mtime_ns for adapter in adapters} == written
    again = json.loads((output / "study.json").read_text())
    assert again["variants"] == found["variants"]


def check_baseline(record: dict) -> None:
    assert record["parameters_added"] == 0
    assert set(record["words"]) == {"none"} and 0 < record["words"]["none"] < 1
    assert not {"metrics", "followed"} & set(record)
    assert record["recipe"]["stage1"]["gaze_ablation"] == "off"


def check_good_run(record: dict, folder: Path, output: Path) -> None:
    assert record["recipe"]["stage1"]["gaze_layers"] == [7] and record["recipe"]["stage2"]["seed"] == 1
    assert {"rougeL", "cs_f1"} <= set(record["metrics"])
    scores = {name: entry["new"] for name, entry in record["metrics"].items()}
    assert all(0 <= scores[name] <= 1 for name in ("rougeL", "cs_f1"))  # of the two METEORs one is None
    assert set(record["words"]) == {"none", "off", "moved"} and all(0 < p < 1 for p in record["words"].values())
    rows = json.loads((folder / "data/test.json").read_text())
    singles = sum(len(row["looked_at"]) == 1 for row in rows)
    assert record["followed"]["pairs"] == singles > 0 and 0 <= record["followed"]["share"] <= 1
    for stage in ("stage1", "stage2"):
        assert record["loss"][stage]["steps"] == [2] and record["final_loss"][stage] > 0  # --max-steps
        assert record["step_seconds"][stage] > 0

    # The adapters say for themselves what was trained; stage 1 holds the calibrator in full.
    (stage1,) = (path for path in (output / "runs").glob("*/stage1") if with_gaze(path))
    weights = load_file(stage1 / "adapter_model.safetensors")
    assert record["parameters_trained"]["stage1"] == sum(weight.numel() for weight in weights.values())
    calibrator = sum(weight.numel() for name, weight in weights.items() if ".calibrator." in name)
    assert record["parameters_added"] == calibrator > 0


def with_gaze(stage: Path) -> bool:
    config = stage / "adapter_config.json"
    if not config.exists():
        return False
    return json.loads(config.read_text())["auto_mapping"]["llamafactory_gaze"]["trained_with_ablation"] == "none"


def check_report(output: Path) -> None:
    text = (output / "study.md").read_text()
    assert text.startswith("# Heads\n\n**SIMULATED.** ") and "Does it run?" in text
    assert re.search(r"## Runs that failed\n\n- five heads, seed 1: .*gaze_num_heads is 5", text)
    table = [line for line in text.splitlines() if line.startswith("| ")]
    assert any(line.startswith("| baseline |") for line in table)
    assert any(line.startswith("| one late block |") for line in table)
    shown = re.findall(r"!\[[^]]*]\(([^)]+)\)", text)
    assert {"loss.png", "metrics.png", "moved.png"} <= set(shown)
    for name in shown:
        assert (output / name).read_bytes().startswith(b"\x89PNG"), name
