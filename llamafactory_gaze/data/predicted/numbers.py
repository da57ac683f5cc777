"""A predictor's numbers become a map."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from llamafactory_gaze.data.maps.options import MapOptions
from llamafactory_gaze.data.maps.plan import size_of_map, view_of
from llamafactory_gaze.data.predicted.photograph import Photograph
from llamafactory_gaze.data.predicted.source import NoMap
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.saliency.maps import SaliencyMapError, check_aspect_ratio, resize_map


def map_of_numbers(
    numbers: Any, photograph: Photograph, longest_side: int | None, sigma_px: float | None, whose: str
) -> np.ndarray:
    """Check a predictor's numbers, bring them to the size of the map, smooth them, and scale them to the maximum 1.

    Args:
        numbers: (H, W), not negative, with the aspect ratio of the photograph, any scale.
        sigma_px: standard deviation in pixels of the photograph of the Gaussian that smooths; None: none.
        whose: names the predictor in messages.

    Returns:
        (height, width) float32 in [0, 1].

    Raises:
        NoMap: the numbers are the same everywhere.
        DataError: no such numbers.
    """
    where = f"{whose} gave for the image {photograph.path}"
    try:
        values = np.asarray(numbers)
        if values.dtype.kind not in "biuf":
            raise TypeError(f"it has the type {values.dtype}")
    except Exception as error:  # `__array__` of whatever a predictor returns, for instance of a tensor on a GPU
        raise DataError(
            f"{where} what is no array of numbers ({type(error).__name__}: {error}); expected (H, W)."
        ) from error
    if values.ndim != 2 or not values.size:
        raise DataError(f"{where} an array of the shape {values.shape}; expected (H, W), one number per pixel.")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise DataError(f"{where} {int((~np.isfinite(values)).sum())} values that are no finite numbers.")
    if values.min() < 0:
        raise DataError(
            f"{where} values down to {values.min():.3g}; expected 0 or more. Logarithms of a density, for instance, "
            "become a map by their exponential."
        )
    if values.min() == values.max():
        raise NoMap(f"{whose} gave {values.min():.3g} everywhere")
    try:
        check_aspect_ratio(values.shape[::-1], photograph.size, f"what {whose} gave", f"the image {photograph.path}")
    except SaliencyMapError as error:
        raise DataError(str(error)) from error

    size = size_of_map(photograph.name, photograph.size, longest_side)
    saliency = resize_map((values / values.max()).astype(np.float32), size)
    if sigma_px is not None:
        sigma = view_of(
            photograph.name, photograph.size, MapOptions(sigma_px=sigma_px, longest_side=longest_side)
        ).sigma
        saliency = gaussian_filter(saliency, sigma[::-1], mode="nearest")  # no dark rim, as zeros around it would make
    if not saliency.max() > 0:  # a few weak pixels can vanish in a smaller map
        raise NoMap(f"{whose} gave nothing that a map of {size[0]}x{size[1]} pixels shows")
    return saliency / saliency.max()
