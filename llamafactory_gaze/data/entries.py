"""Registered data sets as LLaMA-Factory finds them: the entries of a name, their columns, their files, their rows."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamafactory_gaze.data.registry import SPLITS, read_registry
from llamafactory_gaze.data.strict_json import parse_json
from llamafactory_gaze.data.tables import DataError


_ENDINGS = (".json", ".jsonl", ".parquet")
_BATCH = 32  # rows of a Parquet file in memory at a time; each may hold its pictures


@dataclass(frozen=True)
class Columns:
    """What the columns and tags of an entry are called; LLaMA-Factory's `sharegpt` names are the defaults."""

    messages: str
    images: str
    saliencies: str
    videos: str | None
    video_saliencies: str
    only_videos: bool  # no column of images is named
    role: str
    content: str
    user: tuple[str, ...]  # who may ask
    assistant: tuple[str, ...]  # who may answer
    system: str


@dataclass(frozen=True)
class Entry:
    """One entry of dataset_info.json."""

    name: str
    settings: Mapping[str, Any]

    @property
    def columns(self) -> Columns:
        columns, tags = self.settings.get("columns") or {}, self.settings.get("tags") or {}
        return Columns(
            messages=columns.get("messages") or "conversations",
            images=columns.get("images") or "images",
            saliencies=columns.get("saliencies") or "saliencies",
            videos=columns.get("videos"),
            video_saliencies=columns.get("video_saliencies") or "video_saliencies",
            only_videos=bool(columns.get("videos") and not columns.get("images")),
            role=tags.get("role_tag", "from"),
            content=tags.get("content_tag", "value"),
            user=(tags.get("user_tag", "human"), tags.get("observation_tag", "observation")),
            assistant=(tags.get("assistant_tag", "gpt"), tags.get("function_tag", "function_call")),
            system=tags.get("system_tag", "system"),
        )

    def beside(self, dataset_dir: Path, name: str) -> Path | None:
        """A file of the data set, such as its card, that stands beside the rows, or a folder up for those of a fold."""
        if "hf_hub_url" in self.settings:
            folders = [Path(self.settings["hf_hub_url"])]
        else:
            folder = (dataset_dir / self.settings.get("file_name", "_")).parent
            folders = [folder, *(up for up in folder.parents[:1] if dataset_dir in up.parents)]
        return next((folder / name for folder in folders if (folder / name).is_file()), None)

    def files(self, dataset_dir: Path) -> list[Path]:
        """The JSON, JSON Lines or Parquet files that hold the rows, in LLaMA-Factory's order.

        Raises:
            DataError: they are not on this disk, or of a kind that is not read here.
        """
        if "file_name" in self.settings and "hf_hub_url" not in self.settings:
            path = dataset_dir / self.settings["file_name"]
            if not os.path.exists(path):
                raise DataError(f"{path} does not exist; it is the `file_name` of {self.name}.")
            files = [path / name for name in os.listdir(path)] if path.is_dir() else [path]
        elif os.path.isdir(self.settings.get("hf_hub_url", "")):
            files = _hub_files(self)
        else:
            raise DataError(
                f"The rows of {self.name} are not on this disk (its entry has no `file_name`); download them first."
            )
        other = sorted(file for file in files if file.suffix.lower() not in _ENDINGS or not file.is_file())
        if other or not files:
            found = other[0] if other else f"{path}, an empty folder"
            raise DataError(f"The rows of {self.name} are in {found}; expected files in {', '.join(_ENDINGS)}.")
        return files


@dataclass(frozen=True)
class Group:
    """The entries that belong to one training: of a data set, or of one of its folds."""

    entries: Mapping[str, Entry]  # stage1, stage2, test -> entry; of a single entry, its name -> entry
    missing: tuple[str, ...] = ()  # names of entries that should be there


def find_groups(dataset_dir: Path, name: str) -> list[Group]:
    """The entries NAME_stage1, NAME_stage2, NAME_test and those of the folds NAME_foldK, or the one entry NAME.

    Raises:
        DataError: there is none, or dataset_info.json cannot be read.
    """
    path = dataset_dir / "dataset_info.json"
    registry = read_registry(dataset_dir)
    if not path.exists():
        raise DataError(f"{path} does not exist; --dataset-dir is the folder of LLaMA-Factory's dataset_info.json.")
    if name in registry:
        return [Group({name: _entry(path, name, registry[name])})]
    pattern = re.compile(rf"({re.escape(name)}(?:_fold\d+)?)_({'|'.join(SPLITS)})")
    prefixes = sorted({match[1] for key in registry if (match := pattern.fullmatch(key))}, key=_natural)
    if not prefixes:
        known = f"; it has {', '.join(registry)}" if registry else ""
        raise DataError(f"{path} has neither an entry {name} nor {name}_stage1, {name}_stage2 or {name}_test{known}.")
    names = {prefix: {split: f"{prefix}_{split}" for split in SPLITS} for prefix in prefixes}
    return [
        Group(
            {split: _entry(path, key, registry[key]) for split, key in of.items() if key in registry},
            tuple(key for key in of.values() if key not in registry),
        )
        for of in names.values()
    ]


def _entry(registry: Path, name: str, settings: Any) -> Entry:
    """An entry whose settings have the types that LLaMA-Factory expects."""
    if not isinstance(settings, Mapping):
        raise DataError(f"{registry}: the entry {name} is a JSON {type(settings).__name__}; expected an object.")
    for key in ("columns", "tags"):
        values = settings.get(key, {})
        if not isinstance(values, Mapping) or not all(isinstance(value, str | None) for value in values.values()):
            raise DataError(f"{registry}: '{key}' of the entry {name} is {values!r:.80}; expected an object of names.")
    for key in ("file_name", "hf_hub_url", "subset", "split"):
        if key in settings and not (isinstance(settings[key], str) and settings[key]):
            raise DataError(f"{registry}: '{key}' of the entry {name} is {settings[key]!r:.80}; expected a text.")
    return Entry(name, settings)


def files_read(dataset_dir: Path, name: str, media_dir: Path | None = None) -> list[Path]:
    """What a training on one entry reads: dataset_info.json, the files of its rows, and the files that these name.

    Args:
        media_dir: of the paths in rows; LLaMA-Factory's default is `dataset_dir`.

    Returns:
        files that exist. Where rows cannot be read, as of a data set on the Hub, nothing but dataset_info.json.
    """
    registry = dataset_dir / "dataset_info.json"
    try:
        entry = _entry(registry, name, read_registry(dataset_dir)[name])
        files = entry.files(dataset_dir)
        columns = entry.columns
        media = [columns.images, columns.saliencies, columns.videos or "", columns.video_saliencies]
        rows = (row for file in files for row in read_rows(file) if isinstance(row, Mapping))
        named = {path for row in rows for column in media for path in _paths(row.get(column))}
    except (DataError, KeyError):
        return [registry]
    # A folder or a pipe that a row names is no picture, and must not be read here either.
    found = [path for path in sorted((media_dir or dataset_dir) / path for path in named) if path.is_file()]
    return [registry, *files, *found]


def _paths(value: Any) -> Iterator[str]:
    """The paths in a column of images, videos or maps, as deep in lists as they are."""
    if isinstance(value, Mapping):
        value = value.get("path") if value.get("bytes") is None else None
    if isinstance(value, list):
        for entry in value:
            yield from _paths(entry)
    elif isinstance(value, str) and "\0" not in value:
        yield value


def listed(value: Any) -> list[Any]:
    """A column of images, maps or videos as a list: LLaMA-Factory takes a single one without its brackets, or null."""
    return value if isinstance(value, list) else [] if value is None else [value]


def read_rows(file: Path) -> Iterator[Any]:
    """Yield the rows of a JSON, JSON Lines or Parquet file, one after the other.

    Raises:
        DataError: the file cannot be read; for JSON Lines, with the line.
    """
    if file.suffix.lower() == ".parquet":
        yield from _parquet_rows(file)
        return
    try:
        with file.open("rb") as opened:
            is_list = _first_character(opened.read(4096)) == "["
        if is_list:
            yield from parse_json(file.read_text(encoding="utf-8-sig"))
            return
        with file.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    try:
                        yield parse_json(line)
                    except ValueError as error:
                        raise DataError(f"{file}, line {number} is not valid JSON ({error}).") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 text ({error.reason}); save it again as UTF-8.") from error
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{file} is not valid JSON ({error}).") from error


def _first_character(start: bytes) -> str:
    return start.decode("utf-8-sig", errors="replace").lstrip()[:1]


def _parquet_rows(file: Path) -> Iterator[Any]:
    import pyarrow  # here: the command line should not wait for it
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(file, pre_buffer=False) as opened:  # a buffer holds the whole file
            for batch in opened.iter_batches(_BATCH):
                yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{file} cannot be read as a Parquet file ({str(error).partition(chr(10))[0]}).") from error


def _hub_files(entry: Entry) -> list[Path]:
    """The files of a data set in the Hub's layout that lies on this disk: what its README.md says of them."""
    from datasets import load_dataset_builder

    settings = entry.settings
    split = settings.get("split", "train")
    try:
        builder = load_dataset_builder(settings["hf_hub_url"], settings.get("subset"))
        return [Path(file) for file in builder.config.data_files[split]]
    except (ValueError, KeyError, OSError) as error:
        raise DataError(
            f"The entry {entry.name} asks for the subset {settings.get('subset')} and split {split} of "
            f"{settings['hf_hub_url']}, which cannot be read ({error})."
        ) from error


def _natural(name: str) -> tuple[str, int]:
    """fold2 before fold10."""
    head, _, number = name.rpartition("_fold")
    return (head, int(number)) if head else (number, -1)
