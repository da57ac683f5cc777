"""Checks between entries: images or people in training and test, stages that differ, a test in plain style."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.data.validation.files import THUMBNAIL, Facts
from llamafactory_gaze.data.validation.problems import Finding, Problem
from llamafactory_gaze.data.validation.scan import Key, Row


FactsOf = Callable[[Key], Facts]

_ALIKE = 0.99  # correlation of thumbnails
_CHUNK = 1024  # images compared with all others at a time
_COMMON, _FALL = 0.5, 0.25  # see `check_originals`


def split_by(file: Path | None) -> str:
    """What a data set was split by, from its `splits.json`: image (also if there is none), participant, or both.

    Raises:
        DataError: the file does not say it.
    """
    if file is None:
        return "image"
    try:
        by = json.loads(file.read_text(encoding="utf-8"))["by"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{file} cannot be read ({type(error).__name__}: {error}); expected an object with 'by'."
        ) from error
    if by not in ("image", "participant", "both"):
        raise DataError(f"{file} says that the split is by {by!r}; expected image, participant or both.")
    return str(by)


def check_leaks(training: Sequence[Row], test: Sequence[Row], by: str, facts: FactsOf) -> Iterator[Problem]:
    """Images, or people, or both, of the training set that stand in the test set."""
    if by in ("image", "both"):
        yield from check_shared_images(training, test, facts)
    if by in ("participant", "both"):
        yield from check_shared_people(training, test)


def check_shared_images(training: Sequence[Row], test: Sequence[Row], facts: FactsOf) -> Iterator[Problem]:
    """The same file, the same content in another one, the same image_id; as a warning, much the same picture."""
    known = {key: row for row in reversed(training) for key in (*row.images, *row.videos)}
    contents = {facts(key).digest: row for key, row in known.items() if facts(key).digest}
    names = {row.image_id: row for row in reversed(training) if row.image_id is not None}
    clean: dict[Key, Row] = {}
    reported: set[Key | str] = set()
    for row in test:
        for key in (*row.images, *row.videos):
            if key in reported or key in clean:
                continue
            twin = known.get(key) or contents.get(facts(key).digest)
            if twin is None:
                clean[key] = row
                continue
            reported |= {key, row.image_id or key}
            how = "the same file" if key in known else "a file of the same content"
            message = (
                f"the test {key[0]} {_name(key, row)} is {how} as in {_where(twin)}; take it out of one of the two."
            )
            yield row.problem(Finding("leak-image", message))
        if row.image_id in names and row.image_id not in reported:
            reported.add(row.image_id)
            twin = names[row.image_id]
            message = (
                f"the image_id {row.image_id} of the test stands also in {_where(twin)}; expected no common image."
            )
            yield row.problem(Finding("leak-image-id", message))
    clean = {key: row for key, row in clean.items() if row.image_id not in reported}
    for key, other, likeness in near_duplicates(list(clean), list(known), facts):
        message = (
            f"the test image {_name(key, clean[key])} looks like {_name(other, known[other])} of "
            f"{_where(known[other])} (thumbnails correlate by {likeness:.4f}); is it the same picture?"
        )
        yield clean[key].problem(Finding("leak-alike", message, warning=True))


def check_shared_people(training: Sequence[Row], test: Sequence[Row]) -> Iterator[Problem]:
    known = {row.participant: row for row in reversed(training) if row.participant is not None}
    first = {row.participant: row for row in reversed(test) if row.participant in known}
    for participant, row in sorted(first.items(), key=lambda item: item[1].number):
        message = (
            f"participant {participant} of the test stands also in {_where(known[participant])}, but splits.json says "
            "that the split is by participant; split again."
        )
        yield row.problem(Finding("leak-participant", message))


def near_duplicates(test: Sequence[Key], training: Sequence[Key], facts: FactsOf) -> Iterator[tuple[Key, Key, float]]:
    """For each test image the most similar training image, where their thumbnails correlate by 0.99 or more.

    That finds pictures that were scaled or compressed anew, not those that were cropped. Flat pictures, whose
    thumbnails say nothing, are left out.
    """
    ours, mine = _normalised(test, facts)
    theirs, yours = _normalised(training, facts)
    if not ours or not theirs:
        return
    for start in range(0, len(ours), _CHUNK):
        likeness = mine[start : start + _CHUNK] @ yours.T
        best = likeness.argmax(axis=1)
        for i in np.flatnonzero(likeness.max(axis=1) >= _ALIKE).tolist():
            yield ours[start + i], theirs[best[i]], float(likeness[i, best[i]])


def _normalised(keys: Sequence[Key], facts: FactsOf) -> tuple[list[Key], np.ndarray]:
    """The keys of images that are not flat, and their thumbnails (n, 432) with mean 0 and length 1."""
    keys = [key for key in keys if facts(key).thumbnail]
    pixels = np.array([np.frombuffer(facts(key).thumbnail, np.uint8) for key in keys], np.float32)
    pixels = pixels.reshape(len(keys), 3 * THUMBNAIL**2)
    pixels -= pixels.mean(axis=1, keepdims=True)
    length = np.linalg.norm(pixels, axis=1)
    telling = np.flatnonzero(length > np.sqrt(pixels.shape[1]))  # a standard deviation of one grey level
    return [keys[i] for i in telling.tolist()], pixels[telling] / length[telling, None]


def check_stages(stage1: Sequence[Row], stage2: Sequence[Row]) -> Iterator[Problem]:
    """Both stages have rows of the same ids."""
    for rows, others, name in ((stage1, stage2, "stage 2"), (stage2, stage1, "stage 1")):
        ids = {row.id for row in others}
        for row in rows:
            if row.id is not None and row.id not in ids:
                message = (
                    f"the id is missing in {name}, expected the same rows in both stages; make them again together."
                )
                yield row.problem(Finding("stages", message))


def check_originals(stage1: Sequence[Row], stage2: Sequence[Row], test: Sequence[Row]) -> Iterator[Problem]:
    """The answers of the test are what people said, not the style-normalised targets of stage 1.

    Where at least half of the answers of stage 2 hold a word that stage 1 never uses, so should those of the test: a
    quarter of that share is taken as a sign of stage-1 targets in the test.
    """
    plain = set().union(*(_words(row.answer) for row in stage1))
    style = set().union(*(_words(row.answer) for row in stage2)) - plain
    share, in_test = (sum(bool(_words(row.answer) & style) for row in rows) / len(rows) for rows in (stage2, test))
    if share >= _COMMON and in_test < _FALL * share:
        message = (
            f"{in_test:.0%} of the test's answers hold a word that stage 2 uses and stage 1 does not, but {share:.0%} "
            "of stage 2's; are the test's answers the original descriptions, or stage-1 targets?"
        )
        yield Problem("test-style", message, True, test[0].file)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


def _name(key: Key, row: Row) -> str:
    return row.image_id or key[1]


def _where(row: Row) -> str:
    return f"{row.file}, row {row.number}" + (f" (id {row.id})" if row.id is not None else "")
