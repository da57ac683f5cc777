"""Settings of the gaze model: defaults, checks, and the way to disk and back."""

import json

import pytest
import torch
from transformers import AutoConfig, Qwen2_5_VLForConditionalGeneration

from llamafactory_gaze import Qwen2_5_VLGazeConfig, Qwen2_5_VLGazeForConditionalGeneration
from tests.conftest import tiny_stock_config


def test_the_default_is_one_late_block():
    assert Qwen2_5_VLGazeConfig().vision_config.gaze_layers == [28]  # the 32 blocks of 3B and 7B
    assert Qwen2_5_VLGazeConfig.from_stock(tiny_stock_config()).vision_config.gaze_layers == [3]


def test_from_stock_keeps_everything_but_the_type():
    stock = tiny_stock_config()
    gaze = Qwen2_5_VLGazeConfig.from_stock(stock, gaze_layers=[2, 0])
    ours, theirs = gaze.to_dict(), stock.to_dict()
    assert ours.pop("model_type") == "qwen2_5_vl_gaze"
    assert ours["vision_config"].pop("model_type") == "qwen2_5_vl_gaze_vision"
    settings = {key: ours["vision_config"].pop(key) for key in gaze.vision_config.gaze_settings()}
    assert settings == {"gaze_layers": [0, 2], "gaze_num_heads": 2, "gaze_query": "patch", "gaze_norm": "pre"}
    del theirs["model_type"], theirs["vision_config"]["model_type"]
    assert ours == theirs


def test_the_way_to_disk_and_back(tmp_path):
    config = Qwen2_5_VLGazeConfig.from_stock(tiny_stock_config(), gaze_layers=[1], gaze_query="global")
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
    ],
)
def test_a_wrong_value_is_refused_with_the_allowed_ones(field, value, allowed):
    with pytest.raises(ValueError, match=field) as error:
        Qwen2_5_VLGazeConfig.from_stock(tiny_stock_config(), **{field: value})
    assert allowed in str(error.value)


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


def test_the_3b_model_as_it_is_on_the_hub(tmp_path):
    """Its shapes, on the meta device: the calibrator adds what the arithmetic says, and nothing else changes."""
    (tmp_path / "config.json").write_text(json.dumps(HUB_3B))
    stock = AutoConfig.from_pretrained(tmp_path)
    config = Qwen2_5_VLGazeConfig.from_stock(stock)
    assert config.text_config.to_dict() == stock.text_config.to_dict()
    with torch.device("meta"):
        theirs = Qwen2_5_VLForConditionalGeneration(stock).state_dict()
        ours = Qwen2_5_VLGazeForConditionalGeneration(config).state_dict()
    added = {name: weight for name, weight in ours.items() if name not in theirs}
    assert {name: weight.shape for name, weight in ours.items() if name not in added} == {
        name: weight.shape for name, weight in theirs.items()
    }
    assert all(name.startswith("model.visual.blocks.28.calibrator.") for name in added)
    assert sum(weight.numel() for weight in added.values()) == 392 * 1280 + 4 * 1280**2 + 1280
