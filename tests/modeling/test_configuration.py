"""Settings of the gaze model: defaults, checks, and the way to disk and back."""

import pytest
from transformers import AutoConfig

from llamafactory_gaze import Qwen2_5_VLGazeConfig
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
