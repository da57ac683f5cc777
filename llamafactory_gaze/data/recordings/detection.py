"""Raw gaze samples become fixations, by the event detection of pymovements, in memory that does not grow.

I-VT and I-DT are those of Salvucci and Goldberg, "Identifying fixations and saccades in eye-tracking protocols", ETRA
2000. The velocity is the slope of a parabola through the samples of 10 ms, as long as the five samples at 500 Hz of
Engbert and Kliegl (Vision Research 43, 2003): without it the noise of a tracker at 1000 Hz alone is faster than any
threshold.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from llamafactory_gaze.data.maps.geometry import Screen
from llamafactory_gaze.data.recordings.cells import BadLines
from llamafactory_gaze.data.tables import DataError


Method = Literal["ivt", "idt"]
Found = Callable[[float, float, float, float], None]  # start in ms, x and y in pixels, duration in ms
Spans = list[tuple[int, int]]  # first and last sample of fixations
BLOCK = 100_000  # samples of a trial that are kept at a time: 100 s at 1000 Hz
_VELOCITY_WINDOW_MS = 10.0
_DEFAULTS = {"ivt": (30.0, 60.0), "idt": (1.0, 100.0)}  # threshold, shortest fixation in ms
_SLOWEST, _FASTEST = 10.0, 10_000.0  # Hz; other rates are times in another unit than ms


@dataclass(frozen=True)
class Detection:
    """How fixations are found in samples; see `choose_detection`."""

    method: Method
    threshold: float  # ivt: degrees per second; idt: degrees
    minimum_ms: float  # the shortest fixation
    screen: Screen | None = None

    def on(self, screen: Screen | None) -> Detection:
        """The same on the screen that a recording names, unless the user named one."""
        return self if self.screen else replace(self, screen=screen)

    def check(self, path: Path, display: tuple[int, int] | None = None) -> None:
        """Raise `DataError` unless pymovements is there, and a screen, of the size that the recording names."""
        if self.screen is None:
            raise DataError(
                f"{path}: to find fixations in samples needs the screen's geometry; give it by --screen paper or "
                "WIDTHxHEIGHT,CM_WIDE,CM_AWAY."
            )
        if display and display != self.screen.size:
            raise DataError(
                f"{path} names a screen of {display[0]}x{display[1]} pixels, but --screen one of "
                f"{self.screen.size[0]}x{self.screen.size[1]}."
            )
        try:
            import pymovements  # noqa: F401
        except ImportError as error:
            raise DataError(
                "To find fixations in samples needs pymovements: pip install 'llamafactory-gaze[samples]'."
            ) from error

    def __str__(self) -> str:
        """The method, its thresholds and the library's version in one sentence."""
        from importlib.metadata import version

        assert self.screen is not None
        how = (
            f"I-VT, slower than {self.threshold:g} degrees per second"
            if self.method == "ivt"
            else f"I-DT, within {self.threshold:g} degrees (width + height)"
        )
        library, (width, height) = f"pymovements {version('pymovements')}", self.screen.size
        return (
            f"Fixations found by {library}: {how} for at least {self.minimum_ms:g} ms; screen of {width}x{height} "
            f"pixels, {self.screen.width_cm:.4g} cm wide, {self.screen.distance_cm:g} cm away."
        )


def choose_detection(
    method: Method | None,
    velocity: float | None = None,
    dispersion: float | None = None,
    minimum_ms: float | None = None,
    screen: Screen | None = None,
) -> Detection | None:
    """The detection that a user asks for, or none.

    Args:
        method: `ivt` (slower than a velocity) or `idt` (within a dispersion).
        velocity: ivt: degrees per second, 30 by default.
        dispersion: idt: degrees, 1 by default.
        minimum_ms: the shortest fixation, by default 60 ms (ivt) or 100 ms (idt).

    Raises:
        DataError: an option without its method, or a threshold that is not above 0.
    """
    given = {"--velocity": velocity, "--dispersion": dispersion, "--min-fixation": minimum_ms}
    for option, needs in (("--velocity", "ivt"), ("--dispersion", "idt")):
        if given[option] is not None and method != needs:
            raise DataError(f"{option} belongs to --detect {needs}.")
    if method is None:
        if minimum_ms is not None or screen is not None:
            raise DataError(f"{'--screen' if screen else '--min-fixation'} needs --detect ivt or --detect idt.")
        return None
    for option, value in given.items():
        if value is not None and not (0 < value < math.inf):
            raise DataError(f"{option} is {value:g}; expected a number above 0.")
    threshold, shortest = _DEFAULTS[method]
    asked = velocity if method == "ivt" else dispersion
    return Detection(
        method, threshold if asked is None else asked, shortest if minimum_ms is None else minimum_ms, screen
    )


class SampleStream:
    """Finds the fixations in the samples of one eye as they come.

    Samples are kept until the trial ends, or `BLOCK` of them have come. Then everything is settled up to the last
    sample at which no fixation can be under way, and the rest is kept for the next block; the fixations are the same
    as without blocks. Only a fixation that lasts a whole block is cut in two, which `cut` counts. A missing sample ends
    a fixation, and so does a gap in the times.
    """

    def __init__(self, detection: Detection, bad: BadLines, at: Callable[[int], str], found: Found) -> None:
        """
        Args:
            at: names the row of a number, for a message.
            found: is called with each fixation, in their order.
        """
        self.detection, self.bad, self.at, self.found = detection, bad, at, found
        self.intervals: list[float] = []  # ms between samples, those that were found in the trials
        self.samples = self.missing = self.gaps = self.cut = 0
        self.first_gap = 0  # number of the row after it
        self._begin()

    def _begin(self) -> None:
        self.numbers, self.times, self.x, self.y = array("q"), array("d"), array("d"), array("d")
        self.interval = 0.0  # of this trial; not known yet
        self.context = 0  # how many of the first samples are settled, and only there for the velocity of the others
        self.limit = BLOCK

    def add(self, number: int, time: float, x: float, y: float) -> None:
        """One sample: the number of its row, its time in ms, and its place in pixels, NaN where it is missing."""
        self.numbers.append(number)
        self.times.append(time)
        self.x.append(x)
        self.y.append(y)
        self.samples += 1
        self.missing += math.isnan(x + y)
        if len(self.times) >= self.limit:
            self._settle(trial_ends=False)

    def end(self) -> None:
        """The trial ends; what is added afterwards belongs to the next one."""
        if len(self.times) > self.context:
            self._settle(trial_ends=True)
        self._begin()

    def _settle(self, trial_ends: bool) -> None:
        numbers, times = np.array(self.numbers), np.array(self.times)
        places = np.stack([np.array(self.x), np.array(self.y)], axis=1)
        good = self._in_order(numbers, times)
        numbers, times, places = numbers[good], times[good], places[good]
        self.interval = self.interval or self._interval_of(times, numbers)
        missing = np.isnan(places).any(axis=1)
        gap = np.diff(times, prepend=times[:1] - self.interval) > 1.5 * self.interval
        if gap.any() and not self.gaps:
            self.first_gap = int(numbers[gap.argmax()])
        self.gaps += int(gap.sum())

        # Runs of samples without a missing one or a gap between them, from start up to before stop.
        starts = np.flatnonzero(~missing & (gap | np.concatenate([[True], missing[:-1]])))
        ends = np.append(np.flatnonzero(missing | gap), len(times))
        kept = len(times)
        skip, self.context = (self.context if len(starts) and starts[0] == 0 else 0), 0
        for start in starts.tolist():
            stop = int(ends[np.searchsorted(ends, start, side="right")])
            unfinished = stop == len(times) and not trial_ends
            spans, settled = self._find(places[start:stop], skip, unfinished)
            skip = 0
            for begin, last in spans:
                inside = slice(start + begin, start + last + 1)
                x, y = places[inside].mean(axis=0).tolist()
                lasts = float(times[start + last] - times[start + begin]) + self.interval
                self.found(float(times[start + begin]), round(x, 3), round(y, 3), round(lasts, 3))
            if unfinished and settled < stop - start:
                self.context = min(self._half_window, settled)
                kept = start + settled - self.context
        if kept == len(times):  # the last one stays, for the order of the times and for a gap after it
            kept, self.context = kept - 1, 1
            places[-1] = np.nan
        self.numbers, self.times = array("q", numbers[kept:].tolist()), array("d", times[kept:].tolist())
        self.x, self.y = array("d", places[kept:, 0].tolist()), array("d", places[kept:, 1].tolist())
        self.limit = max(BLOCK, len(self.times) + BLOCK // 2)

    def _in_order(self, numbers: np.ndarray, times: np.ndarray) -> np.ndarray:
        """(n,) bool: whose time is later than all before; the others go to `bad`."""
        latest = np.maximum.accumulate(times)
        good = np.concatenate([[True], times[1:] > latest[:-1]])
        for i in np.flatnonzero(~good).tolist():
            what = "comes again" if times[i] == latest[i - 1] else f"goes back from {latest[i - 1]:.12g} ms"
            self.bad.add(
                self.at(int(numbers[i])), f"the time {times[i]:.12g} ms {what}; a column trial tells trials apart"
            )
        return good

    def _interval_of(self, times: np.ndarray, numbers: np.ndarray) -> float:
        """Milliseconds between two samples of a trial.

        Raises:
            DataError: they are so long or short that the times are no milliseconds, or more than a tenth differ.
        """
        steps = np.diff(times)
        if len(steps) < 10 and self.intervals:
            return self.intervals[0]
        if not len(steps):
            return 1.0
        usual = float(np.sort(steps)[len(steps) // 2])
        regular = (steps >= 0.5 * usual) & (steps <= 1.5 * usual)
        interval = float(steps[regular].mean())
        if len(steps) < 10:
            return interval
        if not _SLOWEST <= 1000 / interval <= _FASTEST:
            raise DataError(
                f"{self.at(int(numbers[0]))}: a sample every {interval:.6g} ms is {1000 / interval:.6g} Hz; expected "
                f"times in milliseconds, {_SLOWEST:g} to {_FASTEST:g} Hz."
            )
        irregular = np.flatnonzero(~regular)
        if len(irregular) > 0.1 * len(steps):
            raise DataError(
                f"{self.at(int(numbers[irregular[0] + 1]))}: {len(irregular)} of {len(steps)} steps in time from there "
                f"on are far from the usual {usual:.6g} ms; expected a constant sampling rate."
            )
        if not any(abs(interval - known) < 0.05 * known for known in self.intervals):
            self.intervals.append(interval)
        return interval

    @property
    def _half_window(self) -> int:
        """Samples on each side of the one whose velocity is taken."""
        return max(1, round(_VELOCITY_WINDOW_MS / self.interval / 2)) if self.detection.method == "ivt" else 0

    def _find(self, places: np.ndarray, skip: int, unfinished: bool) -> tuple[Spans, int]:
        """First and last sample of the fixations in a run (n, 2), and up to where everything is settled.

        The first `skip` samples are context. Where the run is unfinished, fixations that may go on are left out.
        """
        from pymovements.transforms.numpy import pix2deg

        n = len(places) - skip
        shortest = max(2, math.ceil(self.detection.minimum_ms / self.interval - 1e-6))
        if n < shortest or len(places) < 2 * self._half_window + 1:
            return [], skip
        screen = self.detection.screen
        assert screen is not None  # Detection.check
        height_cm = screen.width_cm * screen.size[1] / screen.size[0]
        degrees = pix2deg(places, screen.size, (screen.width_cm, height_cm), screen.distance_cm, "upper left")
        find = self._slow if self.detection.method == "ivt" else self._narrow
        spans, settled = find(degrees, skip, shortest, unfinished)
        if unfinished and settled == skip and n >= BLOCK:  # one fixation all along: it is cut
            self.cut += 1
            spans, settled = find(degrees, skip, shortest, False)
        return spans, settled

    def _slow(self, degrees: np.ndarray, skip: int, shortest: int, unfinished: bool) -> tuple[Spans, int]:
        from pymovements.events import ivt
        from pymovements.transforms.numpy import norm, pos2vel

        half, threshold = self._half_window, self.detection.threshold
        velocity = pos2vel(degrees, 1000 / self.interval, "savitzky_golay", window_length=2 * half + 1, polyorder=2)
        settled = len(degrees)
        if unfinished:  # up to the last sample that is too fast, of those whose whole window is there
            fast = np.flatnonzero(norm(velocity[skip : len(degrees) - half], axis=1) >= threshold)
            settled = skip + (int(fast[-1]) if len(fast) else 0)
            if settled == skip:
                return [], skip
        events = ivt(velocity[skip:settled], minimum_duration=shortest - 1, velocity_threshold=threshold)
        return [(skip + first, skip + last) for first, last in _spans(events)], settled

    def _narrow(self, degrees: np.ndarray, skip: int, shortest: int, unfinished: bool) -> tuple[Spans, int]:
        from pymovements.events import idt

        n, threshold = len(degrees), self.detection.threshold
        spans = _spans(idt(degrees, minimum_duration=shortest, dispersion_threshold=threshold))
        settled = n
        if unfinished and spans and spans[-1][1] == n - 1:
            settled = spans.pop()[0]
        elif unfinished:
            settled = max(spans[-1][1] + 1 if spans else 0, n - shortest + 1)
        exact = []
        for first, last in spans:
            # pymovements 0.28 counts the sample that ended a fixation, which is part of the saccade.
            wide = np.ptp(degrees[first : last + 1], axis=0).sum() >= threshold
            exact.append((first, last - int(wide and last - first >= shortest)))
        return exact, settled

    def notes(self) -> list[str]:
        """What a user should know of the samples."""
        notes = []
        if self.missing:
            notes.append(f"{self.missing} of {self.samples} samples are missing (blinks); a fixation ends there.")
        if self.gaps:
            notes.append(
                f"{self.gaps} gaps in the times, the first before {self.at(self.first_gap)}; a fixation ends there."
            )
        if self.cut:
            notes.append(f"{self.cut} fixations of more than {BLOCK} samples were cut in two.")
        if len(self.intervals) > 1:
            rates = ", ".join(f"{1000 / interval:.4g}" for interval in self.intervals)
            notes.append(f"Its trials have several sampling rates: {rates} Hz.")
        return notes

    @property
    def sampling_hz(self) -> float | None:
        """The sampling rate of the first trial, as the times tell it."""
        return round(1000 / self.intervals[0], 2) if self.intervals else None


def _spans(events: object) -> Spans:
    frame = events.frame  # type: ignore[attr-defined]
    return list(zip(frame["onset"].to_list(), frame["offset"].to_list(), strict=True))
