"""What a long job has finished so far, in a file that survives a kill at any moment."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.os_errors import named


class Journal:
    """JSON lines that are only added to, each on the disk before `add` returns. Only one process may have it open.

    A line counts once its end is there. What a kill leaves of a line is cut off when the journal is opened again, so a
    job that writes a line for each finished piece of work does none twice and loses none.

    Attributes:
        lines: all that was added, also before the journal was opened.
    """

    def __init__(self, path: Path) -> None:
        """Opens the journal, or begins it.

        Raises:
            DataError: a line that is not the last is damaged, as no kill leaves it.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes() if path.exists() else b""
        self.lines, whole = self._read(content)
        self._file = path.open("ab")
        if whole < len(content):
            self._file.truncate(whole)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, line: Any) -> None:
        """Writes one finished piece of work down."""
        with named(self.path):
            self._file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        self.lines.append(line)

    def close(self) -> None:
        with named(self.path):
            self._file.close()

    def _read(self, content: bytes) -> tuple[list[Any], int]:
        """All whole lines, and how many bytes they are."""
        found = []
        whole = 0
        *lines, rest = content.split(b"\n")  # behind the last newline stands what a kill left of a line
        for number, line in enumerate(lines, 1):
            try:
                found.append(json.loads(line))
            except ValueError as error:
                if number == len(lines) and not rest:  # a crash of the machine can leave zeros in place of the end
                    break
                raise DataError(
                    f"{self.path}, line {number} is damaged ({error}); rename the file to begin anew, nothing was "
                    "changed."
                ) from error
            whole += len(line) + 1
        return found, whole
