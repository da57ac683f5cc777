"""Fixtures: a tiny random Qwen2.5-VL, stock and gaze, built from its configuration, without any download."""

import os


os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before transformers is imported

import pytest
import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration


IMAGE_TOKEN, VIDEO_TOKEN, VISION_START, VISION_END, PAD = 90, 91, 92, 93, 0


def tiny_stock_config(depth: int = 4) -> Qwen2_5_VLConfig:
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": 100,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]},
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": PAD,
        },
        vision_config={
            "depth": depth,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [1, depth - 1],
            "window_size": 112,
        },
        image_token_id=IMAGE_TOKEN,
        video_token_id=VIDEO_TOKEN,
        vision_start_token_id=VISION_START,
        vision_end_token_id=VISION_END,
    )


@pytest.fixture(scope="session")
def stock_model() -> Qwen2_5_VLForConditionalGeneration:
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(tiny_stock_config()).eval()
    with torch.no_grad():  # the default spread of 0.02 leaves a tiny model almost linear
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(5)
    return model


@pytest.fixture(scope="session")
def stock_checkpoint(stock_model, tmp_path_factory) -> str:
    """The stock model on disk, as transformers saves it."""
    path = tmp_path_factory.mktemp("stock")
    stock_model.save_pretrained(path)
    return str(path)
