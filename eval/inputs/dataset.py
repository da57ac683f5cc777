"""The data set that was predicted on: what one person said about one image, row by row."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval.errors import InputError
from eval.inputs.files import json_records, short


_SPECIAL_TOKENS = re.compile(r"<\|[^<>|]*\|>|</?s>|<(?:pad|eos|bos|unk)>")
_HUMAN_CAPTION = {"gpt", "assistant"}  # who speaks the reference, in sharegpt's and in OpenAI's words

MOST_GROUPS = 12  # of one column; more would be tables of a few captions each

SIMULATED = "The data set calls itself simulated: these numbers say nothing about people."


@dataclass(frozen=True)
class Row:
    """One row of the data set: what one person said about one image.

    Attributes:
        row: its number in the data set, from 0.
        target: the person's own caption, the reference of every metric.
        image: path of the image as the data set writes it, or None.
        saliency: path of its gaze map, or None.
        groups: what the row says in the columns of the subgroup reports; a column that it leaves empty is missing.
        attended: names of the objects that the participant looked at; unattended: the row's other objects. Both are
            empty where the row does not tell both.
    """

    row: int
    id: str
    image_id: str
    participant: str | None
    category: str | None
    target: str
    image: str | None
    saliency: str | None
    groups: dict[str, str] = field(default_factory=dict)
    attended: tuple[str, ...] = ()
    unattended: tuple[str, ...] = ()


def read_dataset(path: Path, by: Sequence[str] = ()) -> tuple[list[Row], str | None]:
    """Read a LLaMA-Factory data set, a JSON list or JSON lines, in the sharegpt or the OpenAI style.

    The last assistant turn is the reference. `image_id` defaults to the path of the first image and `id` to the row
    number; `participant` and `category` may be missing.

    Returns:
        the rows, and a sentence if any row says `"simulated": true` (or gives the sentence itself), else None.

    Raises:
        InputError: an unreadable or empty file, a row without a caption or an image, or a column of `by` that no row
            has or that makes more than `MOST_GROUPS` groups.
    """
    rows: list[Row] = []
    simulated: str | None = None
    for place, record in json_records(path):
        rows.append(_row(len(rows), record, place, by))
        if record.get("simulated") and simulated is None:
            simulated = record["simulated"] if isinstance(record["simulated"], str) else SIMULATED
    if not rows:
        raise InputError(f"{path} has no rows: give the data set (JSON list or JSON lines) that was predicted on.")
    for column in by:
        _check_groups(path, column, {row.groups[column] for row in rows if column in row.groups})
    return rows, simulated


def clean(text: str) -> str:
    """A caption without the special tokens of a chat template, such as <|im_end|>, and without outer white space."""
    return _SPECIAL_TOKENS.sub("", text).strip()


def _check_groups(path: Path, column: str, groups: set[str]) -> None:
    if not groups:
        raise InputError(f"No row of {path} has a value in the column {column}, so there are no groups to go by.")
    if len(groups) > MOST_GROUPS:
        raise InputError(
            f"The column {column} of {path} has {len(groups)} different values: at most {MOST_GROUPS} groups can be "
            "told apart; write ranges or classes instead, for instance 18-29 for an age."
        )


def _row(number: int, record: dict[str, Any], place: str, by: Sequence[str]) -> Row:
    image, saliency = _first(record.get("images")), _first(record.get("saliencies"))
    image_id = record.get("image_id", image)
    if image_id is None:
        raise InputError(f"{place} has neither an image_id nor an image: captions of one image must be known as such.")
    attended, unattended = _objects(record, place)
    return Row(
        row=number,
        id=str(record.get("id", number)),
        image_id=str(image_id),
        participant=_text(record.get("participant")),
        category=_text(record.get("category")),
        target=_reference(record, place),
        image=image,
        saliency=saliency,
        groups={column: text for column in by if (text := _text(record.get(column))) is not None},
        attended=attended,
        unattended=unattended,
    )


def _objects(record: dict[str, Any], place: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The different names in `looked_at`, and those in `objects` that are not among them."""
    for column in ("looked_at", "objects"):
        names = record.get(column, [])
        if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
            raise InputError(f"{place} has {short(json.dumps(names))} in {column}: expected a list of names.")
    if "looked_at" not in record or "objects" not in record:
        return (), ()
    attended = tuple(dict.fromkeys(record["looked_at"]))
    return attended, tuple(name for name in dict.fromkeys(record["objects"]) if name not in attended)


def _reference(record: dict[str, Any], place: str) -> str:
    turns = record.get("conversations", record.get("messages"))
    if isinstance(turns, list):
        for turn in reversed(turns):
            if isinstance(turn, dict) and turn.get("from", turn.get("role")) in _HUMAN_CAPTION:
                text = turn.get("value", turn.get("content"))
                if isinstance(text, str) and clean(text):
                    return clean(text)
                break
    raise InputError(
        f"{place} has no human caption: expected a last turn from gpt (or assistant) with text, in conversations "
        "(from, value) or messages (role, content)."
    )


def _first(paths: Any) -> str | None:
    """The first of a list of paths; a single path counts as a list, embedded images (mappings) have no path."""
    if isinstance(paths, list):
        paths = paths[0] if paths else None
    return paths if isinstance(paths, str) else None


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)
