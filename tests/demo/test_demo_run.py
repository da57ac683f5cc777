"""The whole experiment, as `make demo` and `llamafactory-gaze demo` run it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from llamafactory_gaze.demo.run import BASE_MODEL, RECIPES, plan, remove_run
from llamafactory_gaze.steps import CPU, llamafactory
from llamafactory_gaze.study import moved
from llamafactory_gaze.study.records import captions


ROOT = Path(__file__).parents[2]
TABLE_1 = ("meteor", "rouge1", "rouge2", "rougeL", "cs_precision", "cs_recall", "cs_f1")


def gaze_command(*arguments: object) -> subprocess.CompletedProcess:
    command = [str(Path(sys.executable).with_name("llamafactory-gaze")), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=1800, check=False)


def values_of(step) -> dict:
    """What the step's command sets besides its recipe."""
    return {key: yaml.safe_load(value) for key, _, value in (word.partition("=") for word in step.command[3:])}


def test_the_plan_holds_the_papers_experiment_and_its_honest_baseline(tmp_path):
    steps = {step.name: step for step in plan(tmp_path, tmp_path / "data", "demo", max_steps=3)}
    assert set(steps) == {
        "stage1", "stage2", "baseline_stage1", "baseline_stage2",
        "predict_injected", "predict_off", "predict_shuffle", "predict_baseline", "predict_untuned",
    }  # fmt: skip
    values = {name: values_of(step) for name, step in steps.items()}
    for name, step in steps.items():
        assert step.command[1:3] == ["train", str(RECIPES / f"{name}.yaml")]
        assert values[name]["output_dir"] == str(step.result)
        assert ("max_steps" in values[name]) == ("stage" in name)
        assert all(list(steps).index(needed) < list(steps).index(name) for needed in step.needs)
    assert len({step.result for step in steps.values()}) == len(steps)

    for prefix in ("", "baseline_"):  # each stage 2 goes on from its own stage 1, and its predictions use both
        stage1, stage2 = values[f"{prefix}stage1"]["output_dir"], values[f"{prefix}stage2"]["output_dir"]
        assert values[f"{prefix}stage2"]["adapter_name_or_path"] == stage1
        assert steps[f"{prefix}stage2"].needs == (f"{prefix}stage1",)
        for name in ("baseline",) if prefix else ("injected", "off", "shuffle"):
            assert values[f"predict_{name}"]["adapter_name_or_path"] == f"{stage1},{stage2}"
            assert steps[f"predict_{name}"].needs == (f"{prefix}stage2",)
    assert "adapter_name_or_path" not in values["predict_untuned"]
    for stage in ("stage1", "stage2"):
        assert values[stage]["dataset"] == values[f"baseline_{stage}"]["dataset"] == f"demo_{stage}"


def test_an_unknown_data_set_is_refused_with_the_known_ones(tmp_path):
    (tmp_path / "dataset_info.json").write_text(json.dumps({"mine_test": {}}))
    result = gaze_command("demo", "--dataset-dir", tmp_path, "--dataset", "yours", "--output", tmp_path / "out")
    assert result.returncode != 0
    assert "yours_test" in result.stderr and "mine_test" in result.stderr


def test_each_step_reads_the_rows_and_pictures_of_its_own_data_set(tmp_path):
    """So that it is run again where `llamafactory-gaze dataset` has made them anew, under the same name."""
    (tmp_path / "osie/images").mkdir(parents=True)
    registry = {}
    for name in ("stage1", "stage2", "test"):
        registry[f"osie_{name}"] = {"file_name": f"osie/{name}.json", "formatting": "gaze", "columns": {}}
        row = {"images": [f"osie/images/{name}.png"], "saliencies": [f"osie/{name}_map.png"]}
        (tmp_path / f"osie/{name}.json").write_text(json.dumps([row]))
        (tmp_path / f"osie/images/{name}.png").touch()
        (tmp_path / f"osie/{name}_map.png").touch()
    (tmp_path / "dataset_info.json").write_text(json.dumps(registry))
    for step in plan(tmp_path / "output", tmp_path, "osie"):
        name = "test" if "predict" in step.name else step.name.removeprefix("baseline_")
        expected = ["dataset_info.json", f"osie/{name}.json", f"osie/images/{name}.png", f"osie/{name}_map.png"]
        assert step.inputs == (RECIPES / f"{step.name}.yaml", BASE_MODEL, *(tmp_path / file for file in expected))


def test_overwriting_deletes_a_former_run_and_nothing_else(tmp_path):
    output = tmp_path / "out"
    for file in ("logs/stage1.done", "injected/stage1/adapter", "data/x", "report/y", "off.jsonl", "systems/mine"):
        (output / file).parent.mkdir(parents=True, exist_ok=True)
        (output / file).touch()
    run = ("demo", "--output", output, "--overwrite")
    assert gaze_command(*run, "--dataset-dir", tmp_path, "--dataset", "typo").returncode == 2
    assert (output / "injected/stage1/adapter").exists()
    remove_run(output)
    assert [str(path.relative_to(output)) for path in sorted(output.rglob("*"))] == ["systems", "systems/mine"]


def test_overwriting_refuses_a_folder_without_a_run(tmp_path):
    (tmp_path / "stage1").mkdir()
    (tmp_path / "stage1/adapter.safetensors").touch()
    result = gaze_command("demo", "--output", tmp_path, "--overwrite")
    assert result.returncode == 2 and "holds no run of the demo" in " ".join(result.stderr.split())
    assert [path.name for path in tmp_path.iterdir()] == ["stage1"] and any((tmp_path / "stage1").iterdir())


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
        advantage = shuffled[name]["vs_reference"]
        assert advantage["ci95"][0] < 0 or advantage["diff"] < 0.05 * metrics[name]["diff"], name

    # Where the map is moved from one thing to another, the caption goes there too.
    moves = moved.make_moved(output / "test.json", output / "moved")
    adapters = f"{output / 'injected/stage1'},{output / 'injected/stage2'}"
    values = {"model_name_or_path": BASE_MODEL, "adapter_name_or_path": adapters, "dataset_dir": output / "moved"}
    values |= {"eval_dataset": moved.NAME, "output_dir": output / "predictions/moved"}
    command = llamafactory(RECIPES / "predict_injected.yaml", values)
    subprocess.run(command, cwd=ROOT, env={**os.environ, **CPU}, capture_output=True, timeout=600, check=True)
    before = captions(output / "injected.jsonl")
    after = captions(output / "predictions/moved/generated_predictions.jsonl")
    went = [moved.follows(move, before[move.row], said) for move, said in zip(moves, after, strict=True)]
    assert len(went) > 150 and sum(went) / len(went) >= 0.95

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
