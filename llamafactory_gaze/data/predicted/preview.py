"""A sheet of photographs with their maps laid over, so that a person can look."""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from llamafactory_gaze.data.folders import remove_partial_files
from llamafactory_gaze.data.predicted.photograph import Photograph
from llamafactory_gaze.data.registry import write_atomically
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.saliency.label import KEYWORD
from llamafactory_gaze.saliency.maps import overlay, read_saliency_map


MAX_SHOWN = 12
_SHEET = "preview of maps"
# In pixels: of a cell, the height of its text, around all.
_WIDTH, _HEIGHT, _TEXT, _MARGIN = 420, 315, 24, 12


def check_preview(file: Path, output: Path) -> None:
    """Raise `DataError` for a file that is no sheet of ours, and one among the maps, which would be taken for a map."""
    if file.suffix.lower() != ".png":
        raise DataError(f"--preview is {file}; expected a file that ends in .png.")
    if file.resolve().is_relative_to(output.resolve()):
        raise DataError(f"--preview {file} lies among the maps, where it would be taken for one; name another place.")
    if not file.exists():
        return
    try:
        with Image.open(file) as image:
            ours = json.loads(image.info[KEYWORD])["source"] == _SHEET
    except Exception:  # no picture, damaged, or of somebody else
        ours = False
    if not ours:
        raise DataError(f"--preview {file} is there, and is no preview of this command; name another file.")


def draw_preview(file: Path, photographs: Sequence[Photograph], output: Path, source: str) -> None:
    """Write the first photographs with their maps, at most `MAX_SHOWN`, and the words for their source."""
    shown = photographs[:MAX_SHOWN]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    size = (columns * (_WIDTH + _MARGIN) + _MARGIN, rows * (_HEIGHT + _TEXT + _MARGIN) + _MARGIN)
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for number, photograph in enumerate(shown):
        row, column = divmod(number, columns)
        left, top = _MARGIN + column * (_WIDTH + _MARGIN), _MARGIN + row * (_HEIGHT + _TEXT + _MARGIN)
        picture = overlay(photograph.read(), read_saliency_map(output / photograph.map_name))
        picture.thumbnail((_WIDTH, _HEIGHT), Image.Resampling.BICUBIC)
        sheet.paste(picture, (left + (_WIDTH - picture.width) // 2, top + (_HEIGHT - picture.height) // 2))
        draw.text((left, top + _HEIGHT + 4), f"{photograph.name}: {source}", "black", font)
    texts = PngInfo()
    texts.add_itxt(KEYWORD, json.dumps({"source": _SHEET}))
    buffer = BytesIO()
    sheet.save(buffer, "PNG", pnginfo=texts)
    file.parent.mkdir(parents=True, exist_ok=True)
    remove_partial_files(file.parent, file.name)
    write_atomically(file, buffer.getvalue())
