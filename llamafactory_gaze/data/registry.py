"""The registry of a LLaMA-Factory data folder: `dataset_info.json`, and the entry that makes a file a gaze data set.

LLaMA-Factory resolves the images of a row against `media_dir`, which defaults to `dataset_dir`: rows hold paths
relative to the folder of `dataset_info.json`. It ignores keys that it does not know, so `made_by` may mark our entries.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from llamafactory_gaze.data.folders import hold, remove_partial_files
from llamafactory_gaze.data.strict_json import parse_json
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.os_errors import named


MADE_BY = "llamafactory-gaze dataset"
SPLITS = ("stage1", "stage2", "test")  # a data set NAME is registered as NAME_stage1 and so on


def key_of(split: str, name: str) -> str:
    """The key of some rows, which is also their file without its ending: "test", or "fold1/test"."""
    return f"{split}/{name}" if split else name


def gaze_entry(file_name: str) -> dict[str, Any]:
    """The registry entry of a data set of rows with `conversations`, `images` and `saliencies`."""
    return {
        "file_name": file_name,
        "formatting": "gaze",
        "columns": {"messages": "conversations", "images": "images", "saliencies": "saliencies"},
        "made_by": MADE_BY,
    }


def read_registry(dataset_dir: Path) -> dict[str, Any]:
    """The entries of `dataset_info.json`, in order; none where the file does not exist.

    Raises:
        DataError: the file is not a JSON object.
    """
    path = dataset_dir / "dataset_info.json"
    if not path.exists():
        return {}
    if not path.is_file():
        raise DataError(f"{path} is no file, but a folder, a device or a pipe; nothing was changed.")
    try:
        entries = parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON ({error}); correct it by hand, nothing was changed.") from error
    if not isinstance(entries, dict):
        raise DataError(f"{path} holds a JSON {type(entries).__name__}; expected an object of data set entries.")
    return entries


def foreign_entries(dataset_dir: Path, names: Iterable[str]) -> list[str]:
    """Those of `names` that are registered, but not by this command."""
    entries = read_registry(dataset_dir)
    return [
        name
        for name in names
        if name in entries and not (isinstance(entries[name], dict) and entries[name].get("made_by") == MADE_BY)
    ]


def own_entries(dataset_dir: Path, folder: str) -> list[str]:
    """The names of the entries that this command made for files of a folder of the registry's folder."""
    return [
        name
        for name, entry in read_registry(dataset_dir).items()
        if isinstance(entry, dict)
        and entry.get("made_by") == MADE_BY
        and str(entry.get("file_name")).startswith(f"{folder}/")
    ]


def register(dataset_dir: Path, entries: Mapping[str, Mapping[str, Any]], stale: Iterable[str] = ()) -> None:
    """Add entries to `dataset_info.json`, or replace them in place; all others stay as they are, in their order.

    Args:
        stale: names of entries that go, unless they are among the new ones.
    """
    remove_partial_files(dataset_dir, "dataset_info.json")
    registry = read_registry(dataset_dir)
    for name in set(stale) - set(entries):
        registry.pop(name, None)
    registry.update({name: dict(entry) for name, entry in entries.items()})
    text = json.dumps(registry, indent=2, ensure_ascii=False) + "\n"
    write_atomically(dataset_dir / "dataset_info.json", text.encode())


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, finds either the old file or the new one, whole."""
    path = path.resolve()  # a link stays a link
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with named(path), temporary.open("xb") as file:
            hold(file.fileno())
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
