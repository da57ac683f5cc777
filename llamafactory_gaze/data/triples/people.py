"""The table of participants: what is known of each person, as further fields of the rows, for reports by subgroup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from llamafactory_gaze.data.tables import DataError, read_table
from llamafactory_gaze.data.triples.descriptions import RESERVED, Description


def read_people(path: Path) -> dict[str, dict[str, str]]:
    """participant -> the other columns; cells may be empty.

    Raises:
        DataError: no column participant or nothing beside it, a column that rows have already, a participant twice.
    """
    table = read_table(path)
    table.require(("participant",))
    columns = [name for name in table.columns if name != "participant"]
    clash = [name for name in columns if name in RESERVED or name in ("", "image", "trial", "description", "category")]
    if clash or not columns:
        problem = f"has a column '{clash[0]}', which is not about people" if clash else "has no other column"
        raise DataError(f"{path} {problem}; expected participant and what is known of each, for example age.")
    people: dict[str, dict[str, str]] = {}
    for i, participant in enumerate(table.columns["participant"]):
        if not participant or participant in people:
            problem = (
                f"a second row for participant {participant}" if participant else "the column participant is empty"
            )
            raise DataError(f"{table.at(i)}: {problem}; expected one row per participant.")
        people[participant] = {name: table.columns[name][i] for name in columns}
    return people


def join_people(
    descriptions: Sequence[Description], people: dict[str, dict[str, str]], path: Path
) -> list[Description]:
    """The descriptions with the fields of their speakers.

    Raises:
        DataError: a speaker who is not in the table, or a column that the descriptions have too.
    """
    joined: list[Description] = []
    for description in descriptions:
        known = people.get(description.participant)
        if known is None:
            raise DataError(
                f"{path} has no row for participant {description.participant} ({description.where}); add one, its "
                "cells may be empty."
            )
        clash = sorted(known.keys() & (description.extra.keys() | {"normalized"}))
        if clash:
            raise DataError(f"{path} and {description.where} both have a column '{clash[0]}'; rename one of them.")
        joined.append(replace(description, extra=description.extra | known))
    return joined
