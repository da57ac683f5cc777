"""The distribution of the scores of single captions, one panel for each headline metric."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eval.inputs.joining import Joined
from eval.metrics import HEADLINE, LABELS
from eval.report.charts.axis import Axis
from eval.scoring.column import Column


BINS = 20  # from 0 to 1


@dataclass(frozen=True)
class Curve:
    """One system's histogram: the outline as an SVG path, the place of the mark, which stands at the mean.

    Attributes:
        system: None for the reference.
    """

    path: str
    x: float
    y: float
    system: int | None
    title: str


@dataclass(frozen=True)
class CurvePanel:
    """One metric's histograms, the reference first; `summary` says in words what is drawn."""

    label: str
    curves: list[Curve]
    summary: str


class Distributions:
    """Geometry of step histograms of item scores; `distributions.html.j2` draws it.

    Of the reference and the compared systems; controls would hide them. All panels share the axes: scores from 0 to 1
    in `BINS` bins of equal width, and shares of captions.

    Args:
        columns: see `scoring.columns.score_all`.
    """

    width, height = 272, 206
    left, right, top, bottom = 40, 8, 30, 168

    def __init__(self, joined: Joined, columns: dict[str, Column]) -> None:
        self.reference, self.systems = joined.reference, joined.compared
        values = {
            LABELS[name]: {system: scores[system][np.isfinite(scores[system])] for system in joined.systems}
            for name in HEADLINE
            if (scores := columns[name].scores) is not None
        }
        shares = {label: {system: _shares(one) for system, one in of.items()} for label, of in values.items()}
        highest = max((one.max() for of in shares.values() for one in of.values()), default=1.0)
        self.scores = Axis(0.0, 1.0, 0.2, self.left, self.width - self.right)
        self.shares = Axis.around([float(highest)], self.bottom, self.top, form="%", parts=4)
        self.panels = [self._panel(label, values[label], shares[label]) for label in values]

    def _panel(self, label: str, values: dict[str, np.ndarray], shares: dict[str, np.ndarray]) -> CurvePanel:
        curves, means = [], []
        for number, (system, one) in enumerate(values.items()):
            if not len(one):
                continue
            mean = float(one.mean())
            means.append(f"{system} {mean:.3f}")
            curves.append(
                Curve(
                    self._outline(shares[system]),
                    self.scores(mean),
                    self.shares(shares[system][_bins(one.mean(keepdims=True))[0]]),
                    number - 1 if number else None,
                    f"{label}, {system}: mean {mean:.3f}, {len(one)} captions",
                )
            )
        return CurvePanel(label, curves, f"Distribution of {label}. Means: {', '.join(means)}")

    def _outline(self, shares: np.ndarray) -> str:
        """From the axis up, over the bins, and down to the axis."""
        steps = [f"M{self.scores(0):.1f} {self.bottom:.1f}"]
        for i, share in enumerate(shares):
            steps.append(f"V{self.shares(share):.1f}H{self.scores((i + 1) / BINS):.1f}")
        return "".join([*steps, f"V{self.bottom:.1f}"])


def _bins(scores: np.ndarray) -> np.ndarray:
    """The bin of each score; those beyond 0 and 1, which rounding makes, are in the outer ones."""
    return np.clip(np.floor(scores * BINS), 0, BINS - 1).astype(int)


def _shares(scores: np.ndarray) -> np.ndarray:
    """(BINS,) the share of the scores in each bin."""
    return np.bincount(_bins(scores), minlength=BINS) / max(1, len(scores))
