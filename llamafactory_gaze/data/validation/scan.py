"""Goes through the rows of one entry once: checks each, hands on its files, keeps what is compared later."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llamafactory_gaze.data.entries import Entry, listed, read_rows
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.data.validation.files import Inspector, Key, Locator, RowFiles
from llamafactory_gaze.data.validation.problems import Finding, Problem
from llamafactory_gaze.data.validation.rows import check_map_count, check_marks, check_text, check_turns, check_who
from llamafactory_gaze.data.validation.videos import scan_videos


@dataclass(frozen=True, slots=True)
class Row:
    """What is kept of a row: strings and keys, never a picture."""

    file: str
    number: int  # from 0
    id: str | None
    image_id: str | None
    participant: str | None
    trial: str | None
    category: str | None
    answer: str  # all answers of the row
    digest: bytes  # of pictures, maps and turns: equal in rows that are the same to the model
    images: tuple[Key, ...]  # of those that can be read; frames of videos, too
    videos: tuple[Key, ...]  # files of them
    maps: tuple[Key, ...]
    pairs: tuple[tuple[Key, Key], ...]  # an image, or a video's file or first frame, and its map
    frames: tuple[tuple[Key, ...], ...]  # of each video that is a list of them
    bad_paths: tuple[Key, ...]  # role and path of those with a fault in their name or place

    def problem(self, finding: Finding, more: int = 0) -> Problem:
        return Problem.of(finding, self.file, self.number, self.id, more)


@dataclass
class Scan:
    """An entry after its rows were read; `rows` leaves out those that are no objects."""

    entry: Entry
    rows: list[Row] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    checked: bool = False  # at least one row could be read


def scan_entry(entry: Entry, dataset_dir: Path, locate: Locator, inspector: Inspector) -> Scan:
    """Check an entry of the registry and each of its rows by itself."""
    registry = str(dataset_dir / "dataset_info.json")
    scan = Scan(entry)
    scan.problems += [Problem.of(finding, registry) for finding in check_entry(entry, dataset_dir)]
    try:
        files = entry.files(dataset_dir)
    except DataError as error:
        scan.problems.append(Problem("missing-rows", str(error), False, registry))
        return scan
    kinds: dict[str, str] = {}  # field -> the type that it had first
    for file in files:
        number = -1
        try:
            for number, raw in enumerate(read_rows(file)):
                _scan_row(raw, str(file), number, scan, kinds, locate, inspector)
        except DataError as error:
            scan.problems.append(Problem("broken-rows", f"{error} The rest of it was not checked.", False, str(file)))
        else:
            if number < 0:
                scan.problems.append(
                    Problem("no-rows", f"{file} has no rows, expected at least one.", False, str(file))
                )
        scan.checked |= number >= 0
    return scan


def check_entry(entry: Entry, dataset_dir: Path) -> Iterator[Finding]:
    """What dataset_info.json says of the entry."""
    settings, name = entry.settings, entry.name
    if settings.get("formatting") != "gaze":
        yield Finding(
            "formatting",
            f"the entry {name} has the formatting {settings.get('formatting', 'alpaca')!r}, expected 'gaze': with any "
            "other, the maps are not read; correct it.",
        )
    columns = settings.get("columns") or {}
    expected = [("messages", "conversations")]
    if not entry.columns.only_videos:
        expected += [("images", "images"), ("saliencies", "saliencies")]
    if entry.columns.videos:
        expected.append(("video_saliencies", "video_saliencies"))
    for key, usual in expected:
        if not columns.get(key):
            yield Finding(
                "column-unnamed",
                f'the entry {name} does not name the column of {key}, expected "{key}": "{usual}" under "columns"; '
                "add it.",
                warning=key.endswith("saliencies"),  # the plug-in looks for a column of that name
            )
    file_name = settings.get("file_name")
    if isinstance(file_name, str) and (Path(file_name).is_absolute() or ".." in Path(file_name).parts):
        yield Finding(
            "path-outside",
            f"the entry {name} has the file {file_name}, expected a path relative to {dataset_dir}, inside of it; "
            "move the file.",
        )


def _scan_row(
    raw: Any, file: str, number: int, scan: Scan, kinds: dict[str, str], locate: Locator, inspector: Inspector
) -> None:
    if not isinstance(raw, Mapping):
        finding = Finding("row", f"the row is a {type(raw).__name__}, expected an object with the entry's columns.")
        scan.problems.append(Problem.of(finding, file, number))
        return
    id = _text(raw.get("id"))
    columns = scan.entry.columns
    files = RowFiles(locate, inspector)
    findings = list(_check_types(raw, kinds))
    images, maps = [], None
    if not columns.only_videos:
        images, maps = listed(raw.get(columns.images)), raw.get(columns.saliencies)
        findings += check_map_count("images", len(images), raw, columns.saliencies)
    videos, of_videos = [], None
    if columns.videos:
        videos, of_videos = listed(raw.get(columns.videos)), raw.get(columns.video_saliencies)
        findings += check_map_count("videos", len(videos), raw, columns.video_saliencies)
    turns: Any = raw.get(columns.messages)
    of_turns = list(check_turns(turns, columns))
    findings += of_turns
    answer = ""
    if not any(finding.kind == "turns" for finding in of_turns):
        findings += check_marks(turns, columns, len(images), len(videos))
        findings += check_text(turns, columns)
        answer = "\n".join(turn[columns.content] for turn in turns if turn[columns.role] in columns.assistant)
    findings += check_who(raw)

    maps = maps if isinstance(maps, list) else []
    media = {"image": images, "map": maps}
    keys = {role: [files.key(entry, role) for entry in of] for role, of in media.items()}
    clips = scan_videos(videos, of_videos, files)
    row = Row(
        file=file,
        number=number,
        id=id,
        image_id=_text(raw.get("image_id")),
        participant=_text(raw.get("participant")),
        trial=_text(raw.get("trial")),
        category=_text(raw.get("category")),
        answer=answer,
        digest=_digest(
            [key or entry for of in keys for key, entry in zip(keys[of], media[of], strict=True)],
            [videos, of_videos],
            turns,
        ),
        images=(*(key for key in keys["image"] if key), *(key for clip in clips for key in clip.frames)),
        videos=tuple(clip.file for clip in clips if clip.file),
        maps=(*(key for key in keys["map"] if key), *(key for clip in clips for key in clip.maps)),
        pairs=(
            *((a, b) for a, b in zip(keys["image"], keys["map"], strict=False) if a and b),
            *(pair for clip in clips for pair in clip.pairs),
        ),
        frames=tuple(clip.frames for clip in clips if clip.frames),
        bad_paths=tuple(files.bad_paths),
    )
    scan.rows.append(row)
    scan.problems += [row.problem(finding) for finding in (*findings, *files.findings)]


def _check_types(raw: Mapping[str, Any], kinds: dict[str, str]) -> Iterator[Finding]:
    """A field has one type in all rows, or `datasets` cannot load the file. Numbers are one type, null is any."""
    for name, value in raw.items():
        if value is None:
            continue
        kind = _kind(value)
        first = kinds.setdefault(name, kind)
        if first.startswith(kind):  # "a list" of nothing is a list of anything
            continue
        if kind.startswith(first):
            kinds[name] = kind
            continue
        yield Finding(
            "mixed-types",
            f"the field '{name}' is {kind}, but {first} in an earlier row; `datasets` loads one type; correct it.",
        )


def _kind(value: Any) -> str:
    if isinstance(value, list):
        inner = sorted({_kind(one) for one in value if one is not None})
        return "a list" + (f" of {' and '.join(inner)}" if inner else "")
    names = {bool: "true or false", int: "a number", float: "a number", str: "a text", bytes: "bytes"}
    return names.get(type(value), "an object")


def _digest(*parts: Any) -> bytes:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=repr).encode()).digest()


def _text(value: Any) -> str | None:
    return None if value in (None, "") else str(value)
