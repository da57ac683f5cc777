"""The gaze model, and what its captions are compared with: itself without gaze, or another model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import AutoConfig

from llamafactory_gaze.inference import Source, load_model, load_stock_model


_CACHED_IMAGES = 4  # one picture is looked at again and again


@dataclass(frozen=True)
class Loaded:
    """A model that is ready to speak, and where it came from."""

    source: str
    adapters: tuple[str, ...]
    model: Any
    processor: Any

    @property
    def name(self) -> str:
        """The model and its adapters in one line."""
        return " + ".join([self.source, *self.adapters])

    @property
    def settings(self) -> dict[str, Any]:
        """The gaze settings; empty for a stock model."""
        tower = self.model.config.vision_config
        return tower.gaze_settings() if hasattr(tower, "gaze_settings") else {}

    @property
    def weights(self) -> str:
        """Number format and device, for instance "bfloat16 on cuda:0"."""
        return f"{str(self.model.dtype).removeprefix('torch.')} on {self.model.device}"


@dataclass(frozen=True)
class Models:
    """Who speaks.

    Attributes:
        gaze: gets the map.
        baseline: gets none; None means that the gaze model speaks once more, without a map.
        max_pixels: a larger picture is scaled down for both.
    """

    gaze: Loaded
    baseline: Loaded | None
    max_pixels: int

    @property
    def without_gaze(self) -> Loaded:
        """Who describes the picture alone."""
        return self.baseline or self.gaze


def load_models(
    model: Source,
    adapters: Sequence[Source] = (),
    baseline: Source | None = None,
    baseline_adapters: Sequence[Source] = (),
    max_pixels: int | None = None,
) -> Models:
    """Load the gaze model and, where one is named, the baseline.

    Args:
        max_pixels: default: the gaze model's own `image_max_pixels`.

    Raises:
        InferenceError: as `inference.load_model`; but a baseline may be a stock Qwen2.5-VL.
    """
    gaze = _loaded(model, adapters, load_model(model, adapters))
    gaze.model.cache_images(_CACHED_IMAGES)
    max_pixels = max_pixels or gaze.processor.image_max_pixels
    if baseline is None:
        return Models(gaze, None, max_pixels)
    stock = not baseline_adapters and _is_stock(baseline)
    found = load_stock_model(baseline) if stock else load_model(baseline, baseline_adapters)
    return Models(gaze, _loaded(baseline, baseline_adapters, found), max_pixels)


def _loaded(source: Source, adapters: Sequence[Source], found: tuple[Any, Any]) -> Loaded:
    return Loaded(os.fspath(source), tuple(os.fspath(adapter) for adapter in adapters), *found)


def _is_stock(source: Source) -> bool:
    try:
        return AutoConfig.from_pretrained(source).model_type == "qwen2_5_vl"
    except (OSError, ValueError):
        return False  # `load_model` says what is wrong
