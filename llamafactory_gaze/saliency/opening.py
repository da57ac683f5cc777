"""Image files from anywhere, opened so that they can start no program and a pipe cannot hold everything up."""

from __future__ import annotations

import os
from functools import cache
from io import BytesIO

from PIL import Image

from llamafactory_gaze.data.places import require_file


ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".pgm")  # of what is looked for in folders
_STARTS_A_PROGRAM = {"EPS"}  # PIL hands PostScript to Ghostscript


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in Image.ID if name not in _STARTS_A_PROGRAM)


def depth_problem(mode: str) -> str | None:
    """What is wrong with an image that the model is to see, by its PIL mode; None if it has 8 bits or fewer."""
    if mode.startswith("I") or mode == "F":
        return (
            f"has more than 8 bits (mode {mode}), of which LLaMA-Factory would cut off all that is brighter than 255; "
            "save it with 8 bits."
        )
    return None


def open_picture(source: str | os.PathLike[str] | bytes) -> Image.Image:
    """An image of a path or of the bytes of an image file, opened lazily as by `Image.open`, for a `with` statement.

    Raises:
        Exception: of nearly any class, as `Image.open`; also for PostScript, and for what is no regular file.
    """
    if isinstance(source, bytes):
        return Image.open(BytesIO(source), formats=_formats())
    require_file(source)
    return Image.open(source, formats=_formats())
