"""A folder of recorded descriptions becomes one file of transcripts, which `dataset` takes as descriptions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from llamafactory_gaze.data.folders import remove_partial_files
from llamafactory_gaze.data.journal import Journal
from llamafactory_gaze.data.registry import write_atomically
from llamafactory_gaze.data.speech.recognition import INAUDIBLE, Recogniser, read_audio
from llamafactory_gaze.data.tables import DataError, Table, read_table


COLUMNS = ("image", "participant", "audio")
Track = Callable[[Sequence[Any]], Iterable[Any]]  # shows progress while a list is gone through


def transcribe(
    recordings: Path,
    audio: Path,
    output: Path,
    recogniser: Callable[[], Recogniser],
    track: Track = lambda items: items,
) -> list[dict[str, Any]]:
    """Transcribe every row's recording and write all of it as a JSON list, whole or not at all.

    What is done stands in a journal beside the output, so that a call after a kill goes on with the first recording
    that is missing. A recording is done anew where its sound or the recogniser has changed.

    Args:
        recordings: CSV, TSV or Parquet with the columns image, participant and audio, a file name in the folder
            `audio`; further columns are kept.
        recogniser: makes the model, once all files have been found.

    Returns:
        for each row its columns, `text`, `words` (`word`, `start`, `end` in seconds), `level_dbfs`, `transcribed_by`.

    Raises:
        DataError: a row or a recording that cannot be used; names file and line.
    """
    if output.suffix != ".json":
        raise DataError(f"The output is {output}; expected a file that ends in .json.")
    table = read_table(recordings)
    table.require(COLUMNS)
    paths = [_path(table, i, audio) for i in range(len(table))]
    rows: list[dict[str, Any]] = []
    with Journal(output.with_name(f".{output.name}.journal")) as journal:
        done: dict[str, dict[str, Any]] = {line["key"]: line["said"] for line in journal.lines}
        model = recogniser()
        for i in track(range(len(table))):
            key = hashlib.sha256(f"{model.name}\0".encode() + paths[i].read_bytes()).hexdigest()
            if key not in done:
                said = model(read_audio(paths[i]))
                words = [{"word": word, "start": start, "end": end} for word, start, end in said.words]
                done[key] = {"text": said.text, "words": words, "level_dbfs": round(said.level_dbfs, 1)}
                journal.add({"key": key, "said": done[key]})
            columns = {name: cells[i] for name, cells in table.columns.items()}
            rows.append({**columns, **done[key], "transcribed_by": model.name})
        remove_partial_files(output.parent, output.name)
        write_atomically(output, (json.dumps(rows, indent=1, ensure_ascii=False) + "\n").encode())
    journal.path.unlink()
    return rows


def summary(rows: Sequence[dict[str, Any]], output: Path) -> list[str]:
    """What the command says at its end."""
    silent = [row["audio"] for row in rows if row["text"] == INAUDIBLE]
    words = sum(len(row["words"]) for row in rows)
    lines = [f"{len(rows)} recordings, {words} words, in {output}, by {rows[0]['transcribed_by']}."]
    if silent:
        shown = ", ".join(silent[:10]) + (f" and {len(silent) - 10} more" if len(silent) > 10 else "")
        lines.append(f"No speech in {len(silent)} of them, whose text is {INAUDIBLE}: {shown}.")
    return [*lines, "Read them against the recordings: a recogniser makes mistakes, and no gap in its text shows them."]


def _path(table: Table, i: int, audio: Path) -> Path:
    empty = next((name for name in COLUMNS if not table.columns[name][i]), None)
    if empty:
        raise DataError(f"{table.at(i)}: the column {empty} is empty.")
    name = table.columns["audio"][i]
    path = audio / name
    if Path(name).is_absolute() or ".." in Path(name).parts or not path.is_file():
        raise DataError(f"{table.at(i)}: the recording {name} is not in {audio}.")
    return path
