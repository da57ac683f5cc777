"""Lets transformers' Auto classes find the gaze model without importing it before somebody asks for it.

`AutoConfig` keeps a table of names and imports a model's module on first use. The gaze model is put into this table,
with this package as its module, whose names are themselves loaded on first use. `AutoProcessor` looks among the
registered processors for the name that stands in a model's folder; there it finds a stand-in, which loads the real one.
Either first use registers all Auto classes (`modeling/registration.py`).
"""

import warnings
from collections.abc import Callable
from importlib.metadata import version
from types import ModuleType
from typing import Any

from wrapt import register_post_import_hook

import llamafactory_gaze


MODEL_TYPE = "qwen2_5_vl_gaze"


class _LazyProcessor:
    """Stands for `Qwen2_5_VLGazeProcessor`."""

    @staticmethod
    def from_pretrained(*args: Any, **kwargs: Any) -> Any:
        return llamafactory_gaze.Qwen2_5_VLGazeProcessor.from_pretrained(*args, **kwargs)


_LazyProcessor.__name__ = "Qwen2_5_VLGazeProcessor"


def await_auto_classes() -> None:
    """Waits for transformers to import its tables of models and processors."""
    register_post_import_hook(_configuration, "transformers.models.auto.configuration_auto")
    register_post_import_hook(_processor, "transformers.models.auto.processing_auto")


def _or_warn(add: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
    def hook(module: ModuleType) -> None:
        try:
            add(module)
        except (AttributeError, TypeError) as error:  # raised, it would break the import of transformers
            warnings.warn(
                "llamafactory-gaze expects the Auto classes of transformers 5.5; those of version "
                f"{version('transformers')} are others ({error}). Import llamafactory_gaze.modeling before you load a "
                "gaze model.",
                stacklevel=2,
            )

    return hook


@_or_warn
def _configuration(module: ModuleType) -> None:
    table = module.CONFIG_MAPPING
    # A copy: the table's dictionary is also CONFIG_MAPPING_NAMES, of which transformers expects to know every entry.
    table._mapping = {**table._mapping, MODEL_TYPE: "Qwen2_5_VLGazeConfig"}
    table._modules[MODEL_TYPE] = llamafactory_gaze


@_or_warn
def _processor(module: ModuleType) -> None:
    module.PROCESSOR_MAPPING._extra_content[_LazyProcessor] = _LazyProcessor
