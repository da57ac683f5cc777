"""Fixation tables: where each participant looked in each image, when, and for how long."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llamafactory_gaze.data.tables import DataError, Table, read_table


COLUMNS = ("image", "participant", "x", "y", "duration_ms")
OPTIONAL = ("trial", "index")


@dataclass(frozen=True)
class Fixations:
    """Fixations as arrays of equal length n, in the order of the file.

    x and y are pixels of the screen or of the image, as in the file, x to the right and y down; (0, 0) is the centre
    of the top left pixel.
    """

    table: Table
    row: np.ndarray  # (n,) int, the row of the table
    image: np.ndarray  # (n,) str
    participant: np.ndarray  # (n,) str
    trial: np.ndarray | None  # (n,) str
    index: np.ndarray | None  # (n,) float64, the order of the fixations of a trial
    x: np.ndarray  # (n,) float64
    y: np.ndarray  # (n,) float64
    duration_ms: np.ndarray  # (n,) float64, not negative; NaN where it is not known

    def __len__(self) -> int:
        return len(self.x)

    def at(self, i: int) -> str:
        """Where fixation `i` stands, for a message: 'fixations.csv, line 17'."""
        return self.table.at(int(self.row[i]))

    def require_durations(self) -> None:
        """Raise `DataError` where a duration is not known, in the name of what cannot do without."""
        unknown = int(np.isnan(self.duration_ms).sum())
        if unknown:
            raise DataError(
                f"{self.table.path} does not say how long {unknown} of its {len(self)} fixations last, as weights by "
                "duration and a shortest duration need; use --weight count without --min-duration."
            )

    def where(self, mask: np.ndarray) -> Fixations:
        return Fixations(
            self.table,
            self.row[mask],
            self.image[mask],
            self.participant[mask],
            None if self.trial is None else self.trial[mask],
            None if self.index is None else self.index[mask],
            self.x[mask],
            self.y[mask],
            self.duration_ms[mask],
        )

    def first(self) -> np.ndarray:
        """(n,) bool: the first fixation of each participant (and trial) on each image, by `index` or else by row.

        Raises:
            DataError: two fixations have the same index, so that it is not known which was the first.
        """
        firsts: dict[tuple[str, ...], int] = {}
        seen: set[tuple[object, ...]] = set()
        for i in range(len(self)):
            key = (self.image[i], self.participant[i], *(() if self.trial is None else (self.trial[i],)))
            if self.index is not None:
                if (key, self.index[i]) in seen:
                    raise DataError(
                        f"{self.at(i)}: a second fixation {self.index[i]:g} of participant {key[1]} on image "
                        f"{key[0]}; expected one per index, with a column trial where an image is shown twice."
                    )
                seen.add((key, self.index[i]))
            if key not in firsts or (self.index is not None and self.index[i] < self.index[firsts[key]]):
                firsts[key] = i
        mask = np.zeros(len(self), dtype=bool)
        mask[list(firsts.values())] = True
        return mask


def read_fixations(path: Path, columns: Mapping[str, str] | None = None) -> Fixations:
    """Read a fixation table, one fixation per row; an empty duration is one that is not known.

    Args:
        path: CSV, TSV or Parquet with the columns image, participant, x, y and duration_ms; trial and index are read
            where they are, and a column trial that is empty throughout is none; others are ignored.
        columns: how the file names those columns, where it names them otherwise: `{"x": "CURRENT_FIX_X"}`.

    Raises:
        DataError: names the first bad row (empty image or participant, no finite number, negative duration), and says
            how many more there are.
    """
    columns = columns or {}
    names = column_names(columns, (*COLUMNS, *OPTIONAL))
    table = read_table(path)
    required = [names[name] for name in (*COLUMNS, *OPTIONAL) if name in COLUMNS or name in columns]
    table.require(required, "; say which is which by --columns, for example --columns x=CURRENT_FIX_X")

    bad: list[str] = []
    trial, index = (table.columns.get(names[name]) for name in OPTIONAL)
    measures = ("x", "y", "duration_ms") if index is None else ("x", "y", "duration_ms", "index")
    numbers = {name: np.empty(len(table)) for name in measures}
    for i in range(len(table)):
        problem = _read_row(table, i, names, numbers)
        if problem:
            bad.append(f"{table.at(i)}: {problem}")
    if bad:
        raise DataError(bad[0] + (f" ({len(bad) - 1} more bad rows follow)" if len(bad) > 1 else "") + ".")
    return Fixations(
        table,
        np.arange(len(table)),
        np.array(table.columns[names["image"]]),
        np.array(table.columns[names["participant"]]),
        np.array(trial) if trial and any(trial) else None,
        numbers.get("index"),
        numbers["x"],
        numbers["y"],
        numbers["duration_ms"],
    )


def column_names(columns: Mapping[str, str], known: Sequence[str]) -> dict[str, str]:
    """How a table names the columns that we know, by our names.

    Raises:
        DataError: `columns` names one that we do not know.
    """
    unknown = [name for name in columns if name not in known]
    if unknown:
        raise DataError(f"--columns names an unknown column '{unknown[0]}'; expected {', '.join(known)}.")
    return {name: columns.get(name, name) for name in known}


def _read_row(table: Table, i: int, names: Mapping[str, str], numbers: Mapping[str, np.ndarray]) -> str | None:
    """Put the numbers of row `i` into their arrays, or return what is wrong with the row."""
    for name in ("image", "participant"):
        if not table.columns[names[name]][i]:
            return f"the column {names[name]} is empty"
    for name, values in numbers.items():
        cell = table.columns[names[name]][i]
        if name == "duration_ms" and not cell:
            values[i] = math.nan
            continue
        try:
            values[i] = float(cell)
        except ValueError:
            return f"{names[name]} is '{cell:.40}', expected a number"
        if not math.isfinite(values[i]):
            return f"{names[name]} is '{cell:.40}', expected a finite number"
    if numbers["duration_ms"][i] < 0:
        return (
            f"{names['duration_ms']} is {table.columns[names['duration_ms']][i]}, expected a duration of 0 ms or more"
        )
    return None
