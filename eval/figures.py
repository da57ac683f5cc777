"""The pictures of the report: examples after the paper's figure 2, and the differences as dots with intervals."""

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
from typing import Any

from PIL import Image

from eval.metrics import HEADLINE, LABELS
from eval.predictions import Joined, Row
from llamafactory_gaze.saliency import SaliencyMapError, overlay, read_saliency_map


MAX_SIDE = 640  # pixels of an embedded image; the report shows it at half of that
SMALL_SIDE = 256  # drawings up to this size are embedded without loss

Words = list[tuple[str, bool]]  # runs of words, and whether the other caption lacks them there


@dataclass(frozen=True)
class Example:
    """One example of figure 2.

    Attributes:
        image, heat: data URIs of the image and of the image under its map; None where the file is missing.
        baseline, injected: both captions as `mark_differences` splits them.
        problem: why a picture is missing, else None.
    """

    row: Row
    image: str | None
    heat: str | None
    baseline: Words
    injected: Words
    problem: str | None


def draw_rows(rows: Sequence[Row], seed: int, count: int | None) -> list[Row]:
    """Draw rows for the examples by chance, without looking at any score.

    All rows are shuffled with the seed; then the categories take turns, in alphabetical order, each giving its next
    row, of an image not shown yet while there is one.

    Args:
        count: how many; None for one per category (one in all where there are no categories).
    """
    shuffled = random.Random(seed).sample(list(rows), len(rows))
    piles: dict[str, list[Row]] = {}
    for row in shuffled:
        piles.setdefault(row.category or "", []).append(row)
    count = len(piles) if count is None else count
    chosen: list[Row] = []
    while len(chosen) < min(count, len(rows)):
        for name in sorted(piles):
            if piles[name] and len(chosen) < count:
                shown = {row.image_id for row in chosen}
                fresh = (i for i, row in enumerate(piles[name]) if row.image_id not in shown)
                chosen.append(piles[name].pop(next(fresh, 0)))
    return chosen


def make_examples(joined: Joined, rows: Iterable[Row], media_dir: Path) -> list[Example]:
    """Load the pictures of some rows and compare their captions. A missing file is said in the example, not raised."""
    examples = []
    for row in rows:
        image, heat, problem = _pictures(row, media_dir)
        baseline, injected = mark_differences(*(joined.captions[name][row.row] for name in ("baseline", "injected")))
        examples.append(Example(row, image, heat, baseline, injected, problem))
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


def _pictures(row: Row, media_dir: Path) -> tuple[str | None, str | None, str | None]:
    if row.image is None:
        return None, None, "The row names no image file."
    try:
        with Image.open(media_dir / row.image) as file:
            image = file.convert("RGB")
    except OSError:
        return None, None, f"Image not found or unreadable: {row.image} (see --media-dir)."
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    plain = _data_uri(image)
    if row.saliency is None:
        return plain, None, "The row has no gaze map."
    try:
        gaze = read_saliency_map(media_dir / row.saliency)
    except SaliencyMapError as error:
        return plain, None, str(error)
    peak = float(gaze.max())
    return plain, _data_uri(overlay(image, gaze / peak if peak > 0 else gaze)), None


def _data_uri(image: Image.Image) -> str:
    buffer = BytesIO()
    if max(image.size) <= SMALL_SIDE:
        kind = "png"
        image.save(buffer, "PNG", optimize=True)
    else:
        kind = "jpeg"
        image.save(buffer, "JPEG", quality=85)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


@dataclass(frozen=True)
class Dot:
    """A difference from the baseline in the plot: vertical place, value, interval (or None), and which system."""

    y: float
    x: float
    interval: tuple[float, float] | None
    system: int
    title: str


class ForestPlot:
    """Geometry of the plot of differences from the baseline; the template draws it as SVG.

    Every metric has a line for the injected system and one for each control; all share one axis of score differences.

    Args:
        results: see `results.build`.
    """

    width = 460
    left, right = 104, 14
    line_height, gap, top = 15, 10, 8

    def __init__(self, results: dict[str, Any]) -> None:
        self.systems = ["injected", *results["controls"]]
        entries = {
            name: [
                results["metrics"][name],
                *(control["metrics"][name]["vs_baseline"] for control in results["controls"].values()),
            ]
            for name in HEADLINE
            if results["metrics"][name]["diff"] is not None
        }
        everything = [entry for group in entries.values() for entry in group]
        ends = [0.0, *(end for entry in everything for end in (entry["ci95"] or [entry["diff"]]))]
        self.step = _nice_step(max(ends) - min(ends))
        self.low = self.step * (min(ends) // self.step)
        self.high = -self.step * (-max(ends) // self.step)

        self.labels: list[tuple[float, str]] = []
        self.dots: list[Dot] = []
        y = float(self.top)
        for name, group in entries.items():
            self.labels.append((y + self.line_height * len(group) / 2, LABELS[name]))
            for system, entry in enumerate(group):
                span = entry["ci95"] and (self.x(entry["ci95"][0]), self.x(entry["ci95"][1]))
                middle = y + self.line_height * (system + 0.5)
                title = f"{LABELS[name]}, {self.systems[system]} - baseline: {entry['diff']:+.3f}"
                self.dots.append(Dot(middle, self.x(entry["diff"]), span, system, title))
            y += self.line_height * len(group) + self.gap
        self.bottom = y
        self.height = y + 34

    def x(self, value: float) -> float:
        """Horizontal place of a score difference."""
        span = (self.high - self.low) or 1.0
        return self.left + (value - self.low) / span * (self.width - self.left - self.right)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Places and texts of the axis."""
        count = round((self.high - self.low) / self.step)
        digits = max(0, -int(f"{self.step:e}".split("e")[1]))
        values = [self.low + i * self.step for i in range(count + 1)]
        return [(self.x(value), f"{value:+.{digits}f}" if abs(value) > 1e-9 else "0") for value in values]


def _nice_step(span: float) -> float:
    """A step of 1, 2 or 5 times a power of ten that divides `span` into at most 6 parts."""
    exponent = -4
    while True:
        for factor in (1, 2, 5):
            step = factor * 10.0**exponent
            if span / step <= 6:
                return step
        exponent += 1
