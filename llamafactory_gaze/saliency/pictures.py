"""Gaze drawn into the picture, for a model that takes in nothing but pictures: `gaze_fusion` overlay, dim and crop.

The tower and its weights stay as they are. What these ways lose: colours (overlay), what was not looked at (dim, crop),
the place in the scene (crop).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy.ndimage import uniform_filter

from llamafactory_gaze.saliency.maps import overlay, resize_map


DARKEST = 0.15  # what is left of the brightness where nobody looked
CROP_SIDE = 0.5  # side of the crop as a part of the image's


def draw_overlay(image: Image.Image, saliency: np.ndarray) -> Image.Image:
    """The map in heat colours over the image. A black map leaves the image as it is.

    Args:
        image: any mode.
        saliency: (H, W) in [0, 1], any size; it is stretched over the whole image.
    """
    return overlay(image, saliency)


def dim_unseen(image: Image.Image, saliency: np.ndarray) -> Image.Image:
    """The image times (DARKEST + (1 - DARKEST) * map), pixel by pixel. A white map leaves the image as it is.

    Arguments as for `draw_overlay`.
    """
    light = DARKEST + (1 - DARKEST) * resize_map(saliency, image.size)[..., None]
    return Image.fromarray((np.asarray(image.convert("RGB")) * light).round().astype(np.uint8))


def crop_to_gaze(image: Image.Image, saliency: np.ndarray) -> Image.Image:
    """The part of the image that holds most of the map, half its width and height.

    After GazeLLM (Rekimoto, 2025), which crops a video around the point of gaze; here the window is the one with the
    largest sum of the map, the one nearest to the middle of the image where several are equal. Arguments as for
    `draw_overlay`.
    """
    heat = resize_map(saliency, image.size)
    height, width = (max(1, round(side * CROP_SIDE)) for side in heat.shape)
    # Sums of all windows; entry (y, x) of `sums` belongs to the window whose upper left corner is (y, x).
    means = uniform_filter(heat.astype(np.float64), size=(height, width), mode="constant")
    sums = means[height // 2 :, width // 2 :][: heat.shape[0] - height + 1, : heat.shape[1] - width + 1]
    ys, xs = np.nonzero(sums >= sums.max() - 1e-9)
    nearest = np.hypot(ys - (sums.shape[0] - 1) / 2, xs - (sums.shape[1] - 1) / 2).argmin()
    left, top = int(xs[nearest]), int(ys[nearest])
    return image.crop((left, top, left + width, top + height))


PICTURES: dict[str, Callable[[Image.Image, np.ndarray], Image.Image]] = {
    "overlay": draw_overlay,
    "dim": dim_unseen,
    "crop": crop_to_gaze,
}
