"""The examples of the report, after the paper's figure 2: image, gaze, what the person said, what each system said."""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from io import BytesIO
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from PIL import Image

from eval.inputs.dataset import Row
from eval.inputs.joining import Joined
from eval.metrics import HEADLINE
from eval.scoring.column import Column
from llamafactory_gaze.data.places import leaves
from llamafactory_gaze.saliency import SaliencyMapError, overlay, read_saliency_map
from llamafactory_gaze.saliency.opening import open_picture


MAX_SIDE = 640  # pixels of an embedded image; the report shows it at half of that
SMALL_SIDE = 256  # drawings up to this size are embedded without loss

Words = list[tuple[str, bool]]  # runs of words, and whether the other caption lacks them there


@dataclass(frozen=True)
class Example:
    """One example of figure 2.

    Attributes:
        image, heat: data URIs of the image and of the image under its map; None where the file is missing.
        captions: for each system its caption as `mark_differences` splits it: against the reference, the reference
            against the main system.
        gains: for each metric of table 1 that has scores, by how much the main system's caption is better.
        problem: why a picture is missing, else None.
    """

    row: Row
    image: str | None
    heat: str | None
    captions: dict[str, Words]
    gains: dict[str, float]
    problem: str | None


def draw_rows(rows: Sequence[Row], seed: int, count: int) -> list[int]:
    """Draw rows for the examples by chance, without looking at any score.

    All rows are shuffled with the seed; then the categories take turns, in alphabetical order, each giving its next
    row, of an image not shown yet while there is one.

    Returns:
        places in `rows`.
    """
    shuffled = random.Random(seed).sample(range(len(rows)), len(rows))
    piles: dict[str, list[int]] = {}
    for i in shuffled:
        piles.setdefault(rows[i].category or "", []).append(i)
    chosen: list[int] = []
    while len(chosen) < min(count, len(rows)):
        for name in sorted(piles):
            if piles[name] and len(chosen) < count:
                shown = {rows[i].image_id for i in chosen}
                fresh = (place for place, i in enumerate(piles[name]) if rows[i].image_id not in shown)
                chosen.append(piles[name].pop(next(fresh, 0)))
    return chosen


def make_examples(
    joined: Joined, columns: dict[str, Column], places: Iterable[int], media: Path | None
) -> list[Example]:
    """Load the pictures of some rows and compare their captions. A missing file is said in the example, not raised.

    Args:
        places: in `joined.rows`.
        media: folder that paths of images and maps start from; None for no pictures.
    """
    reference, main = joined.reference, joined.compared[0]
    scores = {name: of for name in HEADLINE if (of := columns[name].scores) is not None}
    examples = []
    for i in places:
        row = joined.rows[i]
        said = {name: captions[i] for name, captions in joined.captions.items()}
        marked = {name: mark_differences(said[reference], text)[1] for name, text in said.items() if name != reference}
        marked = {reference: mark_differences(said[reference], said[main])[0], **marked}
        gains = {name: float(of[main][i] - of[reference][i]) for name, of in scores.items()}
        examples.append(Example(row, captions=marked, gains=gains, **_pictures(row, media)))
    return examples


def mark_differences(first: str, second: str) -> tuple[Words, Words]:
    """Split two texts into runs of words, alternately shared and not; case and punctuation make no difference.

    Returns:
        for each text its runs in order, with True where the other text lacks these words at that place.
    """
    words = first.split(), second.split()
    plain = [[re.sub(r"\W", "", word).casefold() for word in side] for side in words]
    marks = [[True] * len(side) for side in words]
    for block in SequenceMatcher(None, plain[0], plain[1], autojunk=False).get_matching_blocks():
        for side, start in ((0, block.a), (1, block.b)):
            marks[side][start : start + block.size] = [False] * block.size
    return _runs(words[0], marks[0]), _runs(words[1], marks[1])


def _runs(words: Sequence[str], marks: Sequence[bool]) -> Words:
    pairs = zip(marks, words, strict=True)
    return [(" ".join(word for _, word in run), mark) for mark, run in groupby(pairs, key=itemgetter(0))]


def _pictures(row: Row, media_dir: Path | None) -> dict[str, str | None]:
    """The fields `image`, `heat` and `problem` of an example."""
    nothing = {"image": None, "heat": None}
    if row.image is None or media_dir is None:
        return nothing | {"problem": "The row names no image file." if media_dir else "Pictures need --media-dir."}
    for name in (row.image, row.saliency):
        if name is not None and ("\0" in name or leaves(media_dir, media_dir / name)):
            return nothing | {"problem": f"{name!r} does not lie in --media-dir, so it is not shown."}
    try:
        with open_picture(media_dir / row.image) as file:
            image = file.convert("RGB")
    except Exception:  # PIL's decoders raise nearly anything on a damaged file
        return nothing | {"problem": f"Image not found or unreadable: {row.image} (see --media-dir)."}
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    plain = data_uri(image)
    if row.saliency is None:
        return {"image": plain, "heat": None, "problem": "The row has no gaze map."}
    try:
        gaze = read_saliency_map(media_dir / row.saliency)
    except SaliencyMapError as error:
        return {"image": plain, "heat": None, "problem": str(error)}
    peak = float(gaze.max())
    heat = data_uri(overlay(image, gaze / peak if peak > 0 else gaze))
    return {"image": plain, "heat": heat, "problem": None}


def data_uri(image: Image.Image) -> str:
    """An RGB image as it stands in a page that needs no other file: a drawing as PNG, a photograph as JPEG."""
    buffer = BytesIO()
    if max(image.size) <= SMALL_SIDE:
        kind = "png"
        image.save(buffer, "PNG", optimize=True)
    else:
        kind = "jpeg"
        image.save(buffer, "JPEG", quality=85)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
