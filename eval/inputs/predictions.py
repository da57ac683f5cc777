"""A system's captions, as LLaMA-Factory, its vLLM script or anybody else writes them.

`generated_predictions.jsonl` (of `llamafactory-cli train` with `do_predict`, and of `scripts/vllm_infer.py`) has
`prompt`, `predict` and `label` in every row. A file of one's own, JSON lines, a JSON list or CSV with a header, has the
caption in `predict`, `prediction` or `caption`, and where it belongs in the `id` of the data set's row or the `label`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.errors import InputError
from eval.inputs.files import Placed, json_records, read_text, short


CAPTION_COLUMNS = ("predict", "prediction", "caption")


@dataclass(frozen=True)
class Prediction:
    """One caption of a system.

    Attributes:
        place: file and line, for messages.
        id: of the row of the data set, or None.
        label: the human caption that it was made beside, or None.
    """

    place: str
    text: str
    id: str | None
    label: str | None


def read_predictions(path: Path) -> list[Prediction]:
    """Read a file of predictions. Either all of them have an id, or all have a label.

    Raises:
        InputError: an unreadable or empty file, a broken line, a row without a caption, or without id and label.
    """
    found = [_prediction(place, record) for place, record in _records(path)]
    if not found:
        raise InputError(f"{path} is empty: did the prediction run to its end?")
    for name in ("id", "label"):
        if all(getattr(one, name) is not None for one in found):
            return found
    odd = next(one for one in found if one.id is None)
    raise InputError(
        f"{odd.place} has no id, and not all rows of the file have a label, so it is not known what it describes: give "
        "each prediction the id of its row in the data set."
    )


def _records(path: Path) -> Iterator[Placed]:
    return _csv_records(path) if path.suffix.lower() == ".csv" else json_records(path)


def _csv_records(path: Path) -> Iterator[Placed]:
    lines = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        names = lines.fieldnames or []
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise InputError(f"{path} has several columns named {short(twice)}.")
        for record in lines:
            place = f"{path}, line {lines.line_num}"
            if None in record or None in record.values():
                raise InputError(f"{place} has not as many fields as the header: quote texts that hold commas.")
            # In CSV an empty field is no id and no label, but may be an empty caption.
            yield place, {name: text for name, text in record.items() if text or name in CAPTION_COLUMNS}
    except csv.Error as error:
        raise InputError(f"{path}, line {lines.line_num} is no CSV: {error}.") from None


def _prediction(place: str, record: dict[str, Any]) -> Prediction:
    columns = [name for name in CAPTION_COLUMNS if name in record]
    if len(columns) != 1 or not isinstance(record[columns[0]], str):
        what = f"captions in {' and '.join(columns)}" if len(columns) > 1 else "no text in predict"
        raise InputError(
            f"{place} has {what}: expected LLaMA-Factory's generated_predictions.jsonl, or rows with the caption in "
            f"one of {', '.join(CAPTION_COLUMNS)} and the id of the data set's row."
        )
    number, label = record.get("id"), record.get("label")
    if label is not None and not isinstance(label, str):
        raise InputError(f"{place} has a label that is no text.")
    return Prediction(place, record[columns[0]], None if number is None else str(number), label)
