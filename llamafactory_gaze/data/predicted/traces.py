"""Mouse traces: where the pointer was over an image, and for how long.

In mouse-contingent viewing, as in Jiang, Huang, Duan and Zhao, "SALICON: Saliency in context", CVPR 2015, an image is
blurred but for the place of the pointer, which people move as they would their eyes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from llamafactory_gaze.data.fixations import Fixations, column_names
from llamafactory_gaze.data.maps.options import MapOptions
from llamafactory_gaze.data.maps.plan import plan_maps
from llamafactory_gaze.data.predicted.photograph import Photograph
from llamafactory_gaze.data.predicted.source import NoMap
from llamafactory_gaze.data.provenance import file_sha256
from llamafactory_gaze.data.recordings.matlab import mat_files
from llamafactory_gaze.data.recordings.salicon import read_traces
from llamafactory_gaze.data.recordings.samples import sample
from llamafactory_gaze.data.tables import DataError, Table, read_table


COLUMNS = ("image", "x", "y", "time_ms")
OPTIONAL = ("participant", "trial")


class MouseTrace:
    """A Gaussian around each position of the pointer, weighted by how long it stayed there.

    Positions beside the photograph are left out; those of all participants and trials are pooled.

    Args:
        path: a table or SALICON's .mat files; see `read_trace`.
        sigma_px: standard deviation of the Gaussian in pixels of the photograph.
        columns: as for `read_trace`.

    Raises:
        DataError: as `read_trace`.
    """

    def __init__(self, path: Path, sigma_px: float, columns: Mapping[str, str] | None = None) -> None:
        self._path = path
        self.sigma_px = sigma_px
        self._columns = dict(columns or {})
        self._positions = read_trace(path, self._columns)
        self._sha256 = _folder_sha256(path) if path.is_dir() else file_sha256(path)
        self._rows: dict[str, list[int]] = {}
        for row, image in enumerate(self._positions.image.tolist()):
            self._rows.setdefault(image, []).append(row)

    def label(self, photograph: Photograph) -> dict[str, Any]:
        return {
            "source": "mouse trace",
            "method": None,
            "library": None,
            "sigma_px": self.sigma_px,
            "trace": self._path.name,
            "trace_sha256": self._sha256,
            "columns": self._columns,
        }

    def draw(self, photograph: Photograph, longest_side: int | None) -> np.ndarray:
        if photograph.name not in self._rows:
            raise NoMap(f"{self._path.name} does not name it")
        positions = self._positions.where(np.array(self._rows[photograph.name]))
        options = MapOptions(sigma_px=self.sigma_px, longest_side=longest_side)
        plan = plan_maps(positions, lambda image, where: photograph.size, options)
        (one,) = plan.maps
        if not len(one.rows):
            raise NoMap(f"no position of {self._path.name} lies on it for some time")
        with threadpool_limits(1, "blas"):  # the last bits of a product depend on the number of cores
            return plan.draw(one)


def read_trace(path: Path, columns: Mapping[str, str] | None = None) -> Fixations:
    """Read the pointer's positions as if each were a fixation: it lasts until the next one of its viewing.

    How long the pointer stayed at the last position of a viewing is not known, so that it lasts 0 ms.

    Args:
        path: a table, see `_read_table`, or SALICON's .mat files, one or a folder of them.
        columns: how the table names its columns, where it names them otherwise: `{"time_ms": "t"}`.

    Raises:
        DataError: cannot be read, or has times that go back; the message names the place.
    """
    if path.is_dir() or path.suffix.lower() == ".mat":
        if columns:
            raise DataError(f"--columns names columns of a table, which {path} is not.")
        return _read_salicon(path)
    return _read_table(path, columns or {})


def _folder_sha256(folder: Path) -> str:
    """The SHA-256 of those of the .mat files, in hexadecimal, one after another in the order of the files' names."""
    return hashlib.sha256("".join(map(file_sha256, mat_files(folder))).encode()).hexdigest()


def _read_salicon(path: Path) -> Fixations:
    """Each viewing is a participant of its own, as nothing says who viewed."""
    images: list[str] = []
    participants: list[str] = []
    parts = [np.empty((0, 4))]
    for file, image, traces in read_traces(path):
        for number, trace in enumerate(traces, 1):
            lasts, back = _dwell(trace[:, 0])
            if back is not None:
                raise DataError(f"{file}, viewing {number}, position {back + 1}: its time is before that of the last.")
            parts.append(np.column_stack([trace, lasts]))
            images += [image] * len(trace)
            participants += [f"{Path(image).stem}-{number:02d}"] * len(trace)
    _, x, y, lasts = np.concatenate(parts).T
    table = Table(path, "position", list(range(1, len(images) + 1)), {})
    return Fixations(table, np.arange(len(images)), np.array(images), np.array(participants), None, None, x, y, lasts)


def _read_table(path: Path, columns: Mapping[str, str]) -> Fixations:
    """Read CSV, TSV or Parquet with the columns image, x, y (pixels of the image) and time_ms; participant and trial
    are read where they are.

    The rows of a viewing (equal image, participant and trial) follow each other. Where x or y is empty (or `.`, `n/a`,
    `NA`, `NaN`), the pointer was away: the position before lasts until then.
    """
    names = column_names(columns, (*COLUMNS, *OPTIONAL))
    table = read_table(path)
    required = [names[name] for name in (*COLUMNS, *OPTIONAL) if name in COLUMNS or name in columns]
    table.require(required, "; say which is which by --columns, for example --columns time_ms=t")
    time, x, y = _numbers(table, names)
    lasts = np.zeros(len(table))
    for first, end in _viewings(table, names):
        lasts[first:end], back = _dwell(time[first:end])
        if back is not None:
            where = table.at(first + back)
            raise DataError(f"{where}: {names['time_ms']} is before that of the row above; sort them by time.")
    there = np.flatnonzero(~np.isnan(x) & ~np.isnan(y))
    participants = np.array(table.columns.get(names["participant"], [""] * len(table)))
    positions = Fixations(
        table, np.arange(len(table)), np.array(table.columns[names["image"]]), participants, None, None, x, y, lasts
    )
    return positions.where(there)


def _dwell(time: np.ndarray) -> tuple[np.ndarray, int | None]:
    """How long the pointer stayed at each position (n,) of a viewing, and the first whose time goes back, if any."""
    steps = np.diff(time)
    back = np.flatnonzero(steps < 0)
    return np.append(steps, np.zeros(min(1, len(time)))), int(back[0]) + 1 if len(back) else None


def _numbers(table: Table, names: Mapping[str, str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """time, x and y of each row, (n,) float64; x or y is NaN where the pointer was away."""
    said = {"time": names["time_ms"], "x": names["x"], "y": names["y"]}
    values = np.empty((len(table), 3))
    for row in range(len(table)):
        try:
            values[row] = sample({name: table.columns[column][row] for name, column in said.items()}, said)
        except ValueError as error:
            raise DataError(f"{table.at(row)}: {error}.") from error
    return values[:, 0], values[:, 1], values[:, 2]


def _viewings(table: Table, names: Mapping[str, str]) -> Iterator[tuple[int, int]]:
    """The first row of each viewing and the one after its last.

    Raises:
        DataError: an image without a name, or a viewing that goes on after another one: rows that are mixed and an
            image that was seen twice look alike, and only one of them has times that go on.
    """
    of_rows = [table.columns[names[name]] for name in ("image", *OPTIONAL) if names[name] in table.columns]
    keys = list(zip(*of_rows, strict=True))
    seen: set[tuple[str, ...]] = set()
    first = 0
    for row, key in enumerate(keys):
        if not key[0]:
            raise DataError(f"{table.at(row)}: the column {names['image']} is empty.")
        if row and key == keys[row - 1]:
            continue
        if key in seen:
            raise DataError(
                f"{table.at(row)}: the trace on image {key[0]} goes on after another one; sort the rows by image, "
                "participant and time, and name by a column trial how often somebody saw an image."
            )
        seen.add(key)
        if row:
            yield first, row
        first = row
    yield first, len(keys)
