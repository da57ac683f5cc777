"""Validates a whole data set, and says what was found: one summary, one line per problem, JSON for machines."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llamafactory_gaze.data.entries import Group, find_groups
from llamafactory_gaze.data.folders import remove_partial_files
from llamafactory_gaze.data.registry import SPLITS, write_atomically
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.data.validation.files import Inspector, Key, Locator
from llamafactory_gaze.data.validation.leaks import check_leaks, check_originals, check_stages, split_by
from llamafactory_gaze.data.validation.problems import Finding, Problem
from llamafactory_gaze.data.validation.scan import Row, Scan, scan_entry
from llamafactory_gaze.data.validation.sets import check_lengths, check_repeated_text, check_repetition
from llamafactory_gaze.data.validation.videos import check_frames
from llamafactory_gaze.saliency.maps import SaliencyMapError, check_aspect_ratio


MADE_BY = "llamafactory-gaze validate"
_UNREAD = ("missing-rows", "broken-rows", "no-rows")
Track = Callable[[Sequence[Any], str], Iterable[Any]]  # shows progress while a list is gone through: (list, what for)


@dataclass(frozen=True)
class Summary:
    """Of one entry: numbers of rows, and of distinct images (frames, too), video files, maps, people and categories."""

    entry: str
    rows: int
    images: int
    videos: int
    maps: int
    people: int
    categories: int


@dataclass(frozen=True)
class Report:
    dataset: str
    summary: list[Summary]
    problems: list[Problem]

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.problems if not problem.warning]

    @property
    def warnings(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.warning]

    def write_json(self, file: Path) -> None:
        """Write everything, without a limit, in the order of the checks."""
        content = {
            "made_by": MADE_BY,
            "dataset": self.dataset,
            "summary": [asdict(line) for line in self.summary],
            "problems": len(self.errors),
            "warnings": len(self.warnings),
            "lines": [problem.as_json() for problem in self.problems],
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        remove_partial_files(file.parent, file.name)
        write_atomically(file, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def validate_dataset(
    name: str,
    dataset_dir: Path,
    media_dir: Path | None = None,
    jobs: int | None = None,
    track: Track = lambda items, _: items,
) -> Report:
    """Check a data set: its entries, files, rows, and what training and test share.

    Args:
        name: of the data set (NAME_stage1, NAME_stage2, NAME_test and its folds), or of one entry.
        dataset_dir: the folder of dataset_info.json.
        media_dir: against which paths in rows are resolved; LLaMA-Factory's default is `dataset_dir`.
        jobs: files to decode at the same time; default: one for each core.

    Raises:
        DataError: nothing could be checked: no such entry, or none whose rows can be read.
    """
    groups = find_groups(dataset_dir, name)
    registry = str(dataset_dir / "dataset_info.json")
    locate = Locator(media_dir or dataset_dir)
    problems = [
        Problem(
            "missing-entry", f"the entry {missing} is missing, expected beside its siblings; add it.", False, registry
        )
        for group in groups
        for missing in group.missing
    ]
    with Inspector(jobs or os.cpu_count() or 1) as inspector:
        scans = [
            {part: scan_entry(entry, dataset_dir, locate, inspector) for part, entry in group.entries.items()}
            for group in groups
        ]
        every = [scan for group in scans for scan in group.values()]
        if not any(scan.checked for scan in every):
            raise DataError(str(next(problem for problem in every[0].problems if problem.kind in _UNREAD).message))
        for key in track(list(inspector), "Decoding files"):
            inspector.facts(key)
        for scan in every:
            problems += scan.problems
            problems += check_repetition(scan.rows)
            problems += check_repeated_text(scan.rows)
            problems += check_lengths(scan.rows)
            problems += check_sources(scan, registry, inspector)
        problems += check_files([row for scan in every for row in scan.rows], locate, inspector)
        for group, of_group in zip(groups, scans, strict=True):
            problems += _between(group, of_group, dataset_dir, inspector)
    return Report(name, [_summary(scan) for scan in every], problems)


def check_files(rows: Iterable[Row], locate: Locator, inspector: Inspector) -> Iterator[Problem]:
    """What is wrong with files, each fault once: at the first row that has it, with the number of further rows."""
    users: dict[tuple[str, Any], list[Row]] = {}  # a path, file or pair of them -> the rows that use it
    for row in rows:
        uses: list[tuple[str, Any]] = [("path", key) for key in row.bad_paths]
        uses += [("file", key) for key in (*row.images, *row.videos, *row.maps)]
        uses += [("pair", pair) for pair in row.pairs]
        uses += [("frames", frames) for frames in row.frames]
        for use in dict.fromkeys(uses):
            users.setdefault(use, []).append(row)
    for (what, of), using in users.items():
        if what == "path":
            findings: Iterable[Finding] = locate(of[0], of[1])[1]
        elif what == "file":
            findings = inspector.facts(of).findings
        elif what == "frames":
            findings = check_frames(of, inspector)
        else:
            findings = check_aspect(of[0], of[1], inspector)
        for finding in findings:
            yield using[0].problem(finding, more=len(using) - 1)


def check_sources(scan: Scan, registry: str, inspector: Inspector) -> Iterator[Problem]:
    """How many maps of an entry say that they are of no eye tracker, one warning for each of their sources."""
    maps = {key for row in scan.rows for key in row.maps}
    sources = Counter(source for key in maps if (source := inspector.facts(key).source) is not None)
    for source, number in sorted(sources.items()):
        message = (
            f"{number} of the {len(maps)} maps of {scan.entry.name} say that they were not recorded by an eye tracker: "
            f"{source}; say so wherever you report on them."
        )
        yield Problem("map-source", message, True, registry)


def check_aspect(image: Key, saliency: Key, inspector: Inspector) -> Iterator[Finding]:
    """A map has the aspect ratio of its image, within one pixel in its own size."""
    of_image, of_map = inspector.facts(image), inspector.facts(saliency)
    if of_image.size is None or of_map.size is None:
        return
    try:
        check_aspect_ratio(of_map.size, of_image.size, f"map {inspector.name(saliency)}", inspector.name(image))
    except SaliencyMapError as error:
        yield Finding("map-aspect", str(error)[:1].lower() + str(error)[1:])


def _between(group: Group, scans: dict[str, Scan], dataset_dir: Path, inspector: Inspector) -> Iterator[Problem]:
    """What the entries of one training have, or should have, in common."""
    stage1, stage2, test = (scans[part].rows if part in scans else [] for part in SPLITS)
    if stage1 and stage2:
        yield from check_stages(stage1, stage2)
    if test and (stage1 or stage2):
        file = group.entries["test"].beside(dataset_dir, "splits.json")
        try:
            yield from check_leaks([*stage2, *stage1], test, split_by(file), inspector.facts)
        except DataError as error:
            yield Problem("splits", str(error), False, str(file))
    if stage1 and stage2 and test:
        yield from check_originals(stage1, stage2, test)


def _summary(scan: Scan) -> Summary:
    rows = scan.rows
    return Summary(
        entry=scan.entry.name,
        rows=len(rows),
        images=len({key for row in rows for key in row.images}),
        videos=len({key for row in rows for key in row.videos}),
        maps=len({key for row in rows for key in row.maps}),
        people=len({row.participant for row in rows} - {None}),
        categories=len({row.category for row in rows} - {None}),
    )


def lines_of(problems: Sequence[Problem], limit: int) -> Iterator[str]:
    """One line per problem, at most `limit` of each kind, then how many more there are of it."""
    of_kind: dict[str, list[Problem]] = {}
    for problem in problems:
        of_kind.setdefault(problem.kind, []).append(problem)
    for kind, same in of_kind.items():
        yield from map(str, same[:limit])
        if len(same) > limit:
            yield f"... and {len(same) - limit} more of the kind {kind}."
