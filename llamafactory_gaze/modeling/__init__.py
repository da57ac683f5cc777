"""The model: Qwen2.5-VL whose visual tower carries the paper's saliency calibrator.

`configuration.py` names the settings, `calibrator.py` is the paper's E_sal and MHCA, `modeling_qwen2_5_vl_gaze.py`
puts the calibrator into Qwen2.5-VL, `registration.py` tells transformers' Auto classes about the result.
"""

from llamafactory_gaze.modeling.configuration import Qwen2_5_VLGazeConfig, Qwen2_5_VLGazeVisionConfig
from llamafactory_gaze.modeling.modeling_qwen2_5_vl_gaze import (
    Qwen2_5_VLGazeForConditionalGeneration,
    Qwen2_5_VLGazeModel,
    Qwen2_5_VLGazeVisionTransformer,
)
from llamafactory_gaze.modeling.registration import register_auto_classes


register_auto_classes()

__all__ = [
    "Qwen2_5_VLGazeConfig",
    "Qwen2_5_VLGazeForConditionalGeneration",
    "Qwen2_5_VLGazeModel",
    "Qwen2_5_VLGazeVisionConfig",
    "Qwen2_5_VLGazeVisionTransformer",
]
