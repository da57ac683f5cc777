"""The difference of each image: how many gained and lost, and whether a few images carry the mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eval.inputs.joining import Joined
from eval.metrics import HEADLINE, LABELS
from eval.report.charts.axis import Axis, signed
from eval.scoring.column import Column


METRICS = ("cs_f1", "rougeL", *HEADLINE)  # the first two that have scores are drawn
MOST_BARS = 120  # more would be finer than the pixels of a phone


@dataclass(frozen=True)
class ImageBar:
    """One image: a bar `width` wide from the zero line to `y`, its left edge at `x`."""

    x: float
    width: float
    y: float
    title: str


@dataclass(frozen=True)
class ImagePanel:
    """The images by one metric, from the largest gain to the largest loss.

    Attributes:
        sentence: how many gained and lost, and how many are drawn, for readers.
    """

    label: str
    bars: list[ImageBar]
    sentence: str


class ImageDifferences:
    """Geometry of the mean difference main - reference of each image; `image_differences.html.j2` draws it.

    Args:
        columns: see `scoring.columns.score_all`.
    """

    width, height = 400, 230
    left, right, top, bottom = 50, 6, 28, 208

    def __init__(self, joined: Joined, columns: dict[str, Column]) -> None:
        self.reference, self.main = joined.reference, joined.compared[0]
        images = np.array([row.image_id for row in joined.rows])
        found: dict[str, list[tuple[float, str, int]]] = {}
        for name in METRICS:
            scores = columns[name].scores
            if scores is not None and name not in found and len(found) < 2:
                found[name] = _by_image(scores[self.main] - scores[self.reference], images)
        everything = [value for one in found.values() for value, *_ in one]
        self.axis = Axis.around(everything, self.bottom, self.top, form="+", parts=5)
        self.panels = [self._panel(LABELS[name], one) for name, one in found.items()]

    def _panel(self, label: str, images: list[tuple[float, str, int]]) -> ImagePanel:
        drawn = images
        if len(images) > MOST_BARS:
            places = np.linspace(0, len(images) - 1, MOST_BARS).round().astype(int)
            drawn = [images[i] for i in places]
        step = (self.width - self.left - self.right) / max(1, len(drawn))
        bars = [
            ImageBar(
                self.left + (i + 0.1) * step,
                0.8 * step,
                self.axis(value),
                f"Image {image}: {signed(value)} ({n} caption{'s' if n != 1 else ''})",
            )
            for i, (value, image, n) in enumerate(drawn)
        ]
        gained, lost = (sum(sign * value > 1e-9 for value, *_ in images) for sign in (1, -1))
        sentence = (
            f"{label}, {self.main} against {self.reference}: of {len(images)} image{'s' if len(images) != 1 else ''}, "
            f"{gained} gained, {lost} lost, {len(images) - gained - lost} stayed equal."
        )
        if len(drawn) < len(images):
            sentence += f" {len(drawn)} of them are drawn, evenly along their order, the first and the last among them."
        return ImagePanel(label, bars, sentence)


def _by_image(differences: np.ndarray, images: np.ndarray) -> list[tuple[float, str, int]]:
    """Mean difference, name and number of captions of each image that has scores, the largest difference first."""
    scored = np.isfinite(differences)
    names, codes = np.unique(images[scored], return_inverse=True)
    counts = np.bincount(codes)
    means = np.bincount(codes, differences[scored]) / counts
    order = np.argsort(-means, kind="stable")
    return [(float(means[i]), str(names[i]), int(counts[i])) for i in order]
