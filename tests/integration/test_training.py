"""The contract of each stage: what is trained, what is saved, and with which settings it may be loaded again."""

import json
import re
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from llamafactory_gaze.integration import training
from tests.integration.conftest import parse


CALIBRATOR = ["k_proj", "norm", "o_proj", "q_proj", "saliency_proj", "v_proj"]
CALIBRATOR_LINEAR = [name for name in CALIBRATOR if name != "norm"]
MLP = ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
BLOCK = ["attn.qkv", "attn.proj", *MLP]
LAYER = [*(f"self_attn.{x}_proj" for x in "qkvo"), *MLP]

DEPTH, PATCHED = 4, 2  # of the tiny base model
STAGE1 = {"gaze_layers": [PATCHED]}
STAGE2 = {"gaze_train_calibrator": "lora", "gaze_train_llm": "lora", "create_new_adapter": True}


def load(registry, **keys):
    """The model as LLaMA-Factory's own loader makes it for a recipe."""
    from llamafactory.model import load_model, load_tokenizer

    model_args, _, training_args, finetuning_args, _ = parse(registry, **keys)
    tokenizer = load_tokenizer(model_args)["tokenizer"]
    return load_model(tokenizer, model_args, finetuning_args, training_args.do_train)


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
    model = load(registry, **STAGE1)
    assert model.config.vision_config.depth == DEPTH
    assert trained(model) == in_full(PATCHED) | lora(*vision(PATCHED, DEPTH))


def test_several_blocks(registry):
    model = load(registry, gaze_layers=[3, 1])
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


@pytest.fixture
def stage1(registry) -> str:
    """A trained stage 1: its weights have all moved."""
    model = load(registry, **STAGE1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(registry / "stage1")
    return str(registry / "stage1")


def test_the_adapter_of_stage_1_holds_exactly_this(stage1):
    prefix = "base_model.model.model.visual.blocks"
    calibrator = {f"{prefix}.{PATCHED}.calibrator.{name}.weight" for name in CALIBRATOR}
    loras = {re.sub(r"\.default\.", ".", name) for name in lora(*vision(PATCHED, DEPTH))}
    assert set(load_file(f"{stage1}/adapter_model.safetensors")) == calibrator | loras


def test_stage_2_trains_exactly_this_on_top_of_stage_1(registry, stage1):
    model = load(registry, adapter_name_or_path=stage1, **STAGE2)
    calibrator = [f"model.visual.blocks.{PATCHED}.calibrator.{name}" for name in CALIBRATOR_LINEAR]
    layers = len(model.base_model.model.model.language_model.layers)
    llm = [f"model.language_model.layers.{i}.{name}" for i in range(layers) for name in LAYER]
    assert trained(model) == lora(*calibrator, *vision(PATCHED, DEPTH), *llm)

    saved = load_file(f"{stage1}/adapter_model.safetensors")
    for name in CALIBRATOR:  # the calibrator that stage 2 starts from is the one that stage 1 trained
        module = model.get_submodule(f"base_model.model.model.visual.blocks.{PATCHED}.calibrator.{name}")
        weight = (module.base_layer if hasattr(module, "base_layer") else module).weight
        assert torch.equal(weight, saved[f"base_model.model.model.visual.blocks.{PATCHED}.calibrator.{name}.weight"])


def test_chosen_layers_of_the_language_model(registry, stage1):
    model = load(registry, adapter_name_or_path=stage1, gaze_llm_layers=[1], **STAGE2)
    touched = {re.search(r"language_model\.layers\.(\d+)", name) for name in trained(model)}
    assert {match.group(1) for match in touched if match} == {"1"}
    with pytest.raises(ValueError, match=r"the language model has layers 0 to"):
        load(registry, adapter_name_or_path=stage1, gaze_llm_layers=[99], **STAGE2)


def test_the_baseline_trains_the_same_parameters(registry):
    assert trained(load(registry, **STAGE1)) == trained(load(registry, gaze_ablation="off", **STAGE1))


def test_the_projector_can_be_trained(registry):
    names = trained(load(registry, gaze_train_projector="full", **STAGE1))
    assert any("visual.merger.modules_to_save" in name for name in names)
    assert "visual.merger.mlp.0.lora_A" in str(trained(load(registry, gaze_train_projector="lora", **STAGE1)))


def test_the_table_counts_what_is_trained(registry, capsys):
    model = load(registry, **STAGE1)
    printed = capsys.readouterr().out
    counts = training.count_parameters(model, PATCHED)
    width = model.config.vision_config.hidden_size
    assert counts["calibrator"] == {"full": 392 * width + 4 * width**2 + width, "lora": 0, "frozen": 0}
    assert counts["language model"]["lora"] == counts["language model"]["full"] == 0
    total = sum(sum(ways.values()) for ways in counts.values())
    assert total == sum(p.numel() for n, p in model.named_parameters() if "original_module" not in n)
    assert f"calibrator in block {PATCHED}" in printed and f"{counts['calibrator']['full']:,}" in printed


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"create_new_adapter": False}, "needs `create_new_adapter: true`"),
        ({"gaze_layers": [3]}, r"was trained with `gaze_layers: \[2\]`, but the recipe says `gaze_layers: \[3\]`"),
        ({"gaze_query": "global"}, "trained with `gaze_query: patch`"),
        ({"gaze_norm": "post"}, "trained with `gaze_norm: pre`"),
        ({"gaze_num_heads": 1}, "trained with `gaze_num_heads:"),
        ({"template": "qwen2_vl", "lora_target": "all", **dict.fromkeys(STAGE2)}, "was trained with gaze"),
    ],
)
def test_an_adapter_is_refused_under_other_settings(registry, stage1, keys, message):
    keys = {"adapter_name_or_path": stage1, **STAGE2, **keys}
    with pytest.raises(ValueError, match=message):
        load(registry, **keys)


def test_an_adapter_without_gaze_is_refused(registry, stage1):
    path = registry / "stage1/adapter_config.json"
    config = json.loads(path.read_text())
    config["auto_mapping"] = None
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match="carries no gaze settings"):
        load(registry, adapter_name_or_path=stage1, **STAGE2)


def test_zero_3_is_refused_where_llamafactory_would_not_merge(registry, stage1):
    model_args, _, _, finetuning_args, _ = parse(registry, adapter_name_or_path=stage1, **STAGE2)
    with pytest.raises(ValueError, match="Merge stage 1 first"):
        training.resolve_targets(torch.nn.Module(), model_args, finetuning_args, zero3=True)


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

    model = load(registry, template="qwen2_vl", lora_target="q_proj")
    assert type(model.get_base_model()) is Qwen2_5_VLForConditionalGeneration
    layers = len(model.get_base_model().model.language_model.layers)
    assert trained(model) == lora(*(f"model.language_model.layers.{i}.self_attn.q_proj" for i in range(layers)))
