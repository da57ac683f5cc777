"""Transcripts in JSON, as recognisers of speech write them: the text of a recording, or its words with their times."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict

from llamafactory_gaze.data.tables import DataError, Table


ENDINGS = (".json", ".jsonl", ".ndjson")
_SHAPES = (
    "expected a list of transcripts, an object whose values are transcripts, or one with a list `segments` of them; a "
    "transcript is an object with image, participant, and a text or words"
)


class Word(TypedDict):
    """A spoken word, and when: seconds from the beginning of the recording."""

    word: str
    start: float
    end: float


def read_transcripts(path: Path) -> tuple[Table, list[list[Word]]]:
    """Read transcripts as a table of descriptions, and the timed words of each row (none where the file has none).

    The file is a list of transcripts, an object whose values are transcripts (its keys are not used), an object with a
    list `segments` or `transcripts` of them, a single transcript, or JSON lines (.jsonl, .ndjson), one transcript each.
    A transcript has `image` and `participant`, and what was said: `description`, or `text`, or `words` (objects with
    word, start and end), or `segments` that have a text or words. All other fields become columns.

    Raises:
        DataError: names the file and the transcript: no JSON, a key twice in an object, another shape, a field that is
            no text or number, a word without times.
    """
    unit, found = _find(path)
    if not found:
        raise DataError(f"{path} holds no transcripts.")
    rows: list[dict[str, str]] = []
    words: list[list[Word]] = []
    for number, transcript in found:
        row, spoken = _read(transcript, f"{path}, {unit} {number}")
        rows.append(row)
        words.append(spoken)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = {name: [row.get(name, "") for row in rows] for name in columns}
    return Table(path, unit, [number for number, _ in found], cells), words


def _find(path: Path) -> tuple[str, list[tuple[int, Any]]]:
    """What to call a transcript of this file, and the transcripts with their numbers."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"The file {path} does not exist.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text ({error}).") from error
    if path.suffix.lower() != ".json":
        lines = enumerate(text.split("\n"), start=1)
        return "line", [(number, _parse(line, f"{path}, line {number}")) for number, line in lines if line.strip()]
    content = _parse(text, str(path))
    if isinstance(content, dict):
        if "image" in content:
            content = [content]
        else:
            lists = [content[key] for key in ("segments", "transcripts") if isinstance(content.get(key), list)]
            content = lists[0] if lists else list(content.values())
    if not isinstance(content, list):
        raise DataError(f"{path} holds a JSON {type(content).__name__}; {_SHAPES}.")
    return "transcript", list(enumerate(content, start=1))


def _parse(text: str, where: str) -> Any:
    def without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            keys = [key for key, _ in pairs]
            raise DataError(f"{where}: an object has the key '{next(k for k in keys if keys.count(k) > 1)}' twice.")
        return content

    try:
        return json.loads(text, object_pairs_hook=without_twins)
    except DataError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not valid JSON ({error}).") from error


def _read(transcript: Any, where: str) -> tuple[dict[str, str], list[Word]]:
    if not (isinstance(transcript, dict) and {"image", "participant"} <= transcript.keys()):
        found = ", ".join(transcript) if isinstance(transcript, dict) else type(transcript).__name__
        raise DataError(f"{where}: found {found or 'an empty object'}; {_SHAPES}.")
    fields = dict(transcript)
    segments = _list(fields.pop("segments", None), f"{where}: segments")
    spoken = list(_words(fields.pop("words", None), where))
    for i, segment in enumerate(segments):
        if not isinstance(segment, dict):
            raise DataError(f"{where}: segment {i} is {type(segment).__name__}; expected an object.")
    if not spoken:
        for i, segment in enumerate(segments):
            spoken += _words(segment.get("words"), f"{where}, segment {i}")
    said = fields.pop("description", None)
    if said is None:
        said = fields.pop("text", None)
    if said is None:
        texts = [segment["text"] for segment in segments if isinstance(segment.get("text"), str)]
        said = _joined(texts if texts and len(texts) == len(segments) else [word["word"] for word in spoken])
    row = {name: _cell(value, f"{where}: {name}") for name, value in fields.items()}
    row["description"] = _cell(said, f"{where}: the description")
    return row, [{**word, "word": word["word"].strip()} for word in spoken]


def _words(words: Any, where: str) -> Iterator[Word]:
    for i, word in enumerate(_list(words, f"{where}: words")):
        name = f"{where}: word {i}"
        if not (isinstance(word, dict) and isinstance(word.get("word"), str)):
            raise DataError(
                f"{name} is {json.dumps(word, ensure_ascii=False)}; expected an object with word, start, end."
            )
        start, end = (_seconds(word, key, name) for key in ("start", "end"))
        if not start <= end:
            raise DataError(f"{name}, '{word['word']}', ends at {end:g} s, before it starts at {start:g} s.")
        yield {"word": word["word"], "start": start, "end": end}


def _seconds(word: Mapping[str, Any], key: str, where: str) -> float:
    value = word.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value >= 0):
        raise DataError(f"{where}, '{word['word']}', has the {key} {value}; expected seconds, 0 or more.")
    return float(value)


def _list(value: Any, where: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise DataError(f"{where} is {type(value).__name__}; expected a list.")
    return value


def _joined(pieces: list[str]) -> str:
    """One text of segments or words; some recognisers write the space between two as the beginning of the second."""
    return ("" if any(piece.startswith(" ") for piece in pieces[1:]) else " ").join(pieces).strip()


def _cell(value: Any, where: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise DataError(f"{where} is {type(value).__name__}; expected a text or a number.")
    return str(value).strip()
