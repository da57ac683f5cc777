"""An image together with where people looked in it: two files, or one PNG whose alpha channel is the saliency map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PIL import Image


@dataclass(frozen=True)
class GazedImage:
    """Attributes:
    image: in any form that whoever takes it can open.
    saliency: its map, in any form that `read_saliency_map` takes, or an array (H, W) in [0, 1]; None without a map.
    """

    image: Any
    saliency: Any = None


def gaze_in_alpha(image: Image.Image) -> GazedImage:
    """Take the alpha channel of an image as its saliency map: transparent is 0, nobody looked; opaque is 1.

    An image without transparency, or opaque everywhere as many programs save all their pictures, has no map. The
    colours below transparent pixels count: write such files with software that keeps them, as PIL does and browsers
    do not.

    Args:
        image: any mode; alpha of 8 bits.

    Returns:
        the image in RGB, and its map as a greyscale image of the same size, or None.
    """
    if "A" not in image.getbands() and "transparency" not in image.info:
        return GazedImage(image.convert("RGB"))
    image = image.convert("RGBA")
    alpha = image.getchannel("A")
    return GazedImage(image.convert("RGB"), None if alpha.getextrema() == (255, 255) else alpha)
