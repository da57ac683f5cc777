"""Fixations to a saliency map (paper, section 3.1: "heatmaps of aggregated human gaze patterns"), and its PNG file."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image


def fixation_heatmap(
    x: np.ndarray, y: np.ndarray, weight: np.ndarray, size: tuple[int, int], sigma_px: float
) -> np.ndarray:
    """Sum one Gaussian per fixation and scale the sum so that its maximum is 1.

    A two-dimensional Gaussian is the product of one along x and one along y, so the sum over all fixations is a product
    of two small matrices. It is exact at every width, between pixels and at the borders (what falls outside is lost),
    and for the numbers of fixations that people make it is faster than filtering an image.

    Args:
        x, y: (n,) positions in pixels; (0, 0) is the centre of the top left pixel.
        weight: (n,) not negative, for example durations, or ones.
        size: (width, height) of the map.
        sigma_px: standard deviation of the Gaussian in pixels, at least 1.

    Returns:
        (height, width) float32 in [0, 1].

    Raises:
        ValueError: no fixation has a weight, or sigma_px is below 1.
    """
    if not sigma_px >= 1:
        raise ValueError(f"sigma_px is {sigma_px}; expected at least 1 pixel.")
    if not np.sum(weight) > 0:
        raise ValueError("A heatmap needs at least one fixation with a weight above 0.")
    width, height = size
    along_x = np.exp(-0.5 * ((np.arange(width) - np.asarray(x)[:, None]) / sigma_px) ** 2)
    along_y = np.exp(-0.5 * ((np.arange(height) - np.asarray(y)[:, None]) / sigma_px) ** 2)
    heatmap = (along_y * np.asarray(weight)[:, None]).T @ along_x
    return (heatmap / heatmap.max()).astype(np.float32)


def encode_map(saliency: np.ndarray) -> bytes:
    """The bytes of a 16-bit greyscale PNG of a map (H, W) in [0, 1]; equal maps give equal bytes."""
    buffer = BytesIO()
    values = np.round(np.float64(saliency) * 65535).astype(np.uint16)
    # The low bytes of a smooth 16-bit map hardly compress: level 6 takes more than twice as long and saves 3%.
    Image.fromarray(values).save(buffer, "PNG", compress_level=2)
    return buffer.getvalue()
