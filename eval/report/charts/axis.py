"""A straight axis with round ticks, and how numbers and names are written in charts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor
from typing import Any


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high`, a tick every `step`, on places from `start` to `end` (in SVG units).

    Attributes:
        form: how ticks are written: "+" with a sign, "" without, "%" as a share in percent.
    """

    low: float
    high: float
    step: float
    start: float
    end: float
    form: str = ""

    @classmethod
    def around(cls, values: Iterable[float], start: float, end: float, form: str = "", parts: int = 6) -> Axis:
        """The shortest axis of at most `parts` + 2 whole steps that holds 0 and all values."""
        ends = [0.0, *values]
        step = _nice_step(max(ends) - min(ends), parts)
        # Rounded, as 0.3 / 0.1 is a little below 3.
        low, high = floor(round(min(ends) / step, 6)), ceil(round(max(ends) / step, 6))
        return cls(low * step, high * step, step, start, end, form)

    def __call__(self, value: float) -> float:
        """The place of a value."""
        return self.start + (value - self.low) / ((self.high - self.low) or 1.0) * (self.end - self.start)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Places and texts; the text at zero is "0"."""
        count = round((self.high - self.low) / self.step)
        return [(self(value), self._text(value)) for value in (self.low + i * self.step for i in range(count + 1))]

    def _text(self, value: float) -> str:
        if abs(value) < 1e-9:
            return "0"
        if self.form == "%":
            return f"{value:.0%}"
        digits = max(0, -int(f"{self.step:e}".split("e")[1]))
        return f"{value:{self.form}.{digits}f}".replace("-", "\N{MINUS SIGN}")


def signed(value: float) -> str:
    """A difference of scores, three decimals: +0.153."""
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")


def shorten(text: str, width: int) -> str:
    """A name on one line of at most `width` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def reach(entry: dict[str, Any]) -> tuple[float, float]:
    """What a difference and its interval take up on an axis.

    Differences of scores in [0, 1] are not beyond -1 and 1; the interval of a t with one degree of freedom can be.
    """
    low, high = entry["ci95"] or (entry["diff"], entry["diff"])
    return max(low, -1.0), min(high, 1.0)


@dataclass(frozen=True)
class Mark:
    """A difference from the reference in a chart: vertical place, value, interval (or None), and which system."""

    y: float
    x: float
    interval: tuple[float, float] | None
    system: int
    title: str


def mark(axis: Axis, entry: dict[str, Any], y: float, system: int, title: str) -> Mark:
    """The mark of a difference and its interval on a horizontal axis."""
    low, high = reach(entry)
    return Mark(y, axis(entry["diff"]), (axis(low), axis(high)) if entry["ci95"] else None, system, title)


def described(entry: dict[str, Any]) -> str:
    """A difference with its interval: +0.153 (95% CI +0.101 to +0.205)."""
    if entry["ci95"] is None:
        return f"{signed(entry['diff'])} (no interval)"
    return f"{signed(entry['diff'])} (95% CI {' to '.join(map(signed, entry['ci95']))})"


def _nice_step(span: float, parts: int) -> float:
    """A step of 1, 2 or 5 times a power of ten that divides `span` into at most `parts` parts."""
    exponent = -4
    while True:
        for factor in (1, 2, 5):
            step = factor * 10.0**exponent
            if span / step <= parts:
                return step
        exponent += 1
