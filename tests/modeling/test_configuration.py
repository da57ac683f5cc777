"""Settings of the gaze model: defaults, checks, and the way to disk and back."""

import json

import pytest
import torch
from transformers import AutoConfig, Qwen2_5_VLForConditionalGeneration

from llamafactory_gaze import Qwen2_5_VLGazeConfig, Qwen2_5_VLGazeForConditionalGeneration
from llamafactory_gaze.modeling.configuration import GAZE_FUSIONS
from tests.conftest import tiny_stock_config


def test_the_default_is_one_late_block():
    assert Qwen2_5_VLGazeConfig().vision_config.gaze_layers == [28]  # the 32 blocks of 3B and 7B
    assert Qwen2_5_VLGazeConfig.from_stock(tiny_stock_config()).vision_config.gaze_layers == [3]


def test_the_input_channel_comes_in_before_all_blocks():
    vision = Qwen2_5_VLGazeConfig.from_stock(tiny_stock_config(), gaze_fusion="input_channel").vision_config
    assert vision.gaze_layers == [] and vision.first_trained_block == -1
    again = Qwen2_5_VLGazeConfig.from_stock(tiny_stock_config(), gaze_fusion="input_channel", gaze_layers=[])
    assert again.vision_config.gaze_settings() == vision.gaze_settings()


@pytest.mark.parametrize("fusion", [fusion for fusion in GAZE_FUSIONS if fusion != "input_channel"])
def test_every_other_fusion_begins_at_its_first_layer(fusion):
    default = Qwen2_5_VLGazeConfig.from_stock(tiny_stock_config(), gaze_fusion=fusion).vision_config
    assert default.gaze_layers == [3] and default.first_trained_block == 3
    stated = Qwen2_5_VLGazeConfig.from_stock(tiny_stock_config(), gaze_fusion=fusion, gaze_layers=[2, 1])
    assert stated.vision_config.first_trained_block == 1
    with pytest.raises(ValueError, match="at least one block"):
        Qwen2_5_VLGazeConfig.from_stock(tiny_stock_config(), gaze_fusion=fusion, gaze_layers=[])


def test_from_stock_keeps_everything_but_the_type():
    stock = tiny_stock_config()
    gaze = Qwen2_5_VLGazeConfig.from_stock(stock, gaze_layers=[2, 0])
    ours, theirs = gaze.to_dict(), stock.to_dict()
    assert ours.pop("model_type") == "qwen2_5_vl_gaze"
    assert ours["vision_config"].pop("model_type") == "qwen2_5_vl_gaze_vision"
    settings = {key: ours["vision_config"].pop(key) for key in gaze.vision_config.gaze_settings()}
    assert settings == {
        "gaze_fusion": "cross_attention", "gaze_layers": [0, 2], "gaze_num_heads": 2, "gaze_query": "patch",
        "gaze_norm": "pre", "gaze_rope": False, "gaze_scope": "image",
    }  # fmt: skip
    del theirs["model_type"], theirs["vision_config"]["model_type"]
    assert ours == theirs


@pytest.mark.parametrize(
    "gaze",
    [
        {"gaze_layers": [1], "gaze_query": "global"},
        {"gaze_norm": "post", "gaze_rope": True},
        {"gaze_fusion": "input_channel"},
        {"gaze_fusion": "crop", "gaze_layers": [1]},
    ],
    ids=str,
)
def test_the_way_to_disk_and_back(tmp_path, gaze):
    config = Qwen2_5_VLGazeConfig.from_stock(tiny_stock_config(), **gaze)
    assert gaze.items() <= config.vision_config.gaze_settings().items()
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert type(loaded) is Qwen2_5_VLGazeConfig
    assert loaded.vision_config.gaze_settings() == config.vision_config.gaze_settings()


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("gaze_layers", [4], "from 0 to 3"),
        ("gaze_layers", [-1], "from 0 to 3"),
        ("gaze_layers", [1, 1], "each once"),
        ("gaze_layers", [], "at least one"),
        ("gaze_num_heads", 5, "1, 2, 4, 8, 16, 32"),
        ("gaze_query", "token", "patch, global"),
        ("gaze_norm", "none", "pre, post"),
        (
            "gaze_fusion",
            "mulan",
            "cross_attention, score_modulation, input_channel, overlay, dim, crop, text",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_the_allowed_ones(field, value, allowed):
    with pytest.raises(ValueError, match=field) as error:
        Qwen2_5_VLGazeConfig.from_stock(tiny_stock_config(), **{field: value})
    assert allowed in str(error.value)


@pytest.mark.parametrize("fusion", [fusion for fusion in GAZE_FUSIONS if fusion != "cross_attention"])
@pytest.mark.parametrize(
    ("field", "value"), [("gaze_query", "global"), ("gaze_norm", "post"), ("gaze_rope", True), ("gaze_num_heads", 4)]
)
def test_a_setting_of_cross_attention_is_refused_elsewhere(fusion, field, value):
    with pytest.raises(ValueError, match=f"{field} is a setting of .* means nothing for {fusion}: take it out"):
        Qwen2_5_VLGazeConfig.from_stock(tiny_stock_config(), gaze_fusion=fusion, **{field: value})


@pytest.mark.parametrize(
    ("gaze", "message"),
    [
        ({"gaze_rope": True, "gaze_query": "global"}, "needs gaze_query patch and gaze_num_heads 2"),
        ({"gaze_rope": True, "gaze_num_heads": 4}, "needs gaze_query patch and gaze_num_heads 2"),
        ({"gaze_fusion": "input_channel", "gaze_layers": [3]}, r"gaze_layers is \[3\].*take it out"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(gaze, message):
    with pytest.raises(ValueError, match=message):
        Qwen2_5_VLGazeConfig.from_stock(tiny_stock_config(), **gaze)


@pytest.mark.parametrize("gaze", [{"gaze_num_heads": 2}, {"gaze_norm": "post"}], ids=str)
def test_rotary_positions_fit_the_towers_own_heads(gaze):
    config = Qwen2_5_VLGazeConfig.from_stock(tiny_stock_config(), gaze_rope=True, **gaze)
    assert config.vision_config.gaze_rope


# The configuration of Qwen/Qwen2.5-VL-3B-Instruct as it stands on the Hub: text fields at the top, old names.
HUB_3B = {
    "architectures": ["Qwen2_5_VLForConditionalGeneration"],
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "vision_start_token_id": 151652,
    "vision_end_token_id": 151653,
    "vision_token_id": 151654,
    "image_token_id": 151655,
    "video_token_id": 151656,
    "hidden_act": "silu",
    "hidden_size": 2048,
    "intermediate_size": 11008,
    "max_position_embeddings": 128000,
    "max_window_layers": 70,
    "model_type": "qwen2_5_vl",
    "num_attention_heads": 16,
    "num_hidden_layers": 36,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "sliding_window": 32768,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "use_sliding_window": False,
    "vision_config": {
        "depth": 32,
        "hidden_act": "silu",
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "in_chans": 3,
        "out_hidden_size": 2048,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "spatial_patch_size": 14,
        "window_size": 112,
        "fullatt_block_indexes": [7, 15, 23, 31],
        "tokens_per_second": 2,
        "temporal_patch_size": 2,
    },
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "vocab_size": 151936,
}


@pytest.mark.parametrize(
    ("fusion", "where", "size"),
    [
        ("cross_attention", "model.visual.blocks.28.calibrator.", 392 * 1280 + 4 * 1280**2 + 1280),
        ("score_modulation", "model.visual.blocks.28.attn.calibrator.", 392 * 16),
        ("input_channel", "model.visual.patch_embed.calibrator.", 392 * 1280),
        ("crop", "", 0),
    ],
)
def test_the_3b_model_as_it_is_on_the_hub(tmp_path, fusion, where, size):
    """Its shapes, on the meta device: the calibrator adds what the arithmetic says, and nothing else changes."""
    (tmp_path / "config.json").write_text(json.dumps(HUB_3B))
    stock = AutoConfig.from_pretrained(tmp_path)
    config = Qwen2_5_VLGazeConfig.from_stock(stock, gaze_fusion=fusion)
    assert config.text_config.to_dict() == stock.text_config.to_dict()
    with torch.device("meta"):
        theirs = Qwen2_5_VLForConditionalGeneration(stock).state_dict()
        ours = Qwen2_5_VLGazeForConditionalGeneration(config).state_dict()
    added = {name: weight for name, weight in ours.items() if name not in theirs}
    assert {name: weight.shape for name, weight in ours.items() if name not in added} == {
        name: weight.shape for name, weight in theirs.items()
    }
    assert all(name.startswith(where) for name in added)
    assert sum(weight.numel() for weight in added.values()) == size
