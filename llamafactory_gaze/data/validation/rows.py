"""Checks of one row: its turns, its text, its numbers of pictures and maps, and who it is from."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llamafactory_gaze.data.entries import Columns
from llamafactory_gaze.data.triples.descriptions import PLACEHOLDER
from llamafactory_gaze.data.validation.problems import Finding


_SPECIAL = re.compile(r"<\|\w+\|>")  # Qwen's special tokens, such as <|im_end|>, which would steer the chat template


def check_turns(turns: Any, columns: Columns) -> Iterator[Finding]:
    """Human and gpt take turns, and each says something. LLaMA-Factory leaves other rows out, with a warning."""
    expected = f"'{columns.user[0]}' and '{columns.assistant[0]}' in turns, each with a text under '{columns.content}'"
    mend = "LLaMA-Factory would leave the row out or stop; correct it"
    if not isinstance(turns, list) or not turns:
        found = "is missing or empty" if not turns else f"is a {type(turns).__name__}"
        yield Finding("turns", f"'{columns.messages}' {found}, expected a list of {expected}; {mend}.")
        return
    for i, turn in enumerate(turns):
        if not isinstance(turn, Mapping) or not isinstance(turn.get(columns.content), str):
            yield Finding("turns", f"turn {i} of '{columns.messages}' has no text, expected {expected}; {mend}.")
            return
    first = 1 if turns[0].get(columns.role) == columns.system else 0
    roles = [turn.get(columns.role) for turn in turns[first:]]
    for i, role in enumerate(roles):
        if role not in (columns.user, columns.assistant)[i % 2]:
            yield Finding("turns", f"turn {i + first} is from '{role}', expected {expected}; {mend}.")
            return
    if len(roles) % 2 or not roles:
        yield Finding("turns", f"the last turn is not from '{columns.assistant[0]}', expected {expected}; {mend}.")
        return
    for i, turn in enumerate(turns):
        if not turn[columns.content].strip():
            yield Finding("empty-text", f"turn {i} ('{turn[columns.role]}') is empty, expected text; write it.")


def check_marks(turns: Sequence[Mapping[str, Any]], columns: Columns, images: int, videos: int) -> Iterator[Finding]:
    """As many `<image>` as images, all of them in questions, and no other mark or special token.

    LLaMA-Factory counts the marks in every turn, so that one in an answer takes the place of a picture.
    """
    asked = {"<image>": images, "<video>": videos, "<audio>": 0}
    found = dict.fromkeys(asked, 0)
    for i, turn in enumerate(turns):
        text = turn[columns.content]
        for match in PLACEHOLDER.finditer(text):
            if turn[columns.role] in columns.assistant:
                yield Finding(
                    "stray-mark",
                    f"the answer in turn {i} contains {match[0]}, LLaMA-Factory's mark of a picture; remove it.",
                )
            else:
                found[match[0]] += 1
        special = _SPECIAL.search(text)
        if special:
            yield Finding("special-token", f"turn {i} contains {special[0]}, a special token of the model; remove it.")
    for mark, number in asked.items():
        if found[mark] != number:
            pictures = mark.strip("<>") + "s"
            yield Finding(
                "placeholders",
                f"there are {number} {pictures} and {found[mark]} {mark} in the questions, expected one {mark} for "
                f"each; correct the text or the list of {pictures}.",
            )


def check_map_count(media: str, number: int, row: Mapping[str, Any], column: str) -> Iterator[Finding]:
    """One entry of the column of maps for each image or video; null or an empty list stands for no map at all.

    Args:
        media: "images" or "videos", of which the row has `number`.
        column: of their maps.
    """
    one, many = {"images": ("map", "maps"), "videos": ("list of maps", "lists of maps")}[media]
    if column not in row:
        yield Finding("map-count", f"there is no field '{column}', expected a list of {many}, or null for none.")
    maps = row.get(column)
    if maps is None or maps == []:
        return
    if not isinstance(maps, list) or len(maps) != number:
        count = (
            f"{len(maps)} {many}" if isinstance(maps, list) else f"a {type(maps).__name__} instead of a list of {many}"
        )
        yield Finding(
            "map-count",
            f"there are {number} {media} and {count}, expected one {one} for each of the {media}, null where one has "
            "none.",
        )


def check_text(turns: Sequence[Mapping[str, Any]], columns: Columns) -> Iterator[Finding]:
    """Characters that nobody typed: control characters, the mark of a failed decoding, and mojibake."""
    from ftfy.badness import is_bad

    for i, turn in enumerate(turns):
        text = turn[columns.content]
        odd = next((c for c in text if c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cs")), None)
        if odd is not None:
            yield Finding("control-character", f"turn {i} contains the control character U+{ord(odd):04X}; remove it.")
        if "\N{REPLACEMENT CHARACTER}" in text:
            yield Finding(
                "lost-character",
                f"turn {i} contains U+FFFD, which stands for characters that were lost when a file was read in the "
                "wrong encoding; take the text from its source again.",
            )
        elif is_bad(text):
            yield Finding(
                "mojibake",
                f"turn {i} looks as if it had been read in the wrong encoding ({_around(text)}); "
                "read its source as UTF-8 again.",
                warning=True,
            )


def check_who(row: Mapping[str, Any]) -> Iterator[Finding]:
    """The fields that the evaluation needs; the model does not see them."""
    for name, why in (
        ("id", "by which rows are found again"),
        ("image_id", "a cluster of the evaluation's statistics"),
        ("participant", "a cluster of the evaluation's statistics"),
    ):
        if row.get(name) in (None, ""):
            yield Finding("no-" + name.replace("_", "-"), f"the field '{name}' is missing, {why}; add it.", True)


def _around(text: str) -> str:
    """The words with characters beyond ASCII, shortened."""
    return f"'{' '.join(word for word in text.split() if not word.isascii())[:40]}'"
