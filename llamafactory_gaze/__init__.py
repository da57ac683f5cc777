"""llamafactory-gaze: a vision-language model that sees where people look, as a plug-in for LLaMA-Factory.

The names below are loaded when they are first used: every process that imports torch imports this package (see
`autoload.py`), and must not pay for transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from llamafactory_gaze.autoload import await_transformers


if TYPE_CHECKING:
    from llamafactory_gaze.data.maps.heatmaps import fixation_heatmap
    from llamafactory_gaze.inference import caption, gaze_inputs, load_model
    from llamafactory_gaze.modeling import (
        Qwen2_5_VLGazeConfig,
        Qwen2_5_VLGazeForConditionalGeneration,
        Qwen2_5_VLGazeProcessor,
    )
    from llamafactory_gaze.saliency.maps import read_saliency_map

__version__ = "0.1.0"

_EXPORTS = {
    "Qwen2_5_VLGazeConfig": "llamafactory_gaze.modeling",
    "Qwen2_5_VLGazeForConditionalGeneration": "llamafactory_gaze.modeling",
    "Qwen2_5_VLGazeProcessor": "llamafactory_gaze.modeling",
    "caption": "llamafactory_gaze.inference",
    "fixation_heatmap": "llamafactory_gaze.data.maps.heatmaps",
    "gaze_inputs": "llamafactory_gaze.inference",
    "load_model": "llamafactory_gaze.inference",
    "read_saliency_map": "llamafactory_gaze.saliency.maps",
}

__all__ = [
    "Qwen2_5_VLGazeConfig",
    "Qwen2_5_VLGazeForConditionalGeneration",
    "Qwen2_5_VLGazeProcessor",
    "caption",
    "fixation_heatmap",
    "gaze_inputs",
    "load_model",
    "read_saliency_map",
]

await_transformers()


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
