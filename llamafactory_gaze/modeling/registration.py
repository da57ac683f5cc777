"""Tells transformers about the gaze model: the Auto classes, and how old checkpoints' keys are renamed."""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageTextToText,
    AutoProcessor,
)
from transformers.conversion_mapping import get_checkpoint_conversion_mapping, register_checkpoint_conversion_mapping

from llamafactory_gaze.modeling.configuration import Qwen2_5_VLGazeConfig
from llamafactory_gaze.modeling.modeling_qwen2_5_vl_gaze import (
    Qwen2_5_VLGazeForConditionalGeneration,
    Qwen2_5_VLGazeModel,
)
from llamafactory_gaze.modeling.processing_qwen2_5_vl_gaze import Qwen2_5_VLGazeProcessor


def register_auto_classes() -> None:
    """Makes `AutoConfig`, `AutoModel`, `AutoModelForImageTextToText` and `AutoProcessor` know the gaze model.

    Safe to call twice. Checkpoints on the Hub have the old key layout (`visual.*`, `model.layers.*`); transformers
    renames keys by model type, so ours takes over the stock model's renaming.

    Raises:
        RuntimeError: transformers holds no renaming for Qwen2.5-VL, so its checkpoints would load with random weights.
    """
    renaming = get_checkpoint_conversion_mapping("qwen2_5_vl")
    if renaming is None:
        import transformers

        raise RuntimeError(
            f"transformers {transformers.__version__} holds no checkpoint renaming for 'qwen2_5_vl' "
            "(expected in transformers/conversion_mapping.py): Qwen2.5-VL checkpoints would not load."
        )
    register_checkpoint_conversion_mapping(Qwen2_5_VLGazeConfig.model_type, renaming, overwrite=True)
    AutoConfig.register(Qwen2_5_VLGazeConfig.model_type, Qwen2_5_VLGazeConfig, exist_ok=True)
    AutoModel.register(Qwen2_5_VLGazeConfig, Qwen2_5_VLGazeModel, exist_ok=True)
    AutoModelForImageTextToText.register(Qwen2_5_VLGazeConfig, Qwen2_5_VLGazeForConditionalGeneration, exist_ok=True)
    AutoProcessor.register(Qwen2_5_VLGazeConfig, Qwen2_5_VLGazeProcessor, exist_ok=True)
