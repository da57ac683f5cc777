"""What a long job has finished so far, in a file that survives a kill at any moment."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any


class Journal:
    """JSON lines of `{"key", "value"}`, each on disk before `add` returns.

    A line that a kill has cut off is the last one, has no end, and is dropped when the journal is opened again; so a
    job that asks `key in journal` before each piece of work does none twice and loses none. One process at a time.

    Example:
        with Journal(path) as journal:
            for item in items:
                if item.key not in journal:
                    journal.add(item.key, work(item))
        whole = [journal[item.key] for item in items]
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._values: dict[str, Any] = {}
        self._file = path.open("a+b")
        self._file.seek(0)
        end = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            end += len(line)
            entry = json.loads(line)
            self._values[entry["key"]] = entry["value"]
        self._file.truncate(end)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __len__(self) -> int:
        return len(self._values)

    def add(self, key: str, value: Any) -> None:
        """Write one finished piece of work down."""
        self._file.write(json.dumps({"key": key, "value": value}, ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._values[key] = value

    def remove(self) -> None:
        """Close and delete the file, once its content stands elsewhere."""
        self._file.close()
        self.path.unlink()
