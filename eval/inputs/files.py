"""JSON and JSON lines, each record with its place, for messages. Nothing in a file is executed or fetched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eval.errors import InputError
from llamafactory_gaze.data.places import require_file
from llamafactory_gaze.data.strict_json import parse_json


Record = dict[str, Any]
Placed = tuple[str, Record]  # "file, line 3", and what stands there


def json_records(path: Path) -> Iterator[Placed]:
    """The objects of a JSON list or of JSON lines.

    Raises:
        InputError: a file that cannot be read, broken JSON, or something that is no object.
    """
    text = read_text(path)
    if not text.lstrip().startswith("["):
        yield from _json_lines(path, text)
        return
    try:
        records = parse_json(text)
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {error}.") from None
    for number, record in enumerate(records):
        place = f"{path}, row {number}"
        yield place, _object(record, place)


def _json_lines(path: Path, text: str) -> Iterator[Placed]:
    # Not splitlines: it also splits at characters such as U+2028, which may stand unescaped inside a caption.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            place = f"{path}, line {number}"
            try:
                record = parse_json(line)
            except json.JSONDecodeError as error:
                raise InputError(f"{place} is no JSON ({error.msg}): was the file cut off or edited?") from None
            except ValueError as error:
                raise InputError(f"{place} is none of our records: {error}.") from None
            yield place, _object(record, place)


def read_text(path: Path) -> str:
    """A whole file, UTF-8 with or without a byte order mark.

    Raises:
        InputError: it cannot be read.
    """
    try:
        require_file(path)
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is no UTF-8 text.") from None
    except ValueError as error:
        raise InputError(f"{str(path)!r} cannot be the name of a file ({error}).") from None


def short(text: str, width: int = 70) -> str:
    """A text in quotes on one line, cut to `width` characters."""
    text = " ".join(text.split())
    return f'"{text}"' if len(text) <= width else f'"{text[: width - 3]}..."'


def _object(record: Any, place: str) -> Record:
    if not isinstance(record, dict):
        raise InputError(f"{place} is no JSON object but {short(json.dumps(record))}.")
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InputError(f"{place} holds half a character (a lone surrogate): was a text cut in the middle?") from None
    return record
