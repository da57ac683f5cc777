"""Bars of the change in each category of images, one panel for each headline metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eval.metrics import HEADLINE, LABELS
from eval.report.charts.axis import Axis, Mark, described, mark, reach, shorten


@dataclass(frozen=True)
class BarPanel:
    """One metric's bars, each from the zero line to its mark; `summary` says in words what is drawn."""

    label: str
    bars: list[Mark]
    summary: str


class CategoryBars:
    """Geometry of the differences of mean scores by category; `category_bars.html.j2` draws it.

    Differences and not percents, which explode where the reference scores near 0 (table 2 has them). All panels share
    one axis and one order of categories; each category has a bar for every compared system, in their order.

    Args:
        results: see `results.build`.

    Attributes:
        names: places (y) of the categories' names, the name as it is drawn, and the whole name.
        panels: none where there are no categories.
    """

    width = 272
    left, right, top = 16, 18, 26
    name_height, bar_height, gap = 16, 13, 9
    most_letters = 38  # of a category's name

    def __init__(self, results: dict[str, Any]) -> None:
        self.reference: str = results["reference"]
        self.systems: list[str] = list(results["systems"])
        tables = [system["categories"] for system in results["systems"].values()]
        categories = list(results["categories"])
        metrics = [name for name in HEADLINE if categories and results["metrics"][name]["diff"] is not None]
        cells = [table[group][name] for table in tables for group in categories for name in metrics]
        ends = [end for entry in cells if entry["diff"] is not None for end in reach(entry)]
        self.axis = Axis.around(ends, self.left, self.width - self.right, form="+", parts=4)

        group_height = self.name_height + self.bar_height * len(tables) + self.gap
        tops = {group: self.top + i * group_height for i, group in enumerate(categories)}
        self.names = [(y + 12, shorten(group, self.most_letters), group) for group, y in tops.items()]
        self.bottom = self.top + group_height * len(categories)
        self.height = self.bottom + 34
        self.panels = [
            BarPanel(
                LABELS[name],
                [
                    self._bar(
                        table[group][name], system, group, y + self.name_height + self.bar_height * (system + 0.5)
                    )
                    for group, y in tops.items()
                    for system, table in enumerate(tables)
                    if table[group][name]["diff"] is not None
                ],
                f"{LABELS[name]}, differences from {self.reference}: "
                + "; ".join(
                    f"{self.systems[system]} in {group} {described(table[group][name])}"
                    for group in categories
                    for system, table in enumerate(tables)
                    if table[group][name]["diff"] is not None
                ),
            )
            for name in metrics
        ]

    def _bar(self, entry: dict[str, Any], system: int, group: str, y: float) -> Mark:
        title = (
            f"{group}, {self.systems[system]} \N{MINUS SIGN} {self.reference}: {described(entry)}, "
            f"{entry['n']} captions of {entry['n_images']} images"
        )
        return mark(self.axis, entry, y, system, title)
