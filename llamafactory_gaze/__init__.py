"""llamafactory-gaze: a vision-language model that sees where people look, as a plug-in for LLaMA-Factory.

The names below are loaded when they are first used: every process that imports torch imports this package (see
`autoload.py`), and must not pay for transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from llamafactory_gaze.modeling import Qwen2_5_VLGazeConfig, Qwen2_5_VLGazeForConditionalGeneration
    from llamafactory_gaze.saliency.maps import read_saliency_map

__version__ = "0.1.0"

_EXPORTS = {
    "Qwen2_5_VLGazeConfig": "llamafactory_gaze.modeling",
    "Qwen2_5_VLGazeForConditionalGeneration": "llamafactory_gaze.modeling",
    "read_saliency_map": "llamafactory_gaze.saliency.maps",
}

__all__ = ["Qwen2_5_VLGazeConfig", "Qwen2_5_VLGazeForConditionalGeneration", "read_saliency_map"]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
