"""Tables in text or Parquet files, read as strings with the line of each row, so that a message can name it."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TextIO


_SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}


class DataError(ValueError):
    """The user's data cannot be used as they are; the message is one sentence that names the file and the row."""


@dataclass(frozen=True)
class Table:
    """The cells of a table as stripped strings: `columns[name][i]`; a missing cell is ''."""

    path: Path
    unit: str  # what `numbers` counts: "line" of a text file (as an editor shows it), "row" of a Parquet file (from 1)
    numbers: list[int]
    columns: dict[str, list[str]]

    def __len__(self) -> int:
        return len(self.numbers)

    def at(self, i: int) -> str:
        """Where row `i` stands, for a message: 'fixations.csv, line 17'."""
        return f"{self.path}, {self.unit} {self.numbers[i]}"

    def require(self, names: Iterable[str], hint: str = "") -> None:
        """Raise `DataError` unless the table has all these columns."""
        missing = [name for name in names if name not in self.columns]
        if missing:
            raise DataError(
                f"{self.path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; it has "
                f"{', '.join(self.columns)}{hint}."
            )


def read_table(path: Path) -> Table:
    """Read a CSV (.csv), tab-separated (.tsv, .txt) or Parquet (.parquet) file with one header row; text is UTF-8.

    Raises:
        DataError: missing, empty or damaged file, unknown ending, ambiguous header, a row with too few or many cells.
    """
    if not path.is_file():
        raise DataError(f"The file {path} does not exist.")
    if path.suffix.lower() == ".parquet":
        table = _read_parquet(path)
    elif path.suffix.lower() in _SEPARATORS:
        table = _read_text(path, _SEPARATORS[path.suffix.lower()])
    else:
        raise DataError(f"{path} ends in '{path.suffix}'; expected .csv, .tsv, .txt (tab-separated) or .parquet.")
    if not table.numbers:
        raise DataError(f"{path} has no rows below its header.")
    return table


def _read_text(path: Path, separator: str) -> Table:
    records = text_records(path, separator)
    try:
        _, header = next(records)
    except StopIteration:
        raise DataError(f"{path} is empty; expected a header row with the names of the columns.") from None
    twice = {name for name in header if header.count(name) > 1}
    if twice:
        raise DataError(f"{path} has several columns named '{sorted(twice)[0]}'.")

    numbers: list[int] = []
    cells: list[list[str]] = [[] for _ in header]
    for number, record in records:
        if len(record) != len(header):
            raise DataError(
                f"{path}, line {number} has {len(record)} cells, but the header has {len(header)}; a cell that "
                "contains the separator must stand in double quotes."
            )
        numbers.append(number)
        for column, cell in zip(cells, record, strict=True):
            column.append(cell)
    return Table(path, "line", numbers, dict(zip(header, cells, strict=True)))


def text_records(path: Path, separator: str | None) -> Iterator[tuple[int, list[str]]]:
    """Yield the first line and the stripped cells of each record of a file, which may be packed by gzip.

    Blank lines are skipped, quoted cells may span lines.

    Args:
        separator: None finds out whether it is a tab or a comma.

    Raises:
        DataError: no UTF-8 text, or damaged.
    """
    with _open_text(path) as file:
        number = 1
        try:
            first = file.readline()
            lines = _without_nul(chain([first], file))
            if separator is None:  # Data Viewer names its reports .txt, .xls or .csv, all tab separated
                separator = "\t" if "\t" in first else ","
            reader = csv.reader(lines, delimiter=separator, strict=True)
            for record in reader:
                if record:
                    yield number, [cell.strip() for cell in record]
                number = reader.line_num + 1
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is not UTF-8 text ({error.reason}); save it again as UTF-8.") from error
        except csv.Error as error:
            raise DataError(f"{path}, line {number} cannot be read ({error}).") from error
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(
                f"{path}, line {number}: the compressed file is cut off or damaged there ({error})."
            ) from error


def _without_nul(lines: Iterable[str]) -> Iterator[str]:
    """Lines; numpy would drop a NUL at the end of a text, so that two names became one."""
    for line in lines:
        if "\0" in line:
            raise csv.Error("it contains a NUL, which no text has")
        if line:
            yield line


def _open_text(path: Path) -> TextIO:
    if path.suffix.lower() == ".gz":
        return io.TextIOWrapper(gzip.open(path), encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _read_parquet(path: Path) -> Table:
    import pyarrow  # here: the command line should not wait for it
    import pyarrow.parquet

    try:
        columns = pyarrow.parquet.read_table(path).to_pydict()
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as a Parquet file ({str(error).partition(chr(10))[0]}).") from error
    texts = {name: ["" if cell is None else str(cell).strip() for cell in cells] for name, cells in columns.items()}
    for name, cells in texts.items():
        if any("\0" in cell for cell in cells):
            raise DataError(f"{path} has a NUL in the column {name}, which no text has.")
    return Table(path, "row", list(range(1, 1 + max(map(len, texts.values()), default=0))), texts)
