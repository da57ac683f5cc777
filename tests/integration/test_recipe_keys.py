"""The gaze_* keys, through LLaMA-Factory's own parser."""

import sys

import pytest
import yaml
from omegaconf import OmegaConf

from tests.integration.conftest import ROOT, parse, recipe


RECIPES = sorted((ROOT / "yaml_recipes").rglob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_shipped_recipe_parses(path):
    from llamafactory.hparams import get_infer_args, get_train_args

    keys = OmegaConf.to_container(OmegaConf.load(path))
    if path.stem == "export":
        model_args, data_args, *_ = get_infer_args(keys)
    else:
        model_args, data_args, *_ = get_train_args({**keys, "use_cpu": True})  # bf16 asks for a GPU otherwise
    ablation = next((name for name in ("shuffle", "off") if path.stem.endswith(name)), "none")
    if "baseline" in path.stem or "untuned" in path.stem:
        ablation = "off"
    assert model_args.gaze.gaze_ablation == data_args.gaze.gaze_ablation == ablation


@pytest.mark.parametrize("stage", ["stage1", "stage2"])
@pytest.mark.parametrize("folder", ["", "demo/"])
def test_the_baseline_differs_from_the_injected_recipe_in_gaze_alone(folder, stage):
    def keys(name):
        return yaml.safe_load((ROOT / f"yaml_recipes/{folder}{name}.yaml").read_text())

    injected, baseline = keys(stage), keys(f"baseline_{stage}")
    different = {key for key in injected | baseline if injected.get(key) != baseline.get(key)}
    assert different <= {"gaze_ablation", "output_dir", "adapter_name_or_path"}
    assert "gaze_ablation" in different


def test_defaults_and_values(registry):
    gaze = parse(registry)[0].gaze
    assert gaze.settings == {} and gaze.gaze_ablation == "none"
    gaze = parse(registry, gaze_layers=[3, 5], gaze_query="global", gaze_norm="post", gaze_num_heads=2)[0].gaze
    assert gaze.settings == {"gaze_layers": [3, 5], "gaze_query": "global", "gaze_norm": "post", "gaze_num_heads": 2}


def test_yaml_reads_a_bare_off_as_false(registry):
    assert yaml.safe_load("gaze_ablation: off") == {"gaze_ablation": False}
    assert parse(registry, gaze_ablation=False)[0].gaze.gaze_ablation == "off"


def test_a_value_on_the_command_line_overrides_the_recipe(registry, monkeypatch, tmp_path):
    from llamafactory.hparams import get_train_args

    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({**recipe(registry), "gaze_layers": [4]}))
    monkeypatch.setattr(sys, "argv", ["llamafactory-cli", str(path), "gaze_layers=[2]", "gaze_ablation=off"])
    gaze = get_train_args()[0].gaze
    assert gaze.gaze_layers == [2] and gaze.gaze_ablation == "off"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"gaze_query": "token"}, "`gaze_query: token` is not known. Allowed: patch, global"),
        ({"gaze_norm": "none"}, "Allowed: pre, post"),
        ({"gaze_ablation": "on"}, "Allowed: none, off, uniform, shuffle"),
        ({"gaze_train_calibrator": "half"}, "Allowed: frozen, lora, full"),
        ({"gaze_layers": 28}, "not a list of blocks"),
        ({"gaze_layers": [-1]}, "numbers from 0"),
        ({"gaze_num_heads": 0}, "whole number from 1"),
        ({"template": "qwen2_vl"}, "`lora_target` asks for gaze.*Write `template: qwen2_5_vl_gaze`"),
        ({"template": "qwen2_vl", "lora_target": "all", "gaze_layers": [3]}, "`gaze_layers` asks for gaze"),
        ({"lora_target": "gaze,q_proj"}, "`gaze` stands alone"),
        ({"stage": "dpo"}, "works with `stage: sft`"),
        ({"gaze_ablation": "shuffle", "streaming": True, "max_steps": 1}, "streaming: false"),
        ({"gaze_layer": [3]}, "gaze_layer"),
    ],
)
def test_a_wrong_recipe_stops_at_once(registry, keys, message):
    with pytest.raises(ValueError, match=message):
        parse(registry, model_name_or_path="there/is-no-such-model", **keys)


def test_shuffle_needs_a_data_set():
    from llamafactory.hparams import get_infer_args

    keys = {"model_name_or_path": "x", "template": "qwen2_5_vl_gaze", "finetuning_type": "lora"}
    with pytest.raises(ValueError, match="here allowed: none, off, uniform"):
        get_infer_args({**keys, "gaze_ablation": "shuffle"})
    assert get_infer_args({**keys, "gaze_ablation": "uniform"})[0].gaze.gaze_ablation == "uniform"


def test_recipes_without_gaze_carry_nothing_of_it(registry):
    model_args, data_args, _, finetuning_args, _ = parse(registry, template="qwen2_vl", lora_target="all")
    assert model_args.gaze is None and data_args.gaze is None
    assert finetuning_args.lora_target == ["all"]
