"""The stock commands, as a user types them: both stages, predictions, export, two processes, resuming, chat."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from llamafactory_gaze.demo.captions import PROMPT
from llamafactory_gaze.demo.dataset import make_demo_data
from llamafactory_gaze.demo.run import BASE_MODEL
from tests.integration.conftest import ROOT, run_cli


RECIPES = ROOT / "yaml_recipes/demo"
pytestmark = pytest.mark.slow


def succeeded(result):
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-4000:]
    return result


def train(recipe: str, folder: Path, output: Path | str, *keys: str, processes: int = 1):
    return succeeded(
        run_cli(
            "train",
            RECIPES / f"{recipe}.yaml",
            f"model_name_or_path={BASE_MODEL}",
            f"dataset_dir={folder}",
            f"output_dir={output}",
            *keys,
            processes=processes,
        )
    )


def losses(output: Path) -> list[float]:
    lines = (output / "trainer_log.jsonl").read_text().splitlines()
    return [entry["loss"] for entry in map(json.loads, lines) if "loss" in entry]


def predictions(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "generated_predictions.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("simulated") / "data"
    make_demo_data(folder, train_images=5, test_images=5, observers=3)
    return folder


STEPS = ("max_steps=4", "logging_steps=1", "per_device_train_batch_size=4", "learning_rate=5.0e-3")


@pytest.fixture(scope="module")
def stages(data) -> tuple[Path, Path]:
    """Both stages, four steps each."""
    first, second = data.parent / "stage1", data.parent / "stage2"
    result = train("stage1", data, first, *STEPS, "preprocessing_num_workers=2", "dataloader_num_workers=1")
    assert "What is trained (gaze_fusion cross_attention, gaze_layers" in result.stdout
    train("stage2", data, second, *STEPS, f"adapter_name_or_path={first}")
    return first, second


def predict(name: str, data: Path, output: Path, adapters: str | None, *keys: str) -> list[dict]:
    adapters = "null" if adapters is None else adapters
    train(f"predict_{name}", data, output, "max_new_tokens=8", f"adapter_name_or_path={adapters}", *keys)
    return predictions(output)


@pytest.fixture(scope="module")
def injected(data, stages) -> list[dict]:
    return predict("injected", data, data.parent / "injected", ",".join(map(str, stages)))


def test_predictions_keep_the_order_and_the_labels_of_the_test_set(data, injected):
    rows = json.loads((data / "test.json").read_text())
    assert [line["label"].strip() for line in injected] == [row["conversations"][1]["value"] for row in rows]


def test_the_merged_model_predicts_the_same_and_needs_no_recipe_keys(data, stages, injected):
    merged = data.parent / "merged"
    result = run_cli(
        "export",
        RECIPES / "export.yaml",
        f"model_name_or_path={BASE_MODEL}",
        f"adapter_name_or_path={','.join(map(str, stages))}",
        f"export_dir={merged}",
        "gaze_card_results=null",
        f"gaze_card_data={data}",
    )
    succeeded(result)
    card = (merged / "README.md").read_text()
    assert (
        "standard deviation of 9 pixels of the picture" in card and "nothing is known of this model's captions" in card
    )
    config = json.loads((merged / "config.json").read_text())
    assert config["model_type"] == "qwen2_5_vl_gaze"
    settings = json.loads((stages[0] / "adapter_config.json").read_text())["auto_mapping"]["llamafactory_gaze"]
    assert settings["settings"].items() <= config["vision_config"].items()
    output = data.parent / "from_merged"
    assert predict("injected", data, output, None, f"model_name_or_path={merged}") == injected


def test_a_cache_of_images_changes_no_number(data, stages):
    output = data.parent / "cached"
    train("stage1", data, output, *STEPS, "preprocessing_num_workers=2", "gaze_cached_images=5")
    assert losses(output) == pytest.approx(losses(stages[0]), abs=1e-5)
    weights, others = (load_file(folder / "adapter_model.safetensors") for folder in (stages[0], output))
    assert set(weights) == set(others)
    for name, weight in weights.items():
        torch.testing.assert_close(others[name], weight, rtol=1e-3, atol=1e-4)


def test_chat_says_what_predict_says(data, stages, injected):
    """The adapters of both stages, in the terminal: as much of a 16-bit map arrives as from the data set."""
    rows = json.loads((data / "test.json").read_text())[:3]
    asked = [f"<image {data / row['images'][0]} {data / row['saliencies'][0]}>{PROMPT}" for row in rows]
    result = run_cli(
        "chat",
        RECIPES / "chat.yaml",
        f"model_name_or_path={BASE_MODEL}",
        f"adapter_name_or_path={','.join(map(str, stages))}",
        "max_new_tokens=8",
        stdin="\nclear\n".join([*asked, "exit"]),
    )
    succeeded(result)
    answers = [part.split("\n")[0].strip() for part in result.stdout.split("Assistant: ")[1:]]
    assert answers == [line["predict"].strip() for line in injected[:3]]


def test_two_processes_train_as_one(data):
    """DDP over gloo: two batches at once are two batches one after the other, within rounding."""
    one, two = data.parent / "one", data.parent / "two"
    keys = ("max_steps=3", "logging_steps=1", "per_device_train_batch_size=2")
    train("stage1", data, one, *keys, "gradient_accumulation_steps=2")
    result = train("stage1", data, two, *keys, processes=2)
    assert result.stdout.count("What is trained") == 1
    assert losses(two) == pytest.approx(losses(one), abs=1e-4)
    weights, others = (load_file(output / "adapter_model.safetensors") for output in (one, two))
    assert set(weights) == set(others)
    for name, weight in weights.items():
        torch.testing.assert_close(others[name], weight, rtol=1e-3, atol=1e-4)


def test_a_killed_training_resumes_with_the_calibrator_where_it_was(data):
    whole, parts = data.parent / "whole", data.parent / "parts"
    keys = ("logging_steps=1", "per_device_train_batch_size=4", "save_strategy=steps", "save_steps=2")
    train("stage1", data, whole, *keys, "max_steps=4")
    (parts / "checkpoint-2").parent.mkdir()
    (whole / "checkpoint-2").rename(parts / "checkpoint-2")
    train("stage1", data, parts, *keys, "max_steps=4")
    weights, others = (load_file(output / "adapter_model.safetensors") for output in (whole, parts))
    for name, weight in weights.items():
        torch.testing.assert_close(others[name], weight)


def test_the_keys_stand_in_the_help_with_their_choices():
    printed = succeeded(run_cli("train", "-h")).stdout
    choices = {
        "fusion": "cross_attention,score_modulation,input_channel,overlay,dim,crop,text",
        "query": "patch,global",
        "norm": "pre,post",
        "ablation": "none,off,uniform,center,shuffle,observer",
    }
    for key, values in choices.items():
        assert f"--gaze_{key} {{{values}}}" in printed
    assert "28 of the 32 blocks of Qwen2.5-VL-3B" in " ".join(printed.split())
