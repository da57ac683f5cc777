"""The descriptions that are normalised: the rows of NAME_stage2, and what NAME_stage1 holds now."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamafactory_gaze.data import registry
from llamafactory_gaze.data.entries import Entry
from llamafactory_gaze.data.provenance import file_sha256
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.data.triples.descriptions import PLACEHOLDER


ORIGINAL, NORMALIZATION = "original", "normalization"  # the fields that a normalised row has beside the others


@dataclass(frozen=True)
class Sample:
    """One row of NAME_stage2."""

    row: dict[str, Any]
    images: tuple[Path, ...]

    @property
    def id(self) -> str:
        return str(self.row["id"])

    @property
    def text(self) -> str:
        """What the person said."""
        return str(self.row["conversations"][1]["value"])


@dataclass(frozen=True)
class Source:
    """The data set NAME: what is read, and which file is written."""

    name: str
    samples: list[Sample]
    originals: Path  # the file of NAME_stage2
    target: Path  # the file of NAME_stage1
    card: Path | None  # the data card, which folds share
    sha256: str  # of `originals` as it was read

    def check_unchanged(self) -> None:
        """Raises DataError where the data set has been built anew, or edited, since it was read."""
        if not self.originals.is_file() or file_sha256(self.originals) != self.sha256:
            raise DataError(
                f"{self.originals} has changed since this call began, so {self.target} was not written; call again, "
                "all answers are kept."
            )


def read_source(dataset_dir: Path, name: str, overwrite: bool) -> Source:
    """Read and check the data set.

    Args:
        dataset_dir: the folder of dataset_info.json.
        name: the name given to `llamafactory-gaze dataset`.
        overwrite: accept that NAME_stage1 holds targets, or has an entry, that no command of this project has made.

    Raises:
        DataError: no such data set, a file that is not the one expected, a row without an id, a description or an
            image, or something in the way that would be lost.
    """
    entries = registry.read_registry(dataset_dir)
    originals = _file(dataset_dir, entries, name, "stage2")
    target = _file(dataset_dir, entries, name, "stage1")
    foreign = registry.foreign_entries(dataset_dir, [f"{name}_stage1"])
    if foreign and not overwrite:
        raise DataError(
            f"{dataset_dir / 'dataset_info.json'} has an entry {foreign[0]} that `llamafactory-gaze dataset` did not "
            "make; to replace the targets in its file all the same, add --overwrite."
        )
    rows = _rows(originals)
    sha256 = file_sha256(originals)
    samples = [_sample(row, f"{originals}, row {i}", dataset_dir) for i, row in enumerate(rows, 1)]
    if not samples:
        raise DataError(f"{originals} has no rows.")
    first: dict[str, int] = {}
    for i, sample in enumerate(samples, 1):
        if first.setdefault(sample.id, i) != i:
            raise DataError(
                f"{originals}, row {i} has the id '{sample.id}' of row {first[sample.id]}; ids must be unique."
            )
    if target.exists() and not overwrite:
        _refuse_targets_of_others(target, samples)
    card = Entry(f"{name}_stage1", entries[f"{name}_stage1"]).beside(dataset_dir, "README.md")
    return Source(name, samples, originals, target, card, sha256)


def hash_files(paths: Iterable[Path]) -> dict[Path, str]:
    """The SHA-256 of each file."""
    return {path: file_sha256(path) for path in paths}


def _file(dataset_dir: Path, entries: dict[str, Any], name: str, split: str) -> Path:
    info = dataset_dir / "dataset_info.json"
    entry = entries.get(f"{name}_{split}")
    if entry is None:
        known = sorted(key.removesuffix("_stage2") for key in entries if key.endswith("_stage2"))
        raise DataError(
            f"{info} has no data set {name}_{split}; "
            + (f"the names in it are {', '.join(known)}." if known else "`llamafactory-gaze dataset` makes one.")
        )
    file = entry.get("file_name") if isinstance(entry, dict) else None
    columns = entry.get("columns") if isinstance(entry, dict) else None
    if not isinstance(file, str) or not file.endswith(".json") or columns != registry.gaze_entry("")["columns"]:
        raise DataError(
            f"{info}, {name}_{split} is not an entry as `llamafactory-gaze dataset` makes it; expected a `file_name` "
            "that ends in .json and the columns conversations, images and saliencies."
        )
    return dataset_dir / file


def _rows(path: Path) -> list[Any]:
    if not path.is_file():
        raise DataError(f"The file {path} does not exist; `llamafactory-gaze dataset` makes it.")
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON ({error}).") from error
    if not isinstance(rows, list):
        raise DataError(f"{path} holds a JSON {type(rows).__name__}; expected a list of rows.")
    return rows


def _sample(row: Any, where: str, dataset_dir: Path) -> Sample:
    if not isinstance(row, dict) or not isinstance(row.get("id"), str):
        raise DataError(f"{where} has no `id`; expected a text, different for each row.")
    taken = [field for field in (ORIGINAL, NORMALIZATION) if field in row]
    if taken:
        raise DataError(f"{where} has a field '{taken[0]}', which this command writes itself; rename it.")
    turns = row.get("conversations")
    if not isinstance(turns, list) or [turn.get("from") for turn in turns if isinstance(turn, dict)] != [
        "human",
        "gpt",
    ]:
        raise DataError(f"{where} ({row['id']}): `conversations` must be one question (human) and one answer (gpt).")
    text = turns[1].get("value")
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"{where} ({row['id']}) has no description: the value of its answer is empty.")
    if mark := PLACEHOLDER.search(text):
        raise DataError(f"{where} ({row['id']}): the description contains {mark[0]}, LLaMA-Factory's mark; remove it.")
    images = row.get("images")
    if not isinstance(images, list) or not images or not all(isinstance(image, str) for image in images):
        raise DataError(
            f"{where} ({row['id']}) has no images; the model is shown the image with its description, so expected "
            "`images` with a path."
        )
    paths = tuple(dataset_dir / image for image in images)
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise DataError(f"{where} ({row['id']}): the image {missing[0]} does not exist.")
    return Sample(row, paths)


def _refuse_targets_of_others(target: Path, samples: list[Sample]) -> None:
    """Targets that came from a column `normalized`, or by hand, are not to be lost."""
    said = {sample.id: sample.text for sample in samples}
    for i, row in enumerate(_rows(target), 1):
        try:
            ours = NORMALIZATION in row or said.get(row["id"]) == row["conversations"][1]["value"]
        except (IndexError, KeyError, TypeError):
            ours = False
        if not ours:
            raise DataError(
                f"{target}, row {i} has a target that this command did not make (from a column `normalized`, or by "
                "hand); to replace all targets, add --overwrite."
            )
