"""Checks of all rows of one entry together: what stands twice, and what stands out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from llamafactory_gaze.data.validation.problems import Finding, Problem
from llamafactory_gaze.data.validation.scan import Row


_TIMES = 5  # shorter or longer than the median answer by this factor is an outlier
_REPEATED_ROWS, _REPEATED_SHARE = 10, 0.1  # rows with one text, below which it is no matter


def check_repetition(rows: Sequence[Row]) -> Iterator[Problem]:
    """Rows that stand twice; and where they differ, ids, and viewings of an image by a participant, that do.

    Two people who say the same are no repetition: where maps are of all people, and after normalisation, they may.
    """
    contents: dict[tuple[bytes, str | None], Row] = {}
    ids: dict[str, Row] = {}
    viewings: dict[tuple[str, str, str | None], Row] = {}
    for row in rows:
        first = contents.setdefault((row.digest, row.participant), row)
        if first is not row:
            yield row.problem(
                Finding(
                    "duplicate-row", f"images, maps and text are those of {_place(first, row)} again; leave one out."
                )
            )
            continue
        if row.id is not None and (first := ids.setdefault(row.id, row)) is not row:
            yield row.problem(Finding("duplicate-id", f"the id stands in {_place(first, row)} already; rename it."))
        if row.image_id is None or row.participant is None:
            continue
        first = viewings.setdefault((row.image_id, row.participant, row.trial), row)
        if first is not row:
            yield row.problem(
                Finding(
                    "duplicate-viewing",
                    f"image {row.image_id} by participant {row.participant} stands in {_place(first, row)} already; "
                    "expected one row for each (and trial); leave one out, or correct a name.",
                )
            )


def check_repeated_text(rows: Sequence[Row]) -> Iterator[Problem]:
    """One answer on many rows of several images: often a default that a form filled in."""
    of_answer: dict[str, list[Row]] = {}
    for row in rows:
        of_answer.setdefault(row.answer.strip(), []).append(row)
    for answer, same in of_answer.items():
        many = len(same) >= max(_REPEATED_ROWS, _REPEATED_SHARE * len(rows))
        if answer and many and len({row.image_id or row.images for row in same}) > 1:
            finding = Finding(
                "repeated-text",
                f"the answer '{_short(answer)}' stands in {len(same)} of {len(rows)} rows; expected descriptions of "
                "single images; was it really said?",
                warning=True,
            )
            yield same[0].problem(finding)


def check_lengths(rows: Sequence[Row]) -> Iterator[Problem]:
    """Answers that are much shorter or longer than the others."""
    words = [len(row.answer.split()) for row in rows]
    middle = median([n for n in words if n] or [0])
    for row, number in zip(rows, words, strict=True):
        if number and (number * _TIMES < middle or number > _TIMES * middle):
            finding = Finding(
                "length",
                f"the answer has {number} word{'s' * (number > 1)} ('{_short(row.answer)}'), the median is "
                f"{middle:g}; is it whole, and a description?",
                warning=True,
            )
            yield row.problem(finding)


def _place(first: Row, row: Row) -> str:
    """Where `first` stands, seen from `row`."""
    where = f"row {first.number}" + (f" (id {first.id})" if first.id not in (None, row.id) else "")
    return where if first.file == row.file else f"{first.file}, {where}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 40 else text[:37] + "..."
