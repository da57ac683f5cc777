"""Mouse traces: where the pointer was over an image, and for how long.

In mouse-contingent viewing, as in Jiang, Huang, Duan and Zhao, "SALICON: Saliency in context", CVPR 2015, an image is
blurred but for the place of the pointer, which people move as they would their eyes. SALICON's own files are read by
`llamafactory-gaze fixations`.
"""

from __future__ import annotations

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
from llamafactory_gaze.data.recordings.samples import sample
from llamafactory_gaze.data.tables import DataError, Table, read_table


COLUMNS = ("image", "x", "y", "time_ms")
OPTIONAL = ("participant", "trial")


class MouseTrace:
    """A Gaussian around each position of the pointer, weighted by how long it stayed there.

    Positions beside the photograph are left out; those of all participants and trials are pooled.

    Args:
        path: the table; see `read_trace`.
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
        self._sha256 = file_sha256(path)
        self._rows: dict[str, list[int]] = {}
        for row, image in enumerate(self._positions.image.tolist()):
            self._rows.setdefault(image, []).append(row)

    @property
    def images(self) -> set[str]:
        """The images that the table names."""
        return set(self._rows)

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
            raise NoMap(f"{self._path} does not name it")
        positions = self._positions.where(np.array(self._rows[photograph.name]))
        options = MapOptions(sigma_px=self.sigma_px, longest_side=longest_side)
        plan = plan_maps(positions, lambda image, where: photograph.size, options)
        (one,) = plan.maps
        if not len(one.rows):
            raise NoMap(f"no position of {self._path} lies on it for some time")
        with threadpool_limits(1, "blas"):  # the last bits of a product depend on the number of cores
            return plan.draw(one)


def read_trace(path: Path, columns: Mapping[str, str] | None = None) -> Fixations:
    """Read a table of the pointer's positions as if each were a fixation: it lasts until the next one of its viewing.

    How long the pointer stayed at the last position of a viewing is not known, so that it lasts 0 ms. Where x or y is
    empty (or `.`, `n/a`, `NA`, `NaN`), the pointer was away: the position before lasts until then.

    Args:
        path: CSV, TSV or Parquet with the columns image, x, y (pixels of the image) and time_ms; participant and trial
            are read where they are. The rows of a viewing (equal image, participant and trial) follow each other.
        columns: how the file names those columns, where it names them otherwise: `{"time_ms": "t"}`.

    Raises:
        DataError: names the first bad row: no number, a time before the one above, or a viewing that is scattered.
    """
    names = column_names(columns or {}, (*COLUMNS, *OPTIONAL))
    table = read_table(path)
    required = [names[name] for name in (*COLUMNS, *OPTIONAL) if name in COLUMNS or name in (columns or {})]
    table.require(required, "; say which is which by --columns, for example --columns time_ms=t")
    time, x, y = _numbers(table, names)
    lasts = np.zeros(len(table))
    for first, end in _viewings(table, names):
        steps = np.diff(time[first:end])
        if (steps < 0).any():
            row = first + 1 + int((steps < 0).argmax())
            raise DataError(f"{table.at(row)}: {names['time_ms']} is before that of the row above; sort them by time.")
        lasts[first : end - 1] = steps
    there = np.flatnonzero(~np.isnan(x) & ~np.isnan(y))
    empty = [""] * len(table)
    participants = np.array(table.columns.get(names["participant"], empty))
    positions = Fixations(
        table, np.arange(len(table)), np.array(table.columns[names["image"]]), participants, None, None, x, y, lasts
    )
    return positions.where(there)


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
