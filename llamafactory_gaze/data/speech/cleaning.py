"""Spoken descriptions without fillers and restarts; what is taken away is recorded, so that nothing is lost."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypedDict

from llamafactory_gaze.data.tables import DataError


# English. The last letter of a single word may be drawn out: "ummm". Not here, because they also carry meaning:
# "like", "well", "so", "sort of", "I mean".
FILLERS = ("uh", "uhm", "um", "umm", "er", "erm", "ehm", "hm", "hmm", "mhm", "mm", "you know")

# These may be said twice and be meant.
_DOUBLED = "very|really|so|much|many|more|far|too|that|had|yes|no|bye|ha"
# A comma between two equal words is most often a list ("a tree, a tree"), but not between these.
_SMALL = "a|an|the|and|i|it|is|in|on|of|to|there|he|she|they|we|with"
_START = r"(?<![\w'\u2019-])"  # of a word
_END = r"(?![\w'\u2019]|-\w)"
_WORD = r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*"  # numbers are no restarts: "2 2"
_PAUSE = r"(?:\s+|\s*(?:\.{2,}|…|[\u2013\u2014])\s*|\s*-\s+)"

# What to cut is the group `cut`. The first: a word that breaks off, where one of the next three begins with it; not
# "two- and three-storey", where none does.
_RESTARTS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"{_START}(?P<cut>({_WORD})-\s+)(?=(?:{_WORD}[,\s]+){{0,2}}\2[^\W\d_])",
        rf"{_START}(?!(?:{_DOUBLED}){_END})({_WORD})(?P<cut>(?:{_PAUSE}\1{_END})+)",
        rf"{_START}({_SMALL})(?P<cut>(?:\s*,\s*\1{_END})+)",
        rf"{_START}({_WORD}(?:\s+{_WORD}){{1,2}})(?P<cut>(?:{_PAUSE}\1{_END})+)",
    )
]
_PAUSES_BEHIND = re.compile(r"(?:\s*(?:,|\.{2,}|…|[\u2013\u2014]|-(?=\s)))*")
_BEGINS_SENTENCE = re.compile(r"(?:^|(?<![.…])[.!?])\s*$")


class Removed(TypedDict):
    """A piece of the original text, and the characters of the cleaned text that stand in its place."""

    at: int  # offset in the cleaned text
    length: int  # of what stands there instead; 0 where the piece was only taken away
    text: str  # of the original


def clean_speech(text: str, fillers: Sequence[str] = FILLERS) -> tuple[str, list[Removed]]:
    """Take fillers and restarts out of a text.

    Restarts are a word or two or three that are said again at once ("the the", "there is there is") and words that
    break off before they are said in full ("a wo- a woman"). A sentence that began with a filler gets its capital back.

    Returns:
        the cleaned text, and what `restore` needs to undo it.
    """
    draft = _Draft(text)
    filler = _filler_pattern(fillers)
    while match := filler.search(draft.text):
        _cut_filler(draft, match)
    for restart in _RESTARTS:
        while match := restart.search(draft.text):
            draft.cut(*match.span("cut"))
    return draft.text, draft.record()


def restore(cleaned: str, removed: Iterable[Removed]) -> str:
    """The text that `clean_speech` was given, from what it returned."""
    pieces: list[str] = []
    position = 0
    for piece in removed:
        pieces += [cleaned[position : piece["at"]], piece["text"]]
        position = piece["at"] + piece["length"]
    return "".join([*pieces, cleaned[position:]])


def read_fillers(path: Path) -> tuple[str, ...]:
    """A list of fillers of one's own, one word or phrase per line; lines that begin with # are comments.

    Raises:
        DataError: no such file, not UTF-8, or nothing in it.
    """
    try:
        lines = [" ".join(line.split()) for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The list of fillers {path} cannot be read as UTF-8 text ({error}).") from error
    fillers = tuple(line for line in lines if line and not line.startswith("#"))
    if not fillers:
        raise DataError(f"The list of fillers {path} is empty; expected one word or phrase per line.")
    return fillers


class _Draft:
    """A text that becomes shorter, and still knows where each of its characters comes from."""

    def __init__(self, original: str):
        self.original = original
        self.kept = list(range(len(original)))  # offsets in the original
        self.shown = list(original)  # with capitals

    @property
    def text(self) -> str:
        return "".join(self.shown[i] for i in self.kept)

    def cut(self, start: int, end: int) -> None:
        del self.kept[start:end]

    def capitalise(self, position: int) -> None:
        if position < len(self.kept):
            capital = self.shown[self.kept[position]].upper()
            if len(capital) == 1:  # not the German sharp s
                self.shown[self.kept[position]] = capital

    def record(self) -> list[Removed]:
        """What `restore` needs, in the order of the text."""
        removed: list[Removed] = []
        kept = set(self.kept)
        at = 0
        for i, character in enumerate(self.original):
            if i in kept:
                if self.shown[i] != character:
                    removed.append({"at": at, "length": 1, "text": character})
                at += 1
            elif removed and removed[-1]["at"] == at:
                removed[-1]["text"] += character
            else:
                removed.append({"at": at, "length": 0, "text": character})
        return removed


def _filler_pattern(fillers: Sequence[str]) -> re.Pattern[str]:
    words = (
        r"\s+".join(map(re.escape, filler.split())) + (re.escape(filler[-1]) + "*" if " " not in filler else "")
        for filler in fillers
    )
    return re.compile(rf"{_START}(?:{'|'.join(words)}){_END}", re.IGNORECASE)


def _cut_filler(draft: _Draft, filler: re.Match[str]) -> None:
    """Cut a filler with the pause behind it, and with its full stop where it was a sentence of its own."""
    text = draft.text
    start, end = filler.start(), _end_of(_PAUSES_BEHIND, text, filler.end())
    begins = _BEGINS_SENTENCE.search(text[:start]) is not None
    if begins:
        end = _end_of(re.compile(r"[.!?]*"), text, end)
    rest = _end_of(re.compile(r"\s*"), text, end)
    if rest == len(text) or (rest == end and text[rest] in ".!?;:"):
        start = len(text[:start].rstrip().rstrip(",").rstrip())
    draft.cut(start, rest)
    if begins and filler[0][0].isupper():
        draft.capitalise(start)


def _end_of(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position
