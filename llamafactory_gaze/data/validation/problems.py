"""What a check finds, and how it is said: one line that names the file, the row, the fault, and what to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from llamafactory_gaze.data.places import brief, printable


@dataclass(frozen=True)
class Finding:
    """A fault without its place."""

    kind: str  # a short word for machines, such as "map-aspect"
    message: str  # what, expected what, what to do
    warning: bool = False  # it may be as intended


@dataclass(frozen=True)
class Problem:
    """A fault with its place."""

    kind: str
    message: str
    warning: bool
    file: str
    row: int | None = None  # from 0, as LLaMA-Factory's own messages count
    id: str | None = None
    more_rows: int = 0  # that have the same fault, because they use the same picture

    @classmethod
    def of(cls, finding: Finding, file: str, row: int | None = None, id: str | None = None, more: int = 0) -> Problem:
        id = None if id is None else brief(id)
        return cls(finding.kind, printable(finding.message), finding.warning, file, row, id, more)

    def __str__(self) -> str:
        where = self.file
        if self.row is not None:
            where += f", row {self.row}" + (f" (id {self.id})" if self.id is not None else "")
        if self.more_rows:
            where += f" and {self.more_rows} more row{'s' * (self.more_rows > 1)}"
        return f"{where}: {self.message}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)
