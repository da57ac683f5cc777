"""Fixation tables: where each participant looked in each image, and for how long."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llamafactory_gaze.data.tables import DataError, Table, read_table


COLUMNS = ("image", "participant", "x", "y", "duration_ms")


@dataclass(frozen=True)
class Fixations:
    """Fixations as arrays of equal length n.

    x and y are pixels of the image file, x to the right and y down, (0, 0) the centre of the top left pixel.
    """

    participant: np.ndarray  # (n,) str
    x: np.ndarray  # (n,) float64
    y: np.ndarray  # (n,) float64
    duration_ms: np.ndarray  # (n,) float64, not negative; NaN where it is not known

    def __len__(self) -> int:
        return len(self.x)

    def where(self, mask: np.ndarray) -> Fixations:
        return Fixations(self.participant[mask], self.x[mask], self.y[mask], self.duration_ms[mask])

    def on_image(self, size: tuple[int, int]) -> np.ndarray:
        """(n,) bool: which lie on an image of this size (width, height), its border pixels included in full."""
        width, height = size
        return (self.x >= -0.5) & (self.x <= width - 0.5) & (self.y >= -0.5) & (self.y <= height - 0.5)


def read_fixations(path: Path, columns: Mapping[str, str] | None = None) -> dict[str, Fixations]:
    """Read a fixation table, one fixation per row; an empty duration is one that is not known.

    Args:
        path: CSV, TSV or Parquet with the columns image, participant, x, y and duration_ms; others are ignored.
        columns: how the file names those columns, where it names them otherwise: `{"x": "CURRENT_FIX_X"}`.

    Returns:
        the fixations of each image, in the order of the file.

    Raises:
        DataError: names the first bad row (empty image or participant, no finite number, negative duration), and says
            how many more there are.
    """
    names = _column_names(columns or {})
    table = read_table(path)
    table.require(names.values(), "; say which is which by --columns, for example --columns x=CURRENT_FIX_X")

    bad: list[str] = []
    numbers = {name: np.empty(len(table)) for name in ("x", "y", "duration_ms")}
    for i in range(len(table)):
        problem = _read_row(table, i, names, numbers)
        if problem:
            bad.append(f"{table.at(i)}: {problem}")
    if bad:
        raise DataError(bad[0] + (f" ({len(bad) - 1} more bad rows follow)" if len(bad) > 1 else "") + ".")

    participants = np.array(table.columns[names["participant"]])
    rows: dict[str, list[int]] = {}
    for i, image in enumerate(table.columns[names["image"]]):
        rows.setdefault(image, []).append(i)
    return {
        image: Fixations(participants[at], numbers["x"][at], numbers["y"][at], numbers["duration_ms"][at])
        for image, at in rows.items()
    }


def require_durations(path: Path, *durations: np.ndarray) -> None:
    """Raise `DataError` where a duration is not known, in the name of what cannot do without."""
    unknown = sum(int(np.isnan(values).sum()) for values in durations)
    if unknown:
        raise DataError(
            f"{path} does not say how long {unknown} of its {sum(map(len, durations))} fixations last, as weights by "
            "duration and a shortest duration need; use --weight count without --min-duration."
        )


def _column_names(columns: Mapping[str, str]) -> dict[str, str]:
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown:
        raise DataError(f"--columns names an unknown column '{unknown[0]}'; expected {', '.join(COLUMNS)}.")
    return {name: columns.get(name, name) for name in COLUMNS}


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
            return f"{names[name]} is '{cell}', expected a number"
        if not math.isfinite(values[i]):
            return f"{names[name]} is '{cell}', expected a finite number"
    if numbers["duration_ms"][i] < 0:
        return (
            f"{names['duration_ms']} is {table.columns[names['duration_ms']][i]}, expected a duration of 0 ms or more"
        )
    return None
