"""Every system against the reference, over all captions and by groups of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from eval.inputs.joining import Joined
from eval.metrics import HEADLINE, LABELS
from eval.scoring.column import Column
from eval.significance import Contrast, contrast, with_holm, with_image_flips, with_mixed_model


_NO_ROWS = "no row here names such objects"

Entry = dict[str, Any]  # the fields of a Contrast, with `label`, `implementation`, `signature`
Table = dict[str, dict[str, Entry]]  # system or group -> metric -> entry
Cell = tuple[Any, str, str, np.ndarray]  # title, base, new, rows


class Study:
    """Joined rows with their scores; makes the tables of contrasts.

    Attributes:
        images: (rows,) what each caption is about.
        participants: (rows,) whose each caption is; None unless all of them are known.
    """

    def __init__(self, joined: Joined, columns: dict[str, Column]) -> None:
        self.joined, self.columns = joined, columns
        self.images = np.array([row.image_id for row in joined.rows])
        known = [row.participant for row in joined.rows if row.participant is not None]
        self.unknown_participants = len(joined.rows) - len(known)
        self.participants = np.array(known) if not self.unknown_participants else None
        self.everything = np.ones(len(joined.rows), dtype=bool)

    def categories(self) -> dict[str, np.ndarray]:
        """For each category, in alphabetical order, which rows are in it."""
        return _members([row.category or "" for row in self.joined.rows])

    def subgroups(self, column: str) -> dict[str, np.ndarray]:
        """For each value of a column, in alphabetical order, which rows have it."""
        return _members([row.groups.get(column, "") for row in self.joined.rows])

    def overall(self) -> Table:
        """The compared systems over all captions: system -> metric -> entry."""
        return self._table([(name, self.joined.reference, name, self.everything) for name in self.joined.compared])

    def by_group(self, groups: dict[str, np.ndarray]) -> dict[str, Table]:
        """The compared systems within each group of rows: system -> group -> metric -> entry."""
        cells = [(system, group) for system in self.joined.compared for group in groups]
        table = self._table(
            [((system, group), self.joined.reference, system, groups[group]) for system, group in cells]
        )
        return {system: {group: table[system, group] for group in groups} for system in self.joined.compared}

    def control(self, name: str) -> dict[str, Entry]:
        """Both contrasts of a control: what it adds to the reference, and what the first system adds to it."""
        vs_reference = self._table([(name, self.joined.reference, name, self.everything)], mixed=False)[name]
        main_vs = self._table([(name, name, self.joined.compared[0], self.everything)], mixed=False)[name]
        return {
            metric: {
                "mean": vs_reference[metric]["new"],
                "vs_reference": vs_reference[metric],
                "main_vs": main_vs[metric],
            }
            for metric in self.columns
        }

    def human(self) -> dict[str, Entry]:
        """For each metric the mean score of people, its confidence interval, and over how many rows."""
        return {name: self._human(column) for name, column in self.columns.items()}

    def clusters(self, where: np.ndarray) -> tuple[int, str]:
        """The smaller of the numbers of images and participants, which bounds what can be known, and which it is."""
        counts = [(len(set(self.images[where])), "images")]
        if self.participants is not None:
            counts.append((len(set(self.participants[where])), "participants"))
        count, unit = min(counts)
        return count, unit if count != 1 else unit.removesuffix("s")

    def _table(self, cells: Sequence[Cell], mixed: bool = True) -> dict[Any, dict[str, Entry]]:
        """Contrasts `new - base` of each cell by its title; one family of tests for Holm's correction.

        Args:
            mixed: whether the mixed model is fitted, which takes longer than all the rest.
        """
        scores = {name: column.scores for name, column in self.columns.items() if column.scores is not None}
        keys: list[tuple[Any, str]] = []
        contrasts: list[Contrast | None] = []
        for title, base, new, where in cells:
            keys += [(title, name) for name in scores]
            contrasts += self._contrasts([(of[base][where], of[new][where]) for of in scores.values()], where, mixed)
        family = [(i, one) for i, one in enumerate(contrasts) if keys[i][1] in HEADLINE and one is not None]
        for (i, _), corrected in zip(family, with_holm(one for _, one in family), strict=True):
            contrasts[i] = corrected
        found = dict(zip(keys, contrasts, strict=True))
        return {
            title: {name: self._entry(name, found.get((title, name))) for name in self.columns} for title, *_ in cells
        }

    def _human(self, column: Column) -> Entry:
        nothing: Entry = {"mean": None, "ci95": None, "n": 0}
        if column.human is None:
            return nothing | {"reason": column.reason}
        where = np.isfinite(column.human)
        if not where.any():
            return nothing | {"reason": "no image has captions of two people"}
        people = column.human[where]
        participants = None if self.participants is None else self.participants[where]
        found = contrast(np.zeros(len(people)), people, self.images[where], participants)
        return {"mean": found.new, "ci95": found.ci95, "n": found.n, "reason": None}

    def _contrasts(
        self, pairs: Sequence[tuple[np.ndarray, np.ndarray]], where: np.ndarray, mixed: bool
    ) -> list[Contrast | None]:
        """One contrast for each (base, new) of the same rows; None where the metric leaves out all of them."""
        found: list[Contrast | None] = [None] * len(pairs)
        usable = [np.isfinite(base) & np.isfinite(new) for base, new in pairs]
        for mask in {mask.tobytes(): mask for mask in usable if mask.any()}.values():
            members = [i for i, one in enumerate(usable) if np.array_equal(one, mask)]
            kept = where.copy()
            kept[where] = mask
            same_rows = [(pairs[i][0][mask], pairs[i][1][mask]) for i in members]
            for i, one in zip(members, self._contrasts_of_rows(same_rows, kept, mixed), strict=True):
                found[i] = one
        return found

    def _contrasts_of_rows(
        self, pairs: Sequence[tuple[np.ndarray, np.ndarray]], where: np.ndarray, mixed: bool
    ) -> list[Contrast]:
        images = self.images[where]
        participants = None if self.participants is None else self.participants[where]
        differences = [new - base for base, new in pairs]
        found = [contrast(base, new, images, participants) for base, new in pairs]
        if mixed:
            found = [
                with_mixed_model(one, difference, images, participants)
                for one, difference in zip(found, differences, strict=True)
            ]
        return with_image_flips(found, differences, images) if found else []

    def _entry(self, name: str, found: Contrast | None) -> Entry:
        column = self.columns[name]
        about = {
            "label": LABELS[name],
            "implementation": column.implementation,
            "signature": column.signature,
        }
        if found is None:
            return (
                about | dict.fromkeys(field.name for field in fields(Contrast)) | {"reason": column.reason or _NO_ROWS}
            )
        return about | found.as_dict()


def _members(of_row: list[str]) -> dict[str, np.ndarray]:
    """For each name but the empty one, in alphabetical order, a mask (rows,) of the rows that carry it."""
    names = np.array(of_row)
    return {name: names == name for name in sorted(set(of_row) - {""})}
