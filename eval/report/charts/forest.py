"""The forest plot: the difference of every system and control from the reference, on every headline metric."""

from __future__ import annotations

from typing import Any

from eval.metrics import HEADLINE, LABELS
from eval.report.charts.axis import Axis, Mark, described, mark, reach


class ForestPlot:
    """Geometry of the plot of differences from the reference; `plot.svg.j2` draws it.

    Every metric has a line for each system and control, in their order; all share one axis of score differences.

    Args:
        results: see `results.build`.
    """

    width = 420
    left, right = 96, 14
    line_height, gap, top = 15, 10, 8

    def __init__(self, results: dict[str, Any]) -> None:
        self.reference: str = results["reference"]
        self.systems: list[str] = [*results["systems"], *results["controls"]]
        entries = {
            name: [
                *(system["metrics"][name] for system in results["systems"].values()),
                *(control["metrics"][name]["vs_reference"] for control in results["controls"].values()),
            ]
            for name in HEADLINE
            if results["metrics"][name]["diff"] is not None
        }
        ends = [end for group in entries.values() for entry in group for end in reach(entry)]
        self.axis = Axis.around(ends, self.left, self.width - self.right, form="+")

        self.labels: list[tuple[float, str]] = []
        self.dots: list[Mark] = []
        y = float(self.top)
        for name, group in entries.items():
            self.labels.append((y + self.line_height * len(group) / 2, LABELS[name]))
            for system, entry in enumerate(group):
                middle = y + self.line_height * (system + 0.5)
                pair = f"{self.systems[system]} \N{MINUS SIGN} {self.reference}"
                title = f"{LABELS[name]}, {pair}: {described(entry)}"
                self.dots.append(mark(self.axis, entry, middle, system, title))
            y += self.line_height * len(group) + self.gap
        self.bottom = y
        self.height = y + 34
