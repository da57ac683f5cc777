"""The rows of a table, one after the other, so that a recording of any length fits into memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from llamafactory_gaze.data.tables import DataError, text_records


_BATCH = 20_000  # rows of a Parquet file in memory at a time


@dataclass(frozen=True)
class Records:
    """A table: the names of its columns, and an iterator over the number and the stripped cells of each row."""

    path: Path
    header: list[str]
    rows: Iterator[tuple[int, list[str]]]
    unit: str = "line"  # what the numbers count: lines as an editor shows them, or rows of a Parquet file from 1

    def at(self, number: int) -> str:
        """Where a row stands, for a message: 'samples.csv, line 17'."""
        return f"{self.path}, {self.unit} {number}"


def ending_of(path: Path) -> str:
    """The ending without .gz, in small letters: '.csv' of gaze.CSV.gz."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return next((suffix for suffix in reversed(suffixes) if suffix != ".gz"), "")


def open_records(path: Path, columns: Sequence[str] | None = None) -> Records:
    """The rows of a Parquet file, or of a text file separated by tabs or commas, which may be packed by gzip.

    Args:
        columns: the names of the columns of a file without a header, which is then separated by tabs (BIDS).

    Raises:
        DataError: empty or damaged file, no UTF-8 text, two columns of one name; also while the rows are gone through.
    """
    if ending_of(path) == ".parquet":
        return _parquet(path)
    rows = text_records(path, "\t" if columns is not None else None)
    if columns is not None:
        return Records(path, list(columns), rows)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{path} is empty; expected a header row with the names of the columns.")
    _check_header(path, first[1])
    return Records(path, first[1], rows)


def _check_header(path: Path, header: Sequence[str]) -> None:
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise DataError(f"{path} has several columns named '{twice[0][:40]}'.")


def _parquet(path: Path) -> Records:
    import pyarrow  # here: the command line should not wait for it
    import pyarrow.parquet

    def rows() -> Iterator[tuple[int, list[str]]]:
        number = 0
        try:
            for batch in file.iter_batches(batch_size=_BATCH):
                for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    number += 1
                    yield number, ["" if cell is None else str(cell).strip() for cell in cells]
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read after row {number} ({_first_line(error)}).") from error

    try:
        file = pyarrow.parquet.ParquetFile(path)
        header = list(file.schema_arrow.names)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a Parquet file ({_first_line(error)}).") from error
    _check_header(path, header)
    return Records(path, header, rows(), "row")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
