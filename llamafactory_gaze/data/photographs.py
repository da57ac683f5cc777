"""The photographs that a table names: their sizes, after the checks that are costly to make up for later."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from PIL import ExifTags, Image

from llamafactory_gaze.data.maps.geometry import Size
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.saliency.opening import depth_problem, open_picture


Found = TypeVar("Found")


def photograph_size(folder: Path, image: str, where: str, decode: bool) -> Size:
    """(width, height) of an image.

    Args:
        where: file and line that name the image, for a message.
        decode: also read all its pixels, as a training will: a truncated file does not show in its header.

    Raises:
        DataError: missing, unreadable, stored turned, or of more than 8 bits.
    """

    def size(opened: Image.Image) -> Size:
        if decode:
            opened.load()
        return opened.size

    return _of(folder, image, where, size)


def read_photograph(folder: Path, image: str, where: str) -> Image.Image:
    """An image, RGB; arguments and errors as of `photograph_size`."""
    return _of(folder, image, where, lambda opened: opened.convert("RGB"))


def _of(folder: Path, image: str, where: str, find: Callable[[Image.Image], Found]) -> Found:
    """What is found in an image that can be used."""
    path = folder / image
    if not path.is_file():
        raise DataError(f"{where}: the image {image} is not in {folder}.")
    try:
        with open_picture(path) as opened:
            mode = opened.mode
            orientation = opened.getexif().get(ExifTags.Base.Orientation, 1)
            found = find(opened)
    except Exception as error:  # PIL's decoders raise nearly anything on a damaged file
        raise DataError(f"{where}: the image {path} cannot be decoded ({type(error).__name__}: {error}).") from error
    if orientation != 1:
        # LLaMA-Factory takes the pixels as they are stored, an image viewer turns them: which did the participants see?
        raise DataError(
            f"{where}: the image {path} is stored turned (EXIF orientation {orientation}), so the place of its "
            "fixations is ambiguous; save it the way that the participants saw it, without that tag."
        )
    if problem := depth_problem(mode):
        raise DataError(f"{where}: the image {path} {problem}")
    return found
