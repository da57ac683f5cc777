"""The contact sheet of a data set: images with their maps laid over and what was said, so that a person can look."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from llamafactory_gaze.data.maps.options import MapsOf
from llamafactory_gaze.saliency.label import map_source
from llamafactory_gaze.saliency.maps import overlay, read_saliency_map


Sample = tuple[Mapping[str, Any], str]  # a row of the data set and the word for its split

_WHOSE: dict[MapsOf, str] = {
    "image": "map of the image",
    "participant": "own map",
    "leave-one-out": "map of all others",
    "trial": "own map of the trial",
}
_COLUMNS = 3
# In pixels: of a cell, the height of its picture, the height of its text, around all.
_WIDTH, _PICTURE, _TEXT, _MARGIN = 420, 315, 120, 12


def contact_sheet(rows: Mapping[str, Sequence[Mapping[str, Any]]], media_dir: Path, of: MapsOf) -> Image.Image:
    """Draw up to four training and two test samples, from as many categories as there are.

    Args:
        rows: split -> rows as `build` makes them; their paths are resolved against `media_dir`.
        of: what a map is of; where each participant has one, two of them are shown of one image, side by side.
    """
    per_image = 1 if of == "image" else 2
    training = _choose([(row, "training") for row in rows["stage2"]], 4, per_image)
    chosen = training + _choose([(row, "test") for row in rows["test"]], 2, per_image)
    lines = -(-len(chosen) // _COLUMNS)
    size = (_COLUMNS * (_WIDTH + _MARGIN) + _MARGIN, lines * (_PICTURE + _TEXT + _MARGIN) + _MARGIN)
    sheet = Image.new("RGB", size, "white")
    for i, (row, split) in enumerate(chosen):
        line, column = divmod(i, _COLUMNS)
        corner = (_MARGIN + column * (_WIDTH + _MARGIN), _MARGIN + line * (_PICTURE + _TEXT + _MARGIN))
        sheet.paste(_cell(row, split, _WHOSE[of], media_dir), corner)
    return sheet


def _choose(samples: Sequence[Sample], number: int, per_image: int) -> list[Sample]:
    """Take images from each category in turn, and `per_image` samples of each, until there are `number`."""
    categories: dict[str, dict[str, list[Sample]]] = {}
    for row, split in samples:
        categories.setdefault(row.get("category", ""), {}).setdefault(row["image_id"], []).append((row, split))
    turns = zip_longest(*(images.values() for images in categories.values()))
    groups = [group[:per_image] for group in chain.from_iterable(turns) if group]
    return list(chain.from_iterable(groups))[:number]


def _cell(row: Mapping[str, Any], split: str, whose: str, media_dir: Path) -> Image.Image:
    saliency = media_dir / row["saliencies"][0]
    with Image.open(media_dir / row["images"][0]) as image:
        picture = overlay(image, read_saliency_map(saliency))
    picture.thumbnail((_WIDTH, _PICTURE), Image.Resampling.BICUBIC)
    cell = Image.new("RGB", (_WIDTH, _PICTURE + _TEXT), "white")
    cell.paste(picture, ((_WIDTH - picture.width) // 2, (_PICTURE - picture.height) // 2))
    draw = ImageDraw.Draw(cell)
    title = ", ".join(
        filter(None, (f"image {row['image_id']}", row.get("category"), split, map_source(saliency) or whose))
    )
    draw.text((0, _PICTURE + 6), title, "black", ImageFont.load_default(14))
    said = textwrap.fill(
        f"{row['participant']}: {row['conversations'][1]['value']}", width=62, max_lines=5, placeholder=" ..."
    )
    draw.multiline_text((0, _PICTURE + 26), said, (70, 70, 70), ImageFont.load_default(13))
    return cell
