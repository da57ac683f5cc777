"""transformers' own common model tests, set up for the stock model and ours; `compare_transformers.py` runs them."""

import inspect
import os
import sys
import unittest
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest.mock import patch

import torch
from transformers import (
    GenerationMixin,
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLModel,
    Qwen2_5_VLPreTrainedModel,
)

from llamafactory_gaze.modeling import (
    Qwen2_5_VLGazeConfig,
    Qwen2_5_VLGazeForConditionalGeneration,
    Qwen2_5_VLGazeModel,
)
from llamafactory_gaze.modeling.vision_tower import ZeroInitMixin
from llamafactory_gaze.saliency.patches import NO_MAP
from tests.conftest import PAD, tiny_stock_config


package = ModuleType("transformers_tests")  # `tests` is ours
package.__path__ = [str(Path(os.environ["TRANSFORMERS"]) / "tests")]
sys.modules["transformers_tests"] = package
common = import_module("transformers_tests.test_modeling_common")
generation = import_module("transformers_tests.generation.test_utils")
# By these tables of names their tests know which models take labels, and which have none.
common.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES["qwen2_5_vl_gaze"] = Qwen2_5_VLGazeForConditionalGeneration.__name__
common.MODEL_MAPPING_NAMES["qwen2_5_vl_gaze"] = Qwen2_5_VLGazeModel.__name__

IMAGE, VIDEO, START, END = 3, 4, 5, 6  # as conftest's, but among the first tokens
FAILS_ON_STOCK = {
    "test_inputs_embeds_matches_input_ids": "without token ids there are no 3-D positions",
    "test_generate_compile_model_forward_fullgraph": "halves tensors by rows, where an image has 16 rows of pixels",
}


class ModelTester:
    """Three rows, each with an image of 4 x 4 patches.

    Args:
        fusion: how gaze comes in; None: the stock configuration.
        maps: which of the images have a map; None: there is no saliency channel.
    """

    is_training, batch_size, seq_length = True, 3, 12
    hidden_size, num_hidden_layers, num_attention_heads = 32, 2, 4

    def __init__(self, fusion, maps):
        self.fusion, self.maps = fusion, maps

    def get_config(self):
        config = tiny_stock_config(depth=2)
        # They cut the last 15 tokens off the vocabulary.
        config.image_token_id, config.vision_start_token_id, config.vision_end_token_id = IMAGE, START, END
        config.video_token_id = VIDEO
        return config if self.fusion is None else Qwen2_5_VLGazeConfig.from_stock(config, gaze_fusion=self.fusion)

    def prepare_config_and_inputs_for_common(self):
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(10, 80, (self.batch_size, self.seq_length), generator=generator)
        ids[:, 1], ids[:, 2:6], ids[:, 6], ids[:, -1] = START, IMAGE, END, PAD
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
            **inputs, "image_grid_thw": grids, "mm_token_type_ids": (ids == IMAGE).long()
        }  # fmt: skip


class Common(common.ModelTesterMixin, generation.GenerationTesterMixin):
    fusion: str | None = None
    maps: tuple[bool, ...] | None = None

    def setUp(self):
        self.model_tester = ModelTester(self.fusion, self.maps)

    def prepare_config_and_inputs_for_generate(self, batch_size=2):
        """Theirs cuts every tensor to its first rows, ours has 16 rows of pixels for each row of tokens."""
        self.model_tester.batch_size = batch_size
        config, inputs = super().prepare_config_and_inputs_for_generate(batch_size * 16)
        return config, inputs

    def test_reverse_loading_mapping(self, check_keys_were_modified=True):
        """As in their own tests of Qwen2.5-VL: keys are renamed in the checkpoints of the whole model alone."""
        with patch.object(self, "all_model_classes", self.all_model_classes[1:]):
            super().test_reverse_loading_mapping(check_keys_were_modified)


class TestStock(Common, unittest.TestCase):
    all_model_classes = (Qwen2_5_VLModel, Qwen2_5_VLForConditionalGeneration)


class Ours(Common):
    all_model_classes = (Qwen2_5_VLGazeModel, Qwen2_5_VLGazeForConditionalGeneration)
    fusion = "cross_attention"

    def test_can_init_all_missing_weights(self):
        """Theirs asks the copyright line above the configuration for the model's age, and skips old ones."""
        stock = SimpleNamespace(getfile=lambda _: inspect.getfile(Qwen2_5_VLConfig))
        with patch.object(common, "inspect", stock):
            super().test_can_init_all_missing_weights()

    def test_inherits_generation_mixin(self):
        """Theirs looks for the mixin among the direct bases, so that it does not come with `PreTrainedModel`.

        Ours comes with the stock class, as in every class that is derived from a finished model.
        """
        self.assertFalse(issubclass(PreTrainedModel, GenerationMixin))
        for model_class in self.all_generative_model_classes:
            self.assertTrue(issubclass(model_class, Qwen2_5_VLForConditionalGeneration))


class TestWithoutMaps(Ours, unittest.TestCase):
    pass


class Awake(Ours):
    """What starts at zero starts as all other weights do, so that maps have an effect in a model without training."""

    maps = (True, True, True)

    def setUp(self):
        super().setUp()
        awake = patch.object(ZeroInitMixin, "_init_weights", Qwen2_5_VLPreTrainedModel._init_weights)
        awake.start()
        self.addCleanup(awake.stop)


class TestWithMaps(Awake, unittest.TestCase):
    pass


class TestMixed(Awake, unittest.TestCase):
    maps = (False, True, False)


class TestScoreModulation(Awake, unittest.TestCase):
    fusion = "score_modulation"


class TestInputChannel(Awake, unittest.TestCase):
    fusion = "input_channel"


CASES = {
    "stock": TestStock, "no maps": TestWithoutMaps, "maps": TestWithMaps, "maps in part": TestMixed,
    "score modulation": TestScoreModulation, "input channel": TestInputChannel,
}  # fmt: skip


def mixin_of(test: str) -> str:
    """Which class of transformers a test stands in."""
    mixins = (common.ModelTesterMixin, generation.GenerationTesterMixin)
    return next(mixin.__name__ for mixin in mixins if test in vars(mixin))
