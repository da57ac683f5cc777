"""Which samples a data set leaves out (paper, appendix A.1.5), as rules with numbers.

The paper reviewed each sample by hand and excluded "insufficient fixation density or technical artifacts in the
heatmap" and "inaudible or incomplete verbal descriptions", without numbers. The defaults here only catch what can
hardly be meant: they are a floor for the review by hand (see `review.py`), not a replacement of it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llamafactory_gaze.data.tables import DataError


if TYPE_CHECKING:  # the command line takes its defaults from here, and should not wait for numpy
    import numpy as np

# Transcribers' marks: [inaudible], (unverständlich), <unclear 00:12>; xxx in the CHAT convention; ??? by hand.
INAUDIBLE = (
    r"[\[(<{]\s*(inaudible|unintelligible|incomprehensible|unclear|indistinct|unverst(ä|ae)ndlich|unv\.|undeutlich"
    r"|inintelligible|ininteligible|incomprensible|inaudibile|incomprensibile)"
    r"\s*(speech|words?|audio|voice)?[\s\d:.?!]*[\])>}]|(?<!\w)x{3,}(?!\w)|\?{3,}"
)
# A text that breaks off: "...", a dash; +/. and its like in the CHAT convention; [incomplete], (abgebrochen).
INCOMPLETE = (
    r"(\.{3}|…|[-\u2013\u2014]|\+//?[.?]|\+\.\.\?|[\[(<{]\s*(incomplete|unfinished|abgebrochen|unvollst(ä|ae)ndig)\s*[\])>}])"
    r"\s*[\"'”\u2019»)]*\s*$"
)
# Scripts that are written without spaces: each letter counts as a word.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+(?:['\u2019-][^\W{_UNSPACED}]+)*")


@dataclass(frozen=True)
class Rules:
    """What a sample must have; the value that switches a rule off stands behind it."""

    min_fixations: int = 2  # of the speaker, on the image; 0
    min_on_image: float = 0.5  # share of the speaker's fixations that lie on the image; 0
    min_looking_ms: float = 0.0  # sum of the durations of those; 0
    max_one_fixation: float = 0.9  # share of the map's weight in a single fixation; 1
    min_spread: float = 0.002  # weighted root mean square distance to the centre, in diagonals of the image; 0
    min_words: int = 3  # in the description; 0
    inaudible: str = INAUDIBLE  # regular expression for what the description must not contain; ""
    incomplete: str = INCOMPLETE  # the same, for how it must not end; ""

    def check(self) -> None:
        """Raise `DataError` where a number is out of its range or a regular expression is none."""
        for name in ("min_fixations", "min_looking_ms", "min_words"):
            if not getattr(self, name) >= 0:
                raise DataError(f"{_option(name)} is {getattr(self, name)}; expected 0 or more.")
        for name in ("min_on_image", "max_one_fixation", "min_spread"):
            if not 0 <= getattr(self, name) <= 1:
                raise DataError(f"{_option(name)} is {getattr(self, name)}; expected a number from 0 to 1.")
        for name in ("inaudible", "incomplete"):
            try:
                re.compile(getattr(self, name))
            except re.error as error:
                raise DataError(f"{_option(name)} is no regular expression ({error}).") from error


NO_RULES = Rules(0, 0, 0, 1, 0, 0, "", "")


@dataclass(frozen=True)
class Failure:
    """A rule that a sample breaks."""

    rule: str
    found: str
    required: str
    reason: str  # all of it as a sentence, without its full stop


@dataclass(frozen=True)
class Excluded:
    """A description that did not become a row."""

    id: str
    where: str  # file and line; "" where they are not to be told
    image: str
    participant: str
    rule: str
    found: str
    required: str
    reason: str


def judge_fixations(is_on_image: np.ndarray, duration_ms: np.ndarray, rules: Rules) -> Failure | None:
    """The first rule that somebody's n fixations while an image was shown break.

    Args:
        is_on_image: (n,) bool.
        duration_ms: (n,)
    """
    seen = int(is_on_image.sum())
    if seen < rules.min_fixations:
        found = f"{seen} fixation{'s' * (seen != 1)} on the image"
        return _failure("fixations", found, f"at least {rules.min_fixations}")
    share = seen / len(is_on_image) if len(is_on_image) else 0.0
    if share < rules.min_on_image:
        found = f"{share:.0%} of the fixations ({seen} of {len(is_on_image)}) on the image"
        return _failure("share on the image", found, f"at least {rules.min_on_image:.0%}")
    looking = float(duration_ms[is_on_image].sum())
    if looking < rules.min_looking_ms:
        return _failure("looking time", f"{looking:g} ms of looking", f"at least {rules.min_looking_ms:g} ms")
    return None


def judge_map(x: np.ndarray, y: np.ndarray, weight: np.ndarray, size: tuple[int, int], rules: Rules) -> Failure | None:
    """The first rule that a map of n fixations breaks.

    Args:
        x, y: (n,) in pixels of the image.
        weight: (n,), not negative and not all 0.
        size: (width, height) of the image.
    """
    total = float(weight.sum())
    largest = float(weight.max()) / total
    if largest > rules.max_one_fixation:
        found = f"{largest:.1%} of the map's weight in one fixation"
        return _failure("map in one fixation", found, f"at most {rules.max_one_fixation:.1%}")
    centre = (weight * x).sum() / total, (weight * y).sum() / total
    variance = float((weight * ((x - centre[0]) ** 2 + (y - centre[1]) ** 2)).sum()) / total
    spread = variance**0.5 / (size[0] ** 2 + size[1] ** 2) ** 0.5
    if spread < rules.min_spread:
        found = f"the map's fixations spread over {spread:.2g} of the diagonal"
        return _failure("map in one point", found, f"at least {rules.min_spread:g}")
    return None


def judge_description(spoken: str, cleaned: str, rules: Rules) -> Failure | None:
    """The first rule that a description breaks.

    Args:
        spoken: as it was transcribed.
        cleaned: without fillers and restarts, which count for no words; the same text where nothing is cleaned.
    """
    words = count_words(cleaned)
    if words < rules.min_words:
        return _failure("words", f"{words} word{'s' * (words != 1)}", f"at least {rules.min_words}")
    for rule, pattern, required in (
        ("inaudible", rules.inaudible, "no mark of inaudible speech"),
        ("incomplete", rules.incomplete, "a complete description"),
    ):
        match = re.search(pattern, spoken, re.IGNORECASE) if pattern else None
        if match:
            return _failure(rule, f"'{match[0].strip()}' in the description", required)
    return None


def count_words(text: str) -> int:
    """Words between spaces and punctuation; letters, in scripts that are written without spaces."""
    return len(_WORD.findall(text))


def without_rows(excluded: Iterable[Excluded]) -> list[Excluded]:
    """The same without file and line: under codes, since the order of the table may be that of the ids."""
    return [replace(row, where="") for row in excluded]


def excluded_table(excluded: Iterable[Excluded]) -> str:
    """The text of `excluded.csv`."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("id", "image", "participant", "rule", "found", "required", "reason", "row"))
    for row in excluded:
        cells = (row.id, row.image, row.participant, row.rule, row.found, row.required, row.reason, row.where)
        writer.writerow(cells)
    return text.getvalue()


def _failure(rule: str, found: str, required: str) -> Failure:
    return Failure(rule, found, required, f"{found}; required: {required}")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
