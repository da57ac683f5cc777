"""Maps that tell nothing of an image: the controls `gaze_ablation: uniform` and `center`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


# Covariance of fixations on photographs, in half-widths of the image (Clarke & Tatler, Vision Research 2014).
_VARIANCE, _VERTICAL = 0.22, 0.45


def uniform(saliency: np.ndarray) -> np.ndarray:
    """The map's own mean everywhere: as much gaze, and no place. (H, W) in [0, 1] -> the same shape."""
    return np.full_like(saliency, saliency.mean())


def center(saliency: np.ndarray) -> np.ndarray:
    """The bias of human fixations to the middle of a picture, with the map's own maximum. (H, W) -> the same shape."""
    height, width = saliency.shape
    x = (np.arange(width) + 0.5) / width * 2 - 1
    y = ((np.arange(height) + 0.5) / height * 2 - 1) * height / width
    bias = np.exp(-(x**2) / (2 * _VARIANCE)) * np.exp(-(y[:, None] ** 2) / (2 * _VARIANCE * _VERTICAL))
    return (bias / bias.max() * saliency.max()).astype(saliency.dtype)


CONTROLS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"uniform": uniform, "center": center}
