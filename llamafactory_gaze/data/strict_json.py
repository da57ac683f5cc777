"""JSON without what Python's reader lets pass, or fails at in words of its own."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """The value that a JSON text stands for.

    Raises:
        json.JSONDecodeError: no JSON.
        ValueError: a name stands twice in an object, a number has thousands of digits, or it is nested too deeply.
        UnicodeDecodeError: bytes that are no text.
    """
    try:
        return json.loads(text, object_pairs_hook=_without_twins)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice[:80]!r} stands twice in one object")
    return found
