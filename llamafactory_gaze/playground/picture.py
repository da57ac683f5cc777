"""The picture that somebody uploads, and the size in which the page shows it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from llamafactory_gaze.demo.scenes import CATEGORIES, make_scene


MAX_PICTURE_PIXELS = 2**26  # 8192 x 8192: no camera makes more, a decompression bomb does
LEAST_SIDE = 28  # pixels, one visual token of Qwen2.5-VL
LARGEST_RATIO = 100  # of the sides; the processor of Qwen2.5-VL refuses 200
SHOWN_SIDE = 720  # longer side in the page, also of a smaller picture, so that one can paint on it


class PlaygroundError(ValueError):
    """Something cannot be used as it is; one sentence for the page says what, why, and what to do."""


@dataclass(frozen=True)
class Picture:
    """A picture, RGB and upright, and the name of its file."""

    name: str
    image: Image.Image

    @cached_property
    def shown(self) -> Image.Image:
        """The picture with a longer side of `SHOWN_SIDE` pixels."""
        scale = SHOWN_SIDE / max(self.image.size)
        size = (max(1, round(self.image.width * scale)), max(1, round(self.image.height * scale)))
        return self.image.resize(size, Image.Resampling.LANCZOS)


def read_picture(path: Path) -> Picture:
    """Read a picture, turned upright as its camera has noted.

    Raises:
        PlaygroundError: no picture, damaged, or of a size that the model cannot take; the size is read before the
            pixels are.
    """
    try:
        with Image.open(path) as opened:
            _check_size(path.name, *opened.size)
            image = ImageOps.exif_transpose(opened).convert("RGB")
    except PlaygroundError:
        raise
    except Image.DecompressionBombError as error:
        raise PlaygroundError(_too_large(path.name, "far too many")) from error
    # PIL raises nearly anything on a damaged file: OSError, SyntaxError, ValueError, ...
    except Exception as error:
        raise PlaygroundError(
            f"{path.name} cannot be read as a picture ({type(error).__name__}): choose a PNG, JPEG or WebP file."
        ) from error
    return Picture(path.name, image)


def draw_example(seed: int | None = None) -> Picture:
    """A SIMULATED picture of the demo, of any of its categories."""
    rng = np.random.default_rng(seed)
    return Picture("simulated scene", make_scene(str(rng.choice(CATEGORIES)), rng).image)


def _check_size(name: str, width: int, height: int) -> None:
    if width * height > MAX_PICTURE_PIXELS:
        raise PlaygroundError(_too_large(name, f"{width}x{height}"))
    if min(width, height) < LEAST_SIDE or max(width, height) > LARGEST_RATIO * min(width, height):
        raise PlaygroundError(
            f"{name} has {width}x{height} pixels: each side needs at least {LEAST_SIDE}, and the longer one at most "
            f"{LARGEST_RATIO} times the shorter one."
        )


def _too_large(name: str, found: str) -> str:
    return (
        f"{name} has {found} pixels, more than {MAX_PICTURE_PIXELS}: choose a smaller one, the model scales it down "
        "in any case."
    )
