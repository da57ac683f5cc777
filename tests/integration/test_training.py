"""The contract of each stage: what is trained, what is saved, and with which settings it may be loaded again."""

import json
import re
import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from llamafactory_gaze.integration import training
from llamafactory_gaze.modeling.configuration import GAZE_DEFAULTS, IN_PICTURE, IN_PROMPT
from tests.integration.conftest import BASE_MODEL, load_model, parse


CALIBRATOR = ["k_proj", "norm", "o_proj", "q_proj", "saliency_proj", "v_proj"]
CALIBRATOR_LINEAR = [name for name in CALIBRATOR if name != "norm"]
MLP = ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
BLOCK = ["attn.qkv", "attn.proj", *MLP]
LAYER = [*(f"self_attn.{x}_proj" for x in "qkvo"), *MLP]

DEPTH = json.loads((BASE_MODEL / "config.json").read_text())["vision_config"]["depth"]  # of the tiny base model
PATCHED = DEPTH - 2
STAGE1 = {"gaze_layers": [PATCHED]}
STAGE2 = {"gaze_train_calibrator": "lora", "gaze_train_llm": "lora", "create_new_adapter": True}


def lora(*modules: str) -> set[str]:
    return {f"base_model.model.{m}.lora_{ab}.default.weight" for m in modules for ab in "AB"}


def vision(first: int, depth: int) -> list[str]:
    """The MLP of the first patched block and the whole of the later ones."""
    names = [f"model.visual.blocks.{first}.{name}" for name in MLP]
    return names + [f"model.visual.blocks.{b}.{name}" for b in range(first + 1, depth) for name in BLOCK]


def trained(model) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def in_full(block: int) -> set[str]:
    prefix = f"base_model.model.model.visual.blocks.{block}.calibrator.modules_to_save.default"
    return {f"{prefix}.{name}.weight" for name in CALIBRATOR}


def test_stage_1_trains_exactly_this(registry):
    model = load_model(registry, **STAGE1)
    assert model.config.vision_config.depth == DEPTH
    assert trained(model) == in_full(PATCHED) | lora(*vision(PATCHED, DEPTH))


def test_several_blocks(registry):
    model = load_model(registry, gaze_layers=[3, 1])
    assert trained(model) == in_full(1) | in_full(3) | lora(*vision(1, DEPTH))


def test_block_1_is_not_block_10_to_19():
    """LLaMA-Factory matches names by substring: a tower of the real depth, without weights."""
    from transformers import Qwen2_5_VLConfig

    from llamafactory_gaze import Qwen2_5_VLGazeConfig, Qwen2_5_VLGazeForConditionalGeneration

    config = Qwen2_5_VLGazeConfig.from_stock(Qwen2_5_VLConfig(), gaze_layers=[2, 28])
    with torch.device("meta"):
        model = Qwen2_5_VLGazeForConditionalGeneration(config)
    gaze = SimpleNamespace(
        gaze_train_calibrator="full", gaze_train_vision="lora", gaze_train_projector="full", gaze_train_llm="lora",
        gaze_llm_layers=[1],
    )  # fmt: skip
    targets, full = training.training_targets(model, gaze)
    expected = vision(2, 32) + [f"model.language_model.layers.1.{name}" for name in LAYER]
    assert sorted(targets) == sorted(expected)
    assert full == ["model.visual.blocks.2.calibrator", "model.visual.blocks.28.calibrator", "model.visual.merger"]


def save_trained(registry, **keys) -> str:
    """A trained stage 1: its weights have all moved."""
    model = load_model(registry, **keys)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(registry / "stage1")
    return str(registry / "stage1")


@pytest.fixture
def stage1(registry) -> str:
    return save_trained(registry, **STAGE1)


def test_the_adapter_of_stage_1_holds_exactly_this(stage1):
    prefix = "base_model.model.model.visual.blocks"
    calibrator = {f"{prefix}.{PATCHED}.calibrator.{name}.weight" for name in CALIBRATOR}
    loras = {re.sub(r"\.default\.", ".", name) for name in lora(*vision(PATCHED, DEPTH))}
    assert set(load_file(f"{stage1}/adapter_model.safetensors")) == calibrator | loras


def test_stage_2_trains_exactly_this_on_top_of_stage_1(registry, stage1):
    model = load_model(registry, adapter_name_or_path=stage1, **STAGE2)
    calibrator = [f"model.visual.blocks.{PATCHED}.calibrator.{name}" for name in CALIBRATOR_LINEAR]
    layers = len(model.base_model.model.model.language_model.layers)
    llm = [f"model.language_model.layers.{i}.{name}" for i in range(layers) for name in LAYER]
    assert trained(model) == lora(*calibrator, *vision(PATCHED, DEPTH), *llm)

    saved = load_file(f"{stage1}/adapter_model.safetensors")
    for name in CALIBRATOR:  # the calibrator that stage 2 starts from is the one that stage 1 trained
        module = model.get_submodule(f"base_model.model.model.visual.blocks.{PATCHED}.calibrator.{name}")
        weight = (module.base_layer if hasattr(module, "base_layer") else module).weight
        assert torch.equal(weight, saved[f"base_model.model.model.visual.blocks.{PATCHED}.calibrator.{name}.weight"])


# Other ways in for gaze: the recipe, the calibrator (one linear layer), and what gets LoRA in the visual tower.
OTHERS = [
    (
        {"gaze_fusion": "score_modulation", **STAGE1},
        f"model.visual.blocks.{PATCHED}.attn.calibrator",
        vision(PATCHED, DEPTH),
    ),
    (
        {"gaze_fusion": "input_channel"},
        "model.visual.patch_embed.calibrator",
        [f"model.visual.blocks.{block}.{name}" for block in range(DEPTH) for name in BLOCK],
    ),
]


@pytest.mark.parametrize(("keys", "calibrator", "targets"), OTHERS, ids=["score_modulation", "input_channel"])
def test_both_stages_of_the_other_ways_into_the_tower(registry, keys, calibrator, targets):
    whole = {f"base_model.model.{calibrator}.modules_to_save.default.weight"}
    assert trained(load_model(registry, **keys)) == whole | lora(*targets)
    assert trained(load_model(registry, gaze_train_calibrator="lora", **keys)) == lora(calibrator, *targets)
    assert trained(load_model(registry, gaze_train_calibrator="frozen", **keys)) == lora(*targets)

    stage1 = save_trained(registry, **keys)
    saved = load_file(f"{stage1}/adapter_model.safetensors")
    loras = {re.sub(r"\.default\.", ".", name) for name in lora(*targets)}
    assert set(saved) == {f"base_model.model.{calibrator}.weight"} | loras

    model = load_model(registry, adapter_name_or_path=stage1, **STAGE2)  # the fusion stands in the adapter
    layers = len(model.base_model.model.model.language_model.layers)
    llm = [f"model.language_model.layers.{i}.{name}" for i in range(layers) for name in LAYER]
    assert trained(model) == lora(calibrator, *targets, *llm)
    carried_over = model.get_submodule(f"base_model.model.{calibrator}").base_layer.weight
    assert torch.equal(carried_over, saved[f"base_model.model.{calibrator}.weight"]) and carried_over.any()


def test_several_blocks_of_score_modulation(registry):
    """In a later block with gaze, LoRA trains the linear layers of the self-attention and not the calibrator."""
    model = load_model(registry, gaze_fusion="score_modulation", gaze_layers=[PATCHED, 1])
    whole = {
        f"base_model.model.model.visual.blocks.{block}.attn.calibrator.modules_to_save.default.weight"
        for block in (1, PATCHED)
    }
    assert trained(model) == whole | lora(*vision(1, DEPTH))


@pytest.mark.parametrize("fusion", IN_PICTURE + IN_PROMPT)
@pytest.mark.parametrize("way", ["full", "lora"])
def test_gaze_in_picture_or_prompt_trains_the_tower_from_gaze_layers_on(registry, capsys, fusion, way):
    keys = {"gaze_fusion": fusion, "gaze_train_calibrator": way}
    assert trained(load_model(registry, **keys, **STAGE1)) == lora(*vision(PATCHED, DEPTH))
    assert f"gaze_fusion {fusion}, gaze_layers {PATCHED})" in " ".join(capsys.readouterr().out.split())
    assert trained(load_model(registry, **keys)) == lora(*vision(DEPTH * 7 // 8, DEPTH))


def test_the_table_of_the_input_channel(registry, capsys):
    model = load_model(registry, gaze_fusion="input_channel")
    counts = training.count_parameters(model, -1)
    vision_config = model.config.vision_config
    assert counts["calibrator"] == {"full": 392 * vision_config.hidden_size, "lora": 0, "frozen": 0}
    embedding = 3 * 392 * vision_config.hidden_size
    assert counts["visual tower before the calibrator"] == {"full": 0, "lora": 0, "frozen": embedding}
    assert "(gaze_fusion input_channel)" in " ".join(capsys.readouterr().out.split())


def test_chosen_layers_of_the_language_model(registry, stage1):
    model = load_model(registry, adapter_name_or_path=stage1, gaze_llm_layers=[1], **STAGE2)
    touched = {re.search(r"language_model\.layers\.(\d+)", name) for name in trained(model)}
    assert {match.group(1) for match in touched if match} == {"1"}
    with pytest.raises(ValueError, match=r"the language model has layers 0 to"):
        load_model(registry, adapter_name_or_path=stage1, gaze_llm_layers=[99], **STAGE2)


def test_the_baseline_trains_the_same_parameters(registry):
    assert trained(load_model(registry, **STAGE1)) == trained(load_model(registry, gaze_ablation="off", **STAGE1))


def test_the_projector_can_be_trained(registry):
    names = trained(load_model(registry, gaze_train_projector="full", **STAGE1))
    assert any("visual.merger.modules_to_save" in name for name in names)
    assert "visual.merger.mlp.0.lora_A" in str(trained(load_model(registry, gaze_train_projector="lora", **STAGE1)))


def test_the_table_counts_what_is_trained(registry, capsys):
    model = load_model(registry, **STAGE1)
    printed = capsys.readouterr().out
    counts = training.count_parameters(model, PATCHED)
    width = model.config.vision_config.hidden_size
    assert counts["calibrator"] == {"full": 392 * width + 4 * width**2 + width, "lora": 0, "frozen": 0}
    assert counts["language model"]["lora"] == counts["language model"]["full"] == 0
    total = sum(sum(ways.values()) for ways in counts.values())
    assert total == sum(p.numel() for n, p in model.named_parameters() if "original_module" not in n)
    assert f"gaze_fusion cross_attention, gaze_layers {PATCHED})" in " ".join(printed.split())
    assert f"{counts['calibrator']['full']:,}" in printed


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"create_new_adapter": False}, "needs `create_new_adapter: true`"),
        (
            {"gaze_layers": [DEPTH - 1]},
            rf"was trained with `gaze_layers: \[{PATCHED}\]`, but the recipe says `gaze_layers: \[{DEPTH - 1}\]`",
        ),
        ({"gaze_query": "global"}, "trained with `gaze_query: patch`"),
        ({"gaze_norm": "post"}, "trained with `gaze_norm: pre`"),
        ({"gaze_num_heads": 1}, "trained with `gaze_num_heads:"),
        ({"gaze_rope": True}, "trained with `gaze_rope: False`, but the recipe says `gaze_rope: True`"),
        ({"gaze_preset": "paper"}, "trained with `gaze_norm: pre`, but `gaze_preset: paper` means `gaze_norm: post`"),
        ({"template": "qwen2_vl", "lora_target": "all", **dict.fromkeys(STAGE2)}, "was trained with gaze"),
    ],
)
def test_an_adapter_is_refused_under_other_settings(registry, stage1, keys, message):
    keys = {"adapter_name_or_path": stage1, **STAGE2, **keys}
    with pytest.raises(ValueError, match=message):
        load_model(registry, **keys)


@pytest.mark.parametrize("fusion", ["score_modulation", "input_channel", "crop", "text"])
@pytest.mark.parametrize("keys", [{}, {"gaze_query": "global"}, {"gaze_layers": [PATCHED, DEPTH - 1]}], ids=str)
def test_an_adapter_is_refused_under_another_fusion(registry, fusion, keys):
    """Whatever else it was trained with: the sentence is about what the recipe says."""
    load_model(registry, **{**STAGE1, **keys}).save_pretrained(registry / "stage1")
    message = f"was trained with `gaze_fusion: cross_attention`, but the recipe says `gaze_fusion: {fusion}`"
    with pytest.raises(ValueError, match=message):
        load_model(registry, adapter_name_or_path=str(registry / "stage1"), gaze_fusion=fusion, **STAGE2)


def test_an_adapter_may_be_used_with_the_settings_it_has(registry, stage1):
    """A recipe that repeats them says nothing else, in whatever order it names the blocks."""
    load_model(registry, **{**STAGE1, "gaze_layers": [1, PATCHED]}).save_pretrained(registry / "two")
    keys = {"gaze_fusion": "cross_attention", "gaze_rope": False, "gaze_layers": [PATCHED, 1]}
    model = load_model(registry, adapter_name_or_path=str(registry / "two"), **keys, **STAGE2)
    assert model.config.vision_config.gaze_layers == [1, PATCHED]


def test_adapters_of_two_trainings_are_refused(registry, stage1):
    load_model(registry, gaze_layers=[DEPTH - 1]).save_pretrained(registry / "other")
    message = rf"other was trained with `gaze_layers: \[{DEPTH - 1}\]`, but adapter .*stage1 was trained with"
    with pytest.raises(ValueError, match=message):
        load_model(registry, adapter_name_or_path=f"{stage1},{registry}/other", **STAGE2)


def test_adapters_come_after_those_that_they_were_trained_after(registry, stage1):
    stage2, other = str(registry / "stage2"), str(registry / "other")
    load_model(registry, adapter_name_or_path=stage1, **STAGE2).save_pretrained(stage2)
    load_model(registry, **STAGE1, lora_rank=4).save_pretrained(other)  # another stage 1
    load_model(registry, adapter_name_or_path=f"{stage1},{stage2}", **STAGE2)
    for adapters in (stage2, f"{stage2},{stage1}", f"{other},{stage2}"):
        with pytest.raises(ValueError, match=rf"Adapter {stage2} was trained after 1 other, and here it comes"):
            load_model(registry, adapter_name_or_path=adapters, **STAGE2)
    with pytest.raises(ValueError, match=rf"Adapter {other} was trained on the base model itself, and here it comes"):
        load_model(registry, adapter_name_or_path=f"{stage1},{other}", **STAGE2)
    config = registry / "stage2/adapter_config.json"
    record = json.loads(config.read_text())
    record["auto_mapping"]["llamafactory_gaze"]["after"] = 1
    config.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=rf"The gaze settings in {config} are damaged \(`after: 1`\)\. Take the file"):
        load_model(registry, adapter_name_or_path=f"{stage1},{stage2}", **STAGE2)


def test_an_adapter_of_an_exported_model_needs_that_model(registry, stage1):
    """As stage 2 under ZeRO-3 is trained; a stage 2 of the adapters fits the export, too, which holds stage 1."""
    merged = registry / "merged"
    model = load_model(registry, **STAGE1).merge_and_unload()
    model.save_pretrained(merged)
    for name in ("tokenizer.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json"):
        if (BASE_MODEL / name).exists():
            shutil.copy(BASE_MODEL / name, merged)
    load_model(registry, adapter_name_or_path=stage1, **STAGE2).save_pretrained(registry / "stage2")
    on_merged = {"model_name_or_path": str(merged), **STAGE2}
    load_model(registry, **on_merged).save_pretrained(registry / "of_merged")
    load_model(registry, adapter_name_or_path=str(registry / "of_merged"), **on_merged)
    load_model(registry, adapter_name_or_path=str(registry / "stage2"), **on_merged)
    with pytest.raises(ValueError, match="of_merged was trained on an exported gaze model, and here it comes on "):
        load_model(registry, adapter_name_or_path=str(registry / "of_merged"), **STAGE2)


def test_the_adapter_of_an_older_version_has_the_defaults(registry, stage1):
    """Older versions knew neither gaze_fusion nor gaze_rope, and wrote down neither."""
    path = registry / "stage1/adapter_config.json"
    config = json.loads(path.read_text())
    settings = config["auto_mapping"]["llamafactory_gaze"]["settings"]
    assert set(settings) == set(GAZE_DEFAULTS)
    del settings["gaze_fusion"], settings["gaze_rope"]
    path.write_text(json.dumps(config))

    model = load_model(registry, adapter_name_or_path=stage1, **STAGE2)
    vision = model.config.vision_config
    assert (vision.gaze_fusion, vision.gaze_rope, vision.gaze_layers) == ("cross_attention", False, [PATCHED])
    name = f"base_model.model.model.visual.blocks.{PATCHED}.calibrator.norm"
    assert torch.equal(
        model.get_submodule(name).weight, load_file(f"{stage1}/adapter_model.safetensors")[f"{name}.weight"]
    )
    with pytest.raises(ValueError, match="was trained with `gaze_fusion: cross_attention`, but the recipe says"):
        load_model(registry, adapter_name_or_path=stage1, gaze_fusion="dim", **STAGE2)


def test_an_adapter_without_gaze_is_refused(registry, stage1):
    path = registry / "stage1/adapter_config.json"
    config = json.loads(path.read_text())
    config["auto_mapping"] = None
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match="carries no gaze settings"):
        load_model(registry, adapter_name_or_path=stage1, **STAGE2)


def test_zero_3_is_refused_where_llamafactory_would_not_merge(registry, stage1):
    model_args, _, _, finetuning_args, _ = parse(registry, adapter_name_or_path=stage1, **STAGE2)
    with pytest.raises(ValueError, match="Merge stage 1 first"):
        training.resolve_targets(torch.nn.Module(), model_args, finetuning_args, zero3=True)


def test_the_recipe_says_how_many_images_the_model_keeps(registry):
    model = load_model(registry, gaze_cached_images=4)
    assert model.model.model.visual.image_cache.images == 4


def test_another_model_is_refused(registry, tmp_path):
    from transformers import Qwen2Config

    Qwen2Config().save_pretrained(tmp_path / "qwen2")
    model_args, *_ = parse(registry)
    from llamafactory_gaze.integration.settings import gaze_config

    with pytest.raises(ValueError, match=r"needs a Qwen2\.5-VL model, but .* is of type qwen2"):
        gaze_config(Qwen2Config(), model_args)


def test_a_recipe_without_gaze_gets_the_stock_model(registry):
    """Other recipes behave as before: model class, targets and trained parameters are LLaMA-Factory's own."""
    from transformers import Qwen2_5_VLForConditionalGeneration

    model = load_model(registry, template="qwen2_vl", lora_target="q_proj")
    assert type(model.get_base_model()) is Qwen2_5_VLForConditionalGeneration
    layers = len(model.get_base_model().model.language_model.layers)
    assert trained(model) == lora(*(f"model.language_model.layers.{i}.self_attn.q_proj" for i in range(layers)))
