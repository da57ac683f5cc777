"""Length and vocabulary of a set of captions. They describe; more is not better."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any


def describe(captions: Sequence[str]) -> dict[str, Any]:
    """How long the captions are and how many different words they use.

    Returns:
        n: captions. words: mean number of words in a caption. vocabulary: number of different words in all of them.
        type_token: vocabulary over the number of words, None where there are none. It falls with the amount of text,
        so only sets of about equal size compare.
    """
    split = [words(caption) for caption in captions]
    total = sum(map(len, split))
    vocabulary = len({word for one in split for word in one})
    return {
        "n": len(captions),
        "words": total / len(captions) if captions else None,
        "vocabulary": vocabulary,
        "type_token": vocabulary / total if total else None,
    }


def words(caption: str) -> list[str]:
    """The words of a caption: runs of letters, digits and apostrophes, lower case."""
    plain = caption.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return re.findall(r"\w+(?:'\w+)*", plain)
