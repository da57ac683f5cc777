"""What the model has answered so far: records and batches in a journal, so that nothing is asked twice after a kill.

A line is a record (model, prompt, settings, versions) or a batch that was answered under it. A batch is in the journal
whole or not at all, so the rest is asked in the batches of a run that nobody disturbed.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamafactory_gaze.data.journal import Journal
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


class AnswerJournal:
    """A journal that has been read and can be added to.

    Attributes:
        records: by their hash.
        entries: key of a question -> what was answered, in the order of asking.
    """

    def __init__(self, path: Path) -> None:
        """Opens the journal, or begins it.

        Raises:
            DataError: it is damaged, as no kill leaves it, or another kind of journal.
        """
        self.records: dict[str, dict[str, Any]] = {}
        self.entries: dict[str, list[Entry]] = defaultdict(list)
        self._journal = Journal(path)
        for number, line in enumerate(self._journal.lines, 1):
            try:
                self._take(line)
            except (KeyError, TypeError) as error:
                self.close()
                raise DataError(
                    f"{path}, line {number} is damaged (no {error}); rename the file to begin anew, nothing was "
                    "changed."
                ) from error

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
        self._journal.close()

    def _write(self, line: dict[str, Any]) -> None:
        self._journal.add(line)
        self._take(line)

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
