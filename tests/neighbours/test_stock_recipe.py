"""A recipe without gaze through LLaMA-Factory, with the plug-in and without it: equal data, losses and files."""

import json
import subprocess
import sys

import pytest

from tests.integration.conftest import ROOT, cli_environment, recipe, register, row, save_image


pytestmark = pytest.mark.slow
RUN = """
import json, sys
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args, parser
from llamafactory.model import load_tokenizer
from llamafactory.train.tuner import run_exp
recipe = json.loads(sys.argv[1])
model_args, data_args, training_args, *_ = get_train_args(dict(recipe))
module = load_tokenizer(model_args)
template = get_template_and_fix_tokenizer(module["tokenizer"], data_args)
data = get_dataset(template, model_args, data_args, training_args, stage="sft", **module)["train_dataset"]
run_exp(dict(recipe))
armed = any(each.__name__ == "GazeArguments" for each in parser._TRAIN_ARGS)
print(json.dumps({"armed": armed, "rows": [[each["input_ids"], each["labels"]] for each in data]}))
"""


def test_a_stock_recipe_gives_the_same_with_the_plugin_and_without(tmp_path):
    save_image(tmp_path / "images/0.png", (168, 112), 0)
    rows = [{k: v for k, v in row(["images/0.png"], None).items() if k != "saliencies"} for _ in range(2)]
    register(tmp_path, "plain", rows, formatting="sharegpt", columns={"messages": "conversations", "images": "images"})
    printed, files, losses = {}, {}, {}
    for switch in ("0", "1"):
        output = tmp_path / f"output{switch}"
        keys = recipe(
            tmp_path, dataset="plain", template="qwen2_vl", lora_target="all", output_dir=str(output), max_steps=2,
            logging_steps=1, media_dir=str(tmp_path),
        )  # fmt: skip
        result = subprocess.run(
            [sys.executable, "-c", RUN, json.dumps(keys)], cwd=ROOT, text=True, capture_output=True, check=False,
            env=cli_environment(TORCH_DEVICE_BACKEND_AUTOLOAD=switch, PYTHONHASHSEED="0"),  # lists made from sets
        )  # fmt: skip
        assert result.returncode == 0, result.stderr[-3000:]
        assert "What is trained" not in result.stdout
        printed[switch] = json.loads(result.stdout.splitlines()[-1])
        log = [json.loads(line) for line in (output / "trainer_log.jsonl").read_text().splitlines()]
        losses[switch] = [entry["loss"] for entry in log if "loss" in entry]
        files[switch] = {path.relative_to(output): path for path in output.rglob("*") if path.is_file()}
    assert [printed[switch].pop("armed") for switch in ("0", "1")] == [False, True]
    assert printed["0"] == printed["1"] and len(printed["0"]["rows"]) == 2
    assert losses["0"] == losses["1"] and len(losses["0"]) == 2
    assert set(files["0"]) == set(files["1"])
    for name, path in files["0"].items():
        if name.suffix in (".safetensors", ".txt", ".jinja") or name.name.startswith(("tokenizer", "adapter_config")):
            assert path.read_bytes() == files["1"][name].read_bytes(), name
