"""The model: Qwen2.5-VL whose visual tower takes in where people look.

expected.py                  what it builds upon in transformers, looked up first
configuration.py             the settings
cross_attention.py           the paper's way in: E_sal and MHCA, the saliency calibrator
score_modulation.py          its rivals inside the tower
input_channel.py
fusions.py                   which of them a configuration asks for
gaze.py                      what they share
positions.py                 where the tokens of a video stand in time
vision_tower.py              puts them into the visual tower
image_cache.py               what the tower makes of an image before gaze comes in, kept for the next gaze
modeling_qwen2_5_vl_gaze.py  puts the tower into Qwen2.5-VL
processing_qwen2_5_vl_gaze.py  images, maps and prompts to the model's inputs
registration.py              tells transformers' Auto classes
"""

from llamafactory_gaze.modeling import expected  # noqa: F401 - first: says what transformers lacks
from llamafactory_gaze.modeling.configuration import Qwen2_5_VLGazeConfig, Qwen2_5_VLGazeVisionConfig
from llamafactory_gaze.modeling.modeling_qwen2_5_vl_gaze import (
    Qwen2_5_VLGazeForConditionalGeneration,
    Qwen2_5_VLGazeModel,
)
from llamafactory_gaze.modeling.processing_qwen2_5_vl_gaze import Qwen2_5_VLGazeProcessor
from llamafactory_gaze.modeling.registration import register_auto_classes
from llamafactory_gaze.modeling.vision_tower import Qwen2_5_VLGazeVisionTransformer


register_auto_classes()

__all__ = [
    "Qwen2_5_VLGazeConfig",
    "Qwen2_5_VLGazeForConditionalGeneration",
    "Qwen2_5_VLGazeModel",
    "Qwen2_5_VLGazeProcessor",
    "Qwen2_5_VLGazeVisionConfig",
    "Qwen2_5_VLGazeVisionTransformer",
]
