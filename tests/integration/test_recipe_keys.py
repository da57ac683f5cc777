"""The gaze_* keys, through LLaMA-Factory's own parser."""

import sys

import pytest
import yaml
from omegaconf import OmegaConf

from tests.integration.conftest import ROOT, parse, recipe


NO_RECIPES_OR_RUN_ELSEWHERE = ("studies", "distributed")
RECIPES = sorted(
    path for path in (ROOT / "yaml_recipes").rglob("*.yaml") if path.parent.name not in NO_RECIPES_OR_RUN_ELSEWHERE
)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_shipped_recipe_parses(path):
    from llamafactory.hparams import get_infer_args, get_train_args

    keys = OmegaConf.to_container(OmegaConf.load(path))
    if path.stem in ("export", "chat"):
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
    assert different == {"gaze_ablation", "output_dir"} | ({"adapter_name_or_path"} if stage == "stage2" else set())


def test_defaults_and_values(registry):
    gaze = parse(registry)[0].gaze
    assert gaze.settings == {} and gaze.gaze_ablation == "none"
    gaze = parse(registry, gaze_layers=[3, 5], gaze_query="global", gaze_norm="post", gaze_num_heads=2)[0].gaze
    assert gaze.settings == {"gaze_layers": [3, 5], "gaze_query": "global", "gaze_norm": "post", "gaze_num_heads": 2}


def test_the_preset_is_the_literal_formula_of_the_paper(registry):
    from llamafactory.model import load_config

    literal = {
        "gaze_fusion": "cross_attention", "gaze_query": "patch", "gaze_norm": "post", "gaze_rope": False,
        "gaze_scope": "image",
    }  # fmt: skip
    assert parse(registry, gaze_preset="paper")[0].gaze.settings == literal
    model_args, *_ = parse(registry, gaze_preset="paper", gaze_norm="post", gaze_rope=False, gaze_layers=[1])
    assert model_args.gaze.settings == {**literal, "gaze_layers": [1]}
    assert literal.items() <= load_config(model_args).vision_config.gaze_settings().items()


@pytest.mark.parametrize("fusion", ["score_modulation", "input_channel", "overlay", "dim", "crop", "text"])
def test_a_fusion_reaches_the_configuration(registry, fusion):
    from llamafactory.model import load_config

    model_args, *_ = parse(registry, gaze_fusion=fusion)
    assert load_config(model_args).vision_config.gaze_fusion == fusion
    with pytest.raises(ValueError, match=f"gaze_norm is a setting of .* means nothing for {fusion}"):
        load_config(parse(registry, gaze_fusion=fusion, gaze_norm="post")[0])


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
        ({"gaze_ablation": "on"}, "Allowed: none, off, uniform, center, shuffle, observer"),
        (
            {"gaze_fusion": "mulan"},
            "`gaze_fusion: mulan` is not known. Allowed: cross_attention, score_modulation, input_channel, overlay, "
            "dim, crop, text",
        ),
        ({"gaze_preset": "ours"}, "`gaze_preset: ours` is not known. Allowed: paper"),
        ({"gaze_preset": "paper", "gaze_norm": "pre"}, "means `gaze_norm: post`, but the recipe says `gaze_norm: pre`"),
        ({"gaze_preset": "paper", "gaze_query": "global"}, "means `gaze_query: patch`, but the recipe says"),
        ({"gaze_preset": "paper", "gaze_fusion": "crop"}, "means `gaze_fusion: cross_attention`, but the recipe says"),
        ({"gaze_preset": "paper", "gaze_rope": True}, "means `gaze_rope: False`, but the recipe says"),
        ({"gaze_rope": "maybe"}, "`gaze_rope: maybe` is neither true nor false"),
        ({"gaze_train_calibrator": "half"}, "Allowed: frozen, lora, full"),
        ({"gaze_layers": 28}, "not a list of blocks"),
        ({"gaze_layers": [-1]}, "numbers from 0"),
        ({"gaze_num_heads": 0}, "whole number from 1"),
        ({"gaze_cached_images": -1}, "whole number from 0"),
        ({"template": "qwen2_vl"}, "`lora_target` asks for gaze.*Write `template: qwen2_5_vl_gaze`"),
        ({"template": "qwen2_vl", "lora_target": "all", "gaze_layers": [3]}, "`gaze_layers` asks for gaze"),
        ({"lora_target": "gaze,q_proj"}, "`gaze` stands alone"),
        ({"stage": "dpo"}, "works with `stage: sft`"),
        ({"gaze_ablation": "shuffle", "streaming": True, "max_steps": 1}, "streaming: false"),
        ({"gaze_ablation": "observer", "streaming": True, "max_steps": 1}, "`gaze_ablation: observer` needs the whole"),
        ({"template": "qwen2_vl", "lora_target": "all", "gaze_fusion": "dim"}, "`gaze_fusion` asks for gaze"),
        ({"template": "qwen2_vl", "lora_target": "all", "gaze_preset": "paper"}, "`gaze_preset` asks for gaze"),
        ({"gaze_layer": [3]}, "gaze_layer"),
    ],
)
def test_a_wrong_recipe_stops_at_once(registry, keys, message):
    with pytest.raises(ValueError, match=message):
        parse(registry, model_name_or_path="there/is-no-such-model", **keys)


@pytest.mark.parametrize("ablation", ["shuffle", "observer"])
def test_an_exchange_of_maps_needs_a_data_set(ablation):
    from llamafactory.hparams import get_infer_args

    keys = {"model_name_or_path": "x", "template": "qwen2_5_vl_gaze", "finetuning_type": "lora"}
    with pytest.raises(ValueError, match=f"`gaze_ablation: {ablation}` .* here allowed: none, off, uniform, center"):
        get_infer_args({**keys, "gaze_ablation": ablation})
    for allowed in ("uniform", "center"):
        assert get_infer_args({**keys, "gaze_ablation": allowed})[0].gaze.gaze_ablation == allowed


@pytest.mark.parametrize("version", ["1", "2"])
def test_fsdp_of_accelerate_launch_is_as_that_of_a_recipe(registry, monkeypatch, version):
    prepared = []
    monkeypatch.setattr("llamafactory_gaze.integration.fsdp.prepare_fsdp2", prepared.append)
    for name, value in (("ACCELERATE_USE_FSDP", "true"), ("FSDP_VERSION", version), ("FSDP_STATE_DICT_TYPE", "x")):
        monkeypatch.setenv(name, value)  # as accelerate does for the configuration that it was given
    if version == "1":
        with pytest.raises(ValueError, match="Gaze models train under FSDP 2, not FSDP 1"):
            parse(registry)
    else:
        parse(registry)
    assert len(prepared) == (version == "2")


def test_a_chat_and_an_export_see_images_as_large_as_training_does():
    pixels = {
        path.name: yaml.safe_load(path.read_text()).get("image_max_pixels")
        for path in (ROOT / "yaml_recipes").glob("*.yaml")
    }
    assert len(set(pixels.values())) == 1, pixels


def test_recipes_without_gaze_carry_nothing_of_it(registry):
    model_args, data_args, _, finetuning_args, _ = parse(registry, template="qwen2_vl", lora_target="all")
    assert model_args.gaze is None and data_args.gaze is None
    assert finetuning_args.lora_target == ["all"]
