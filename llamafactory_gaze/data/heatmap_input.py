"""All fixations of a recording in one table, with their trials and their order, and which of them a map may use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from llamafactory_gaze.data.fixations import COLUMNS, read_fixations
from llamafactory_gaze.data.tables import DataError, Table, read_table


@dataclass(frozen=True)
class Recording:
    """Fixations as arrays of equal length n, in the order of the file; x and y in whatever pixels the file has."""

    table: Table
    image: np.ndarray  # (n,) str
    participant: np.ndarray  # (n,) str
    trial: np.ndarray | None  # (n,) str
    index: np.ndarray | None  # (n,) float64, the order of the fixations of a trial
    x: np.ndarray  # (n,) float64
    y: np.ndarray  # (n,) float64
    duration_ms: np.ndarray  # (n,) float64, not negative; NaN where it is not known

    def __len__(self) -> int:
        return len(self.x)

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
                        f"{self.table.at(i)}: a second fixation {self.index[i]:g} of participant {key[1]} on image "
                        f"{key[0]}; expected one per index, with a column trial where an image is shown twice."
                    )
                seen.add((key, self.index[i]))
            if key not in firsts or (self.index is not None and self.index[i] < self.index[firsts[key]]):
                firsts[key] = i
        mask = np.zeros(len(self), dtype=bool)
        mask[list(firsts.values())] = True
        return mask


def read_recording(path: Path, columns: Mapping[str, str]) -> Recording:
    """Read a fixation table as `read_fixations` does, with the optional columns trial and index.

    Raises:
        DataError: as `read_fixations`; an index that is no number, or an image or participant that cannot name a file.
    """
    optional = {name: columns.get(name, name) for name in ("trial", "index")}
    read_fixations(path, {ours: theirs for ours, theirs in columns.items() if ours not in optional})  # the checks
    table = read_table(path)
    table.require([optional[name] for name in columns if name in optional])
    cells = {name: table.columns[columns.get(name, name)] for name in COLUMNS}
    trial, index = (table.columns.get(theirs) for theirs in optional.values())
    if trial and not any(trial):  # as `fixations` writes it where the recordings have no trials
        trial = None
    for i, image in enumerate(cells["image"]):
        if not _stays_inside(image):
            raise DataError(
                f"{table.at(i)}: the image is '{image}'; expected a relative path with '/' and without '..', because "
                "its map is named alike."
            )
        for what, name in (("participant", cells["participant"][i]), ("trial", trial[i] if trial else "-")):
            if not name or "/" in name or "\\" in name:
                raise DataError(f"{table.at(i)}: the {what} is '{name}'; expected a name without '/' and '\\'.")
    return Recording(
        table,
        np.array(cells["image"]),
        np.array(cells["participant"]),
        np.array(trial) if trial else None,
        _numbers(table, optional["index"], index) if index else None,
        *(np.array([cell or "nan" for cell in cells[name]], np.float64) for name in ("x", "y", "duration_ms")),
    )


def _stays_inside(image: str) -> bool:
    parts = PurePosixPath(image).parts
    return (
        bool(parts) and ".." not in parts and parts[0] != "/" and "\\" not in image and not PureWindowsPath(image).drive
    )


def _numbers(table: Table, name: str, cells: list[str]) -> np.ndarray:
    values = np.empty(len(cells))
    for i, cell in enumerate(cells):
        try:
            values[i] = float(cell)
        except ValueError:
            raise DataError(f"{table.at(i)}: {name} is '{cell}', expected a number.") from None
    return values
