"""transformers' own common model tests on the gaze model, beside the stock model.

make neighbours TRANSFORMERS=/path/to/a/checkout      (needs the package `parameterized`)
"""

import os
import sys
import unittest
from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLModel

from llamafactory_gaze.modeling import (
    Qwen2_5_VLGazeConfig,
    Qwen2_5_VLGazeForConditionalGeneration,
    Qwen2_5_VLGazeModel,
)
from llamafactory_gaze.saliency.patches import NO_MAP
from tests.conftest import IMAGE_TOKEN, PAD, VISION_END, VISION_START, tiny_stock_config


package = ModuleType("transformers_tests")  # `tests` is ours
package.__path__ = [str(Path(os.environ["TRANSFORMERS"]) / "tests")]
sys.modules["transformers_tests"] = package
common = import_module("transformers_tests.test_modeling_common")
generation = import_module("transformers_tests.generation.test_utils")
# By these tables of names their tests know which models take labels, and which have none.
common.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES["qwen2_5_vl_gaze"] = Qwen2_5_VLGazeForConditionalGeneration.__name__
common.MODEL_MAPPING_NAMES["qwen2_5_vl_gaze"] = Qwen2_5_VLGazeModel.__name__


class Tester:
    """Three rows, each with an image of 4 x 4 patches; `maps` says which images have a map, None: no channel."""

    is_training, batch_size, seq_length = True, 3, 12
    hidden_size, num_hidden_layers, num_attention_heads = 32, 2, 4

    def __init__(self, maps):
        self.maps = maps

    def get_config(self):
        config = tiny_stock_config(depth=2)
        return config if self.maps is False else Qwen2_5_VLGazeConfig.from_stock(config, gaze_layers=[1])

    def prepare_config_and_inputs_for_common(self):
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(5, 80, (self.batch_size, self.seq_length), generator=generator)
        ids[:, 1], ids[:, 2:6], ids[:, 6], ids[:, -1] = VISION_START, IMAGE_TOKEN, VISION_END, PAD
        pixels = torch.randn(16 * self.batch_size, 1176, generator=generator)
        if self.maps:
            channel = torch.rand(16 * self.batch_size, 392, generator=generator)
            for row, has_map in enumerate(self.maps):
                if not has_map:
                    channel[16 * row : 16 * (row + 1)] = NO_MAP
            pixels = torch.cat([pixels, channel], dim=1)
        grids = torch.tensor([[1, 4, 4]] * self.batch_size)
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}
        return self.get_config(), {
            **inputs, "image_grid_thw": grids, "mm_token_type_ids": (ids == IMAGE_TOKEN).long()
        }  # fmt: skip


class Common(common.ModelTesterMixin, generation.GenerationTesterMixin):
    all_model_classes = (Qwen2_5_VLGazeModel, Qwen2_5_VLGazeForConditionalGeneration)
    maps = None

    def setUp(self):
        self.model_tester = Tester(self.maps)

    def prepare_config_and_inputs_for_generate(self, batch_size=2):
        """Theirs cuts every tensor to its first rows, ours has 16 rows of pixels for each row of tokens."""
        self.model_tester.batch_size = batch_size
        config, inputs = super().prepare_config_and_inputs_for_generate(batch_size * 16)
        return config, inputs


class TestStock(Common, unittest.TestCase):
    all_model_classes = (Qwen2_5_VLModel, Qwen2_5_VLForConditionalGeneration)
    maps = False


class TestWithMaps(Common, unittest.TestCase):
    maps = (True, True, True)


class TestMixed(Common, unittest.TestCase):
    maps = (False, True, False)


class TestWithoutMaps(Common, unittest.TestCase):
    maps = None
