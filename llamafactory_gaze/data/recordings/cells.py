"""Cells of a file as numbers, and the lines that cannot be read."""

from __future__ import annotations

import re
from pathlib import Path

from llamafactory_gaze.data.tables import DataError


# Beyond these a number is a fault of the file: no screen is so large, and no fixation lasts an hour.
MAX_PIXELS = 100_000
MAX_DURATION_MS = 3_600_000

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)


class BadLines:
    """The lines that could not be read: all are counted, the first are kept, so that a broken file stays cheap."""

    SHOWN = 10

    def __init__(self) -> None:
        self.count = 0
        self.first: list[str] = []

    def add(self, where: str, problem: str) -> None:
        self.count += 1
        if len(self.first) < self.SHOWN:
            self.first.append(f"{where}: {problem}")

    def refuse(self, path: Path) -> None:
        """Raise `DataError` with the first lines and the count of the others, if there are any."""
        if not self.count:
            return
        more = self.count - len(self.first)
        raise DataError(
            f"{path} cannot be read whole, because of {self.count} line{'s' * (self.count > 1)}; "
            "--skip-bad-lines imports the rest:\n  "
            + "\n  ".join(self.first)
            + (f"\n  and {more} more." if more else "")
        )


def number(text: str, name: str, low: float, high: float) -> float:
    """The value of a cell.

    Raises:
        ValueError: no plain decimal number (as `nan`, `.` and `1,5` are none), or not within `low` and `high`.
    """
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{name} is '{text[:40]}', expected a number")
    value = float(text)
    if not low <= value <= high:
        raise ValueError(f"{name} is {text[:40]}, expected {low:g} to {high:g}")
    return value


def position(text: str, name: str) -> float:
    """A coordinate in pixels; see `number`. A tracker also reports gaze beside the screen, so it may be negative."""
    return number(text, name, -MAX_PIXELS, MAX_PIXELS)


def duration(text: str, name: str) -> float:
    """A duration in milliseconds; see `number`."""
    return number(text, name, 0, MAX_DURATION_MS)
