"""Saliency-map files: the paper's M_sal (appendix A.3.1), a grey value per pixel for how long people looked there.

A map is an 8- or 16-bit greyscale image file of any size with the aspect ratio of its image. Everything else is refused
with one sentence: a colour picture of a heatmap, for instance, would be read as if its colours were gaze.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

from llamafactory_gaze.data.places import brief
from llamafactory_gaze.saliency.opening import open_picture


MapSource = str | os.PathLike[str] | bytes | Mapping[str, Any] | Image.Image

MAX_MAP_PIXELS = 2**26  # 8192 x 8192; a map carries no detail that would need more, a decompression bomb does

_WHITE = {"L": 255.0, "I;16": 65535.0, "I;16B": 65535.0, "I": 65535.0}  # PIL mode -> value of "all gaze"
_OTHER_MODES = {
    "1": "a 1-bit black-and-white image",
    "P": "an image with a colour palette",
    "PA": "an image with a colour palette and alpha",
    "LA": "a greyscale image with an alpha channel",
    "La": "a greyscale image with an alpha channel",
    "RGB": "an RGB colour image",
    "RGBA": "an RGB colour image with an alpha channel",
    "F": "an image of floating-point numbers",
}
_EXPECTED = "expected one greyscale image of 8 or 16 bits"


class SaliencyMapError(ValueError):
    """A saliency map cannot be used as it is; the message names it, the fault, what is expected, what to do."""


def read_saliency_map(source: MapSource) -> np.ndarray:
    """Read one saliency map.

    Args:
        source: a path, the bytes of an image file, a `{"bytes": ..., "path": ...}` mapping as `datasets` stores images
            (the bytes win), or an image that PIL has opened.

    Returns:
        (H, W) float32 in [0, 1]; 1 is white (255 of an 8-bit file, 65535 of a 16-bit one), whatever the maximum.

    Raises:
        SaliencyMapError: unreadable, broken, too large, or not 8- or 16-bit greyscale.
    """
    with open_map(source) as (image, name):
        _check_header(image, name)
        values = np.asarray(image)
        # PIL holds 16-bit PGM and signed 16-bit TIFF as 32-bit integers: only values tell them from true 32-bit files.
        if image.mode == "I" and (values.min() < 0 or values.max() > 65535):
            raise SaliencyMapError(
                f"Saliency map {name} has values from {values.min()} to {values.max()}; {_EXPECTED} (0 to 65535); "
                "scale the values and save a 16-bit PNG."
            )
        return values.astype(np.float32) / np.float32(_WHITE[image.mode])


def probe_saliency_map(source: MapSource) -> tuple[int, int]:
    """Check the header of a saliency map without decoding its pixels, and return its size (width, height) in pixels.

    Raises:
        SaliencyMapError: as `read_saliency_map`, but for faults that only the pixel data show (a truncated file).
    """
    with open_map(source) as (image, name):
        _check_header(image, name)
        return image.size


def check_aspect_ratio(
    map_size: tuple[int, int],
    image_size: tuple[int, int],
    map_name: str = "saliency map",
    image_name: str = "its image",
) -> None:
    """Check that a map shows the whole of its image: equal aspect ratio within one pixel in the map's own size.

    A small map rounds its sides, so 133x100 stands for an 800x600 image. Sizes are (width, height) in pixels.

    Raises:
        SaliencyMapError: the map belongs to an image of another shape (a crop, a screenshot, width and height swapped).
    """
    (map_width, map_height), (width, height) = map_size, image_size
    if abs(map_height - map_width * height / width) <= 1 or abs(map_width - map_height * width / height) <= 1:
        return
    raise SaliencyMapError(
        f"The size of {map_name}, {map_width}x{map_height}, does not have the aspect ratio of {image_name}, "
        f"{width}x{height}: for a width of {map_width} pixels a height of {map_width * height / width:.0f} is expected "
        "(within one pixel); make the map from the whole image, neither cropped nor padded."
    )


def check_values(saliency: np.ndarray) -> None:
    """Check that an array is a map: (H, W) in [0, 1].

    Raises:
        ValueError: it is not two-dimensional, or leaves [0, 1].
    """
    if saliency.ndim != 2:
        raise ValueError(f"A saliency map has two dimensions (height, width), found the shape {saliency.shape}.")
    if not (saliency.min() >= 0 and saliency.max() <= 1):  # said this way round, NaN is refused too
        raise ValueError(f"A saliency map has values in [0, 1], found {saliency.min()} to {saliency.max()}.")


def resize_map(saliency: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resample a map (H, W) in [0, 1] to `size` (width, height): bilinear, antialiased, still in [0, 1]."""
    if saliency.shape == (size[1], size[0]):
        return saliency.astype(np.float32)
    resized = Image.fromarray(np.ascontiguousarray(saliency, dtype=np.float32)).resize(size, Image.Resampling.BILINEAR)
    return np.clip(np.asarray(resized), 0.0, 1.0)  # the weights of the filter add up to 1 but for rounding


def overlay(image: Image.Image, saliency: np.ndarray, alpha: float = 0.7) -> Image.Image:
    """Lay a map over its image in heat colours (blue, green, yellow, red); where nobody looked, the image stays as is.

    Args:
        image: any mode.
        saliency: (H, W) in [0, 1], any size; it is stretched over the whole image.
        alpha: opacity of the colour where the map is 1, in [0, 1].

    Returns:
        an RGB image of the size of `image`.
    """
    heat = resize_map(saliency, image.size)
    stops = (0.0, 0.33, 0.66, 1.0)
    red, green, blue = (0, 0, 255, 255), (0, 200, 220, 0), (255, 80, 0, 0)
    colour = np.stack([np.interp(heat, stops, channel) for channel in (red, green, blue)], axis=-1)
    # The opacity rises quickly, so that the weak parts of a map can be seen at all.
    opacity = alpha * np.sqrt(heat)[..., None]
    blended = np.asarray(image.convert("RGB")) * (1 - opacity) + colour * opacity
    return Image.fromarray(blended.round().astype(np.uint8))


@contextmanager
def open_map(source: MapSource) -> Iterator[tuple[Image.Image, str]]:
    """Open an image file lazily, yield it with its name in messages, and turn every fault of decoding into ours."""
    content, name = _content_and_name(source)
    try:
        if isinstance(content, Image.Image):
            yield content, name  # left open: it belongs to the caller
        else:
            with open_picture(content) as image:
                yield image, name
    except SaliencyMapError:
        raise
    except FileNotFoundError as error:
        raise SaliencyMapError(
            f"Saliency map {name} does not exist; expected the path of an image file; correct the path, or write "
            "null for an image without a map."
        ) from error
    except Image.DecompressionBombError as error:
        raise SaliencyMapError(_too_large(name, "far too many")) from error
    # The decoders of PIL raise nearly anything on a damaged file: SyntaxError, EOFError, struct.error, zlib.error, ...
    except Exception as error:
        raise SaliencyMapError(
            f"Saliency map {name} cannot be decoded ({type(error).__name__}: {brief(error)}); {_EXPECTED}; write "
            "the file again, or write null for an image without a map."
        ) from error


def _content_and_name(source: MapSource) -> tuple[str | os.PathLike[str] | bytes | Image.Image, str]:
    content: Any = source
    path: Any = None
    if isinstance(source, Mapping):
        content, path = source.get("bytes"), source.get("path")
        if content is None:
            content = path
    if isinstance(content, bytes):
        return content, brief(path) if path else f"(embedded, {len(content)} bytes)"
    if isinstance(content, (str, os.PathLike)):
        return content, brief(os.fspath(content))
    if isinstance(content, Image.Image):
        return content, getattr(content, "filename", "") or "(an image in memory)"
    raise SaliencyMapError(
        f"A saliency map cannot be read from {source!r:.80}; expected a path, the bytes of an image file, or a mapping "
        "with one of them under 'path' or 'bytes'; write null for an image without a map."
    )


def _check_header(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise SaliencyMapError(f"Saliency map {name} has no pixels ({width}x{height}); {_EXPECTED}; write it again.")
    if width * height > MAX_MAP_PIXELS:
        raise SaliencyMapError(_too_large(name, f"{width}x{height}"))
    found = None if image.mode in _WHITE else _OTHER_MODES.get(image.mode, f"an image of PIL mode {image.mode}")
    if found is None and "transparency" in image.info:
        found = "a greyscale image with a transparent colour"
    if found is None and getattr(image, "n_frames", 1) != 1:
        found = f"a file of {getattr(image, 'n_frames', 1)} images"
    if found is not None:
        raise SaliencyMapError(
            f"Saliency map {name} is {found}; {_EXPECTED}; save the map itself (not a coloured picture of it) as a "
            "greyscale PNG."
        )


def _too_large(name: str, found: str) -> str:
    return (
        f"Saliency map {name} has {found} pixels; expected at most {MAX_MAP_PIXELS}; save it smaller, any size with "
        "the aspect ratio of its image will do."
    )
