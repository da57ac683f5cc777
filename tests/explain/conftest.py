"""The demo's tiny model with a calibrator of random weights, an image of several windows and a map."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from transformers import AutoConfig, AutoProcessor

from llamafactory_gaze import (
    Qwen2_5_VLGazeConfig,
    Qwen2_5_VLGazeForConditionalGeneration,
    Qwen2_5_VLGazeProcessor,
)
from llamafactory_gaze.demo.run import BASE_MODEL


DEPTH = AutoConfig.from_pretrained(BASE_MODEL).vision_config.depth
LAST = {"gaze_layers": [DEPTH - 1]}
WIDTH, HEIGHT = 224, 168  # 12 x 16 patches, 6 x 8 visual tokens; 2 x 2 windows of 4 x 4 tokens, some cut off
PROMPT = "Describe the image."


def awaken(model: nn.Module, std: float = 0.2) -> nn.Module:
    """Gives all weights of the calibrators values, as training would; before, a map has no effect."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".calibrator." in name and parameter.ndim == 2:
                parameter.normal_(std=std, generator=generator)
    return model


def fresh_model(**gaze) -> Qwen2_5_VLGazeForConditionalGeneration:
    config = Qwen2_5_VLGazeConfig.from_stock(AutoConfig.from_pretrained(BASE_MODEL), **gaze)
    return Qwen2_5_VLGazeForConditionalGeneration.from_pretrained(BASE_MODEL, config=config).eval()


def make_processor(fusion: str = "cross_attention"):
    return Qwen2_5_VLGazeProcessor.from_stock(AutoProcessor.from_pretrained(BASE_MODEL), fusion)


def make_image(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height // 7, width // 7, 3), dtype=np.uint8)
    return Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC)


def random_map(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).random((HEIGHT, WIDTH)).astype(np.float32)


def save_map(path: Path, saliency: np.ndarray) -> Path:
    Image.fromarray((saliency * 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Settings -> folder of a gaze model with calibrators of random weights."""

    @cache
    def export(fusion: str = "cross_attention", layer: int | None = None) -> Path:
        folder = tmp_path_factory.mktemp(fusion)
        gaze = {} if layer is None else {"gaze_layers": [layer]}
        awaken(fresh_model(gaze_fusion=fusion, **gaze)).save_pretrained(folder)
        make_processor(fusion).save_pretrained(folder)
        return folder

    return export
