"""What the model has answered so far, on disk before the next batch begins: nothing is asked twice after a kill.

A journal is a text file of JSON lines, one for a record (model, prompt, settings, versions) and one for each batch that
was answered under it. A line counts once its newline is there, and it is written and synced to the disk as a whole;
what a kill leaves of a line is cut off when the file is opened again. So a batch is in it whole or not at all, and the
rest is asked in the batches of a run that nobody disturbed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamafactory_gaze.data.tables import DataError


@dataclass(frozen=True)
class Answer:
    """What the model said to one question."""

    text: str  # without white space around it
    complete: bool  # False: it was still talking when max_new_tokens were reached
    tokens: int


@dataclass(frozen=True)
class Entry:
    record: str  # a key of `Journal.records`
    answer: Answer


class Journal:
    """A journal that has been read and can be added to. Only one process may have it open.

    Attributes:
        records: by their hash.
        entries: key of a question -> what was answered, in the order of asking.
    """

    def __init__(self, path: Path) -> None:
        """Opens the journal, or begins it.

        Raises:
            DataError: a line that is not the last is damaged, as no kill leaves it.
        """
        self.path = path
        self.records: dict[str, dict[str, Any]] = {}
        self.entries: dict[str, list[Entry]] = defaultdict(list)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes() if path.exists() else b""
        whole = self._read(content)
        self._file = path.open("ab")
        if whole < len(content):
            self._file.truncate(whole)

    def add(self, record: Mapping[str, Any], answers: Sequence[tuple[str, str, Answer]]) -> None:
        """Adds one batch.

        Args:
            record: what it was answered under.
            answers: (id of the row, key of the question, answer).
        """
        record_id = hash_of(record)[:12]
        if record_id not in self.records:
            self._write({"record": record_id, "settings": dict(record)})
        self._write(
            {
                "record": record_id,
                "batch": [
                    {"id": row, "key": key, "text": a.text, "complete": a.complete, "tokens": a.tokens}
                    for row, key, a in answers
                ],
            }
        )

    def close(self) -> None:
        self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._take(line)

    def _read(self, content: bytes) -> int:
        """Takes in all whole lines, and returns how many bytes they are."""
        lines = content.split(b"\n")
        whole = 0
        for i, line in enumerate(lines[:-1], 1):  # behind the last newline stands what a kill left of a line
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                if i == len(lines) - 1 and not lines[-1]:  # a crash of the machine can leave zeros in place of the end
                    break
                raise DataError(
                    f"{self.path}, line {i} is damaged ({error}); rename the file to begin anew, nothing was changed."
                ) from error
            whole += len(line) + 1
        return whole

    def _take(self, line: dict[str, Any]) -> None:
        if "settings" in line:
            self.records[line["record"]] = line["settings"]
            return
        if line["record"] not in self.records:
            raise KeyError(f"record {line['record']}")
        taken = [
            (row["key"], Entry(line["record"], Answer(row["text"], row["complete"], row["tokens"])))
            for row in line["batch"]
        ]
        for key, entry in taken:
            self.entries[key].append(entry)


def hash_of(content: Any) -> str:
    """The SHA-256 of something that JSON can hold; equal content gives equal hashes."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
