"""LLaMA-Factory's predictions, joined to the data set that they were made on.

`generated_predictions.jsonl` knows neither image nor person: its rows are `prompt`, `predict` and `label`, in the order
of the data set. So rows are joined by order, and every label has to be the data set's own caption; otherwise a file of
another split, or of a shortened run, would be compared with the wrong people without a word.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval.errors import InputError


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


@dataclass(frozen=True)
class Joined:
    """A data set with the captions of several systems on it.

    Attributes:
        captions: for each system one caption per row; `baseline` first, `injected` second, then the controls.
        simulated: the sentence that must stand wherever results stand, or None for real data.
    """

    rows: list[Row]
    captions: dict[str, list[str]]
    simulated: str | None


def read_joined(dataset: Path, predictions: dict[str, Path], by: Sequence[str] = ()) -> Joined:
    """Read a data set and the prediction files of named systems, and check that they belong together.

    Args:
        by: columns of the data set for subgroup reports.

    Raises:
        InputError: a file that cannot be read, or that was not made on this data set; a column that makes no groups.
    """
    rows, simulated = read_dataset(dataset, by)
    captions = {name: _captions_for(rows, path, dataset) for name, path in predictions.items()}
    return Joined(rows, captions, simulated)


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
    for place, record in _records(path):
        rows.append(_row(len(rows), record, place, by))
        if record.get("simulated") and simulated is None:
            simulated = record["simulated"] if isinstance(record["simulated"], str) else SIMULATED
    if not rows:
        raise InputError(f"{path} has no rows: give the data set (JSON list or JSON lines) that was predicted on.")
    for column in by:
        _check_groups(path, column, {row.groups[column] for row in rows if column in row.groups})
    return rows, simulated


def read_predictions(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Read a `generated_predictions.jsonl`: each row with its place, for messages.

    Raises:
        InputError: an unreadable or empty file, a broken line, or a row without text in `predict` and `label`.
    """
    records = list(_json_lines(path, _read_text(path)))
    if not records:
        raise InputError(f"{path} is empty: did the prediction run to its end?")
    for place, record in records:
        for name in ("predict", "label"):
            if not isinstance(record.get(name), str):
                raise InputError(
                    f'{place} has no text in "{name}": expected LLaMA-Factory\'s generated_predictions.jsonl, with '
                    "prompt, predict and label in every row."
                )
    return records


def _captions_for(rows: Sequence[Row], path: Path, dataset: Path) -> list[str]:
    records = read_predictions(path)
    if len(records) != len(rows):
        raise InputError(
            f"{path} has {len(records)} predictions but {dataset} has {len(rows)} rows: predict on exactly this data "
            "set (max_samples cuts a run short), or give the data set that was predicted on."
        )
    for row, (place, record) in zip(rows, records, strict=True):
        expected, found = _comparable(row.target), _comparable(record["label"])
        if found != expected:
            why = "predict on this data set again, or give the one that was predicted on"
            if found and expected.startswith(found):
                why = "the label is only the beginning of it, so the prediction ran with too small a cutoff_len"
            raise InputError(
                f"{place} does not belong to row {row.row} of {dataset}: its label is {_short(record['label'])}, "
                f"expected the caption {_short(row.target)}; {why}."
            )
    return [clean(record["predict"]) for _, record in records]


def clean(text: str) -> str:
    """A caption without the special tokens of a chat template, such as <|im_end|>, and without outer white space."""
    return _SPECIAL_TOKENS.sub("", text).strip()


def _comparable(text: str) -> str:
    """A text without what a tokenizer may change on the way there and back: white space and the Unicode form."""
    return "".join(unicodedata.normalize("NFC", clean(text)).split())


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
            raise InputError(f"{place} has {_short(json.dumps(names))} in {column}: expected a list of names.")
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


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a JSON list or of JSON lines, each with its place, for messages."""
    text = _read_text(path)
    if not text.lstrip().startswith("["):
        yield from _json_lines(path, text)
        return
    try:
        records = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is no JSON: {error}.") from None
    for number, record in enumerate(records):
        place = f"{path}, row {number}"
        yield place, _object(record, place)


def _json_lines(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    # Not splitlines: it also splits at characters such as U+2028, which may stand unescaped inside a caption.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            place = f"{path}, line {number}"
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(f"{place} is no JSON ({error.msg}): was the file cut off or edited?") from None
            yield place, _object(record, place)


def _object(record: Any, place: str) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise InputError(f"{place} is no JSON object but {_short(json.dumps(record))}.")
    return record


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is no UTF-8 text.") from None


def _short(text: str, width: int = 70) -> str:
    text = " ".join(text.split())
    return f'"{text}"' if len(text) <= width else f'"{text[: width - 3]}..."'
