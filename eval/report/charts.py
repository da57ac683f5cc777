"""The charts of the report: geometry here, drawn as SVG by the templates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eval.metrics import HEADLINE, LABELS


@dataclass(frozen=True)
class Dot:
    """A difference from the reference in the plot: vertical place, value, interval (or None), and which system."""

    y: float
    x: float
    interval: tuple[float, float] | None
    system: int
    title: str


class ForestPlot:
    """Geometry of the plot of differences from the reference; the template draws it as SVG.

    Every metric has a line for each system and control; all share one axis of score differences.

    Args:
        results: see `results.build`.
    """

    width = 460
    left, right = 104, 14
    line_height, gap, top = 15, 10, 8

    def __init__(self, results: dict[str, Any]) -> None:
        self.systems = [*results["systems"], *results["controls"]]
        entries = {
            name: [
                *(system["metrics"][name] for system in results["systems"].values()),
                *(control["metrics"][name]["vs_reference"] for control in results["controls"].values()),
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
                title = f"{LABELS[name]}, {self.systems[system]} - {results['reference']}: {entry['diff']:+.3f}"
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
