"""The review by hand: `review.csv` in the data set's folder, which people fill in and every new run reads again."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from llamafactory_gaze.data.tables import DataError, read_table
from llamafactory_gaze.data.triples.descriptions import Description
from llamafactory_gaze.data.triples.pseudonyms import CODE, Pseudonyms


FILE = "review.csv"
COLUMNS = ("id", "image", "participant", "description", "automatic_reason", "verdict", "note")
GONE = "no longer among the descriptions"
Verdict = Literal["accept", "reject", ""]


@dataclass(frozen=True)
class Line:
    """One line of the list; `more` are columns that people added."""

    id: str
    image: str
    participant: str
    description: str
    automatic_reason: str
    verdict: str
    note: str
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return not (self.verdict or self.note or any(self.more.values()))


def read_review(path: Path) -> dict[str, Line]:
    """id -> its line.

    Raises:
        DataError: a column is missing, a verdict is none, or an id stands there twice with different verdicts or notes.
    """
    table = read_table(path)
    table.require(COLUMNS, "; this is not the review list of a data set: move it away, or give the columns back")
    more = [name for name in table.columns if name not in COLUMNS]
    lines: dict[str, Line] = {}
    for i in range(len(table)):
        cells = {name: table.columns[name][i] for name in COLUMNS}
        verdict = cells["verdict"].casefold()
        if verdict not in ("accept", "reject", ""):
            raise DataError(f"{table.at(i)}: the verdict is '{cells['verdict']}'; expected accept, reject, or nothing.")
        line = Line(**(cells | {"verdict": verdict}), more={name: table.columns[name][i] for name in more})
        if lines.setdefault(line.id, line) != line:
            raise DataError(f"{table.at(i)}: a second line for {line.id} that says something else; keep one of them.")
    return lines


def merge(former: Mapping[str, Line], newer: Mapping[str, Line]) -> dict[str, Line]:
    """Two lists in one; where both have said something about a sample, the newer counts."""
    return dict(former) | {id: line for id, line in newer.items() if not line.empty or id not in former}


def with_codes(lines: Mapping[str, Line], pseudonyms: Pseudonyms) -> dict[str, Line]:
    """A list that may still be keyed by ids of participants, keyed by codes."""
    known = set(pseudonyms.ids)
    coded: dict[str, Line] = {}
    for line in lines.values():
        if line.participant in known or not CODE.fullmatch(line.participant):
            code = pseudonyms.code(line.participant)
            image_id = str(PurePosixPath(line.image).with_suffix(""))
            trial = line.id.removeprefix(f"{image_id}_{line.participant}")
            line = replace(line, id=f"{image_id}_{code}{trial}", participant=code)
        coded = merge(coded, {line.id: line})
    return coded


def update(former: Mapping[str, Line], descriptions: Sequence[Description], automatic: Mapping[str, str]) -> list[Line]:
    """The list of a new run: a line for each description, then what people said about samples that are gone.

    Args:
        automatic: id -> why a rule excludes the sample.
    """
    blank = Line("", "", "", "", "", "", "")
    lines = [
        replace(
            former.get(one.id, blank),
            id=one.id,
            image=one.image,
            participant=one.participant,
            description=one.text,
            automatic_reason=automatic.get(one.id, ""),
        )
        for one in descriptions
    ]
    present = {line.id for line in lines}
    gone = [line for line in former.values() if line.id not in present and not line.empty]
    return lines + [replace(line, automatic_reason=GONE) for line in gone]


def review_table(lines: Iterable[Line]) -> bytes:
    """The content of `review.csv`, with the mark by which spreadsheet programs know UTF-8."""
    lines = list(lines)
    more = list(dict.fromkeys(name for line in lines for name in line.more))
    text = io.StringIO()
    writer = csv.writer(text)  # ends lines in \r\n: with \n alone it would not quote a cell that holds a \r
    writer.writerow((*COLUMNS, *more))
    for line in lines:
        writer.writerow([*(getattr(line, name) for name in COLUMNS), *(line.more.get(name, "") for name in more)])
    return text.getvalue().encode("utf-8-sig")
