"""EyeLink recordings as text: the .asc files of SR Research's converter edf2asc.

The layout is described in the EyeLink 1000 Plus User Manual, sections "The ASC File Format" and "Messages" (`!V`
messages: Data Viewer User Manual, "Protocol for EyeLink Data to Viewer Integration").
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path, PureWindowsPath

from llamafactory_gaze.data.recordings.cells import BadLines, duration, position
from llamafactory_gaze.data.recordings.detection import SampleStream
from llamafactory_gaze.data.recordings.eyelink_trials import Named, Trial, keep_to_trials, named_ahead, order_matters
from llamafactory_gaze.data.recordings.recording import Fixation, ReadOptions, Recording
from llamafactory_gaze.data.recordings.samples import sample
from llamafactory_gaze.data.tables import DataError


_LONGEST_LINE = 1 << 16  # bytes; edf2asc writes a few hundred at most
_WORDS = frozenset(
    ("MSG", "START", "END", "SFIX", "EFIX", "SSACC", "ESACC", "SBLINK", "EBLINK", "INPUT", "BUTTON", "PRESCALER")
).union(("VPRESCALER", "PUPIL", "EVENTS", "SAMPLES"))
_EYES = {"L": "left", "R": "right"}
_DISPLAY = re.compile(r"(?:DISPLAY_COORDS|GAZE_COORDS|SCREEN_PIXEL_COORDS)\b\s*[=:]?\s*(.*)", re.IGNORECASE)
# IMGLOAD FILL path, IMGLOAD CENTER path x y [width height], IMGLOAD TOP_LEFT path x y [width height]
_IMGLOAD = re.compile(r"!V\s+IMGLOAD\s+(?:FILL|CENTER|TOP_LEFT)\s+(?P<path>.+?)(?P<place>(?:\s+-?\d+(?:\.\d+)?)*)\s*$")


def read_eyelink(path: Path, options: ReadOptions, bad: BadLines) -> Recording:
    """Read the fixations that the tracker itself found (EFIX lines) out of an .asc or .asc.gz file.

    With `options.detection` they are found in the file's samples instead, and its EFIX lines are left out. Samples are
    passed over or go through `SampleStream`, so memory grows with the fixations alone. A trial begins with a TRIALID
    message, or with START where none came before it, and is then named by its number, from 1. The name of an image is
    the last part of an IMGLOAD message's path, or what `options.image_message` finds in a message; `eyelink_trials`
    says which trial it is of.

    Returns:
        x and y in pixels of the screen, durations in ms as the tracker wrote them.

    Raises:
        DataError: no EyeLink text, fixations in other units than pixels, two images of the same name, images that may
            be of the recording before or after them; samples on another screen than the user's.
    """
    if options.detection:
        options.detection.check(path)
    reader = _Reader(path, options, bad)
    for number, line in _lines(path, bad, samples=options.detection is not None):
        reader.line(number, line)
    return reader.recording()


def _lines(path: Path, bad: BadLines, samples: bool) -> Iterator[tuple[int, bytes]]:
    """The number and bytes of each line, without samples unless asked for; a line that is not whole goes to `bad`."""
    number = 0
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            while line := file.readline(_LONGEST_LINE):
                number += 1
                if not line.endswith(b"\n"):
                    long = len(line) == _LONGEST_LINE
                    while long and line and not line.endswith(b"\n"):
                        line = file.readline(_LONGEST_LINE)
                    problem = f"it is longer than {_LONGEST_LINE} bytes" if long else "the file ends within it"
                    bad.add(f"{path}, line {number}", problem)
                elif samples or not line[:1].isdigit():
                    yield number, line
    except (EOFError, OSError, zlib.error) as error:
        bad.add(f"{path}, line {number + 1}", f"the compressed file is cut off or damaged there ({error})")


class _Reader:
    def __init__(self, path: Path, options: ReadOptions, bad: BadLines) -> None:
        self.path, self.options, self.bad = path, options, bad
        self.participant = options.participant or participant_of(path)
        self.trial: Trial | None = None
        self.trials: list[Trial] = []  # all that have begun
        self.outside: Named = []  # images named since the last trial was closed
        self.recording_since: str | None = None  # the time of a START without its END
        self.recording_began = False  # in the present trial
        self.without_end: list[str] = []
        self.displays: list[tuple[int, int]] = []
        self.rates: list[float] = []
        self.paths: dict[str, str] = {}  # name of an image -> its path in the recording
        self.known = False  # has anything of an EyeLink file been seen?
        self.streams: dict[str, SampleStream] = {}  # of each eye, where fixations are to be found in samples
        self.eyes: list[str] = []  # whose samples stand in a line, in their order

    def line(self, number: int, raw: bytes) -> None:
        where = self.at(number)
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            self.bad.add(where, "it is not UTF-8 text")
            return
        words = text.split()
        if "\0" in text:
            self.bad.add(where, "it holds a zero byte, as no text does")
        elif words and (words[0] in _WORDS or text[0].isdigit()):
            self.known = self.known or words[0] in _WORDS
            try:
                if words[0] in _WORDS:
                    self._event(words[0], words, text)
                else:
                    self._sample(number, words)
            except ValueError as error:
                if isinstance(error, DataError):
                    raise
                self.bad.add(where, str(error))
        elif words and not text[0].isspace() and not text.startswith(("*", ">", "#", "-")):
            # Header and calibration begin with these signs or with blanks; anything else may have been a fixation.
            self.bad.add(where, f"it begins with '{words[0][:20]}', as no line of an EyeLink file does")

    def at(self, number: int) -> str:
        return f"{self.path}, line {number}"

    def _sample(self, number: int, words: list[str]) -> None:
        # time, then x, y and pupil of each eye, then what else edf2asc was asked for; '.' is missing
        if not self.eyes:
            raise ValueError("a sample stands before any START that names its eye")
        if len(words) < 1 + 3 * len(self.eyes):
            raise ValueError(f"the sample has {len(words)} values, expected {1 + 3 * len(self.eyes)} or more")
        names = {"time": "the time", "x": "x", "y": "y"}
        read = [
            sample({"time": words[0], "x": words[1 + 3 * i], "y": words[2 + 3 * i]}, names)
            for i in range(len(self.eyes))
        ]
        if self.trial is None:
            self._begin_trial(str(len(self.trials) + 1))
        for eye, (time, x, y) in zip(self.eyes, read, strict=True):
            self.streams[eye].add(number, time, x, y)

    def _begin_samples(self, eyes: list[str]) -> None:
        self._end_samples()
        self.eyes = eyes if self.options.detection else []
        for eye in self.eyes:
            if eye not in self.streams:
                assert self.options.detection is not None
                found = partial(self._found, eye)
                self.streams[eye] = SampleStream(self.options.detection, self.bad, self.at, found)

    def _end_samples(self) -> None:
        for stream in self.streams.values():
            stream.end()

    def _found(self, eye: str, start: float, x: float, y: float, lasts: float) -> None:
        assert self.trial is not None
        fixation = Fixation("", self.participant, self.trial.name, self.trial.counts[eye], x, y, lasts, eye)
        self.trial.counts[eye] += 1
        self.trial.records_again()
        self.trial.fixations.append((start, fixation))

    def _event(self, word: str, words: list[str], text: str) -> None:
        if word == "MSG":
            self._message(text)
        elif word == "EFIX":
            if self.options.detection is None:
                self._fixation(words)
        elif word == "START":
            if len(words) < 3:
                raise ValueError("START has no time or names no eye")
            if self.recording_since:
                self.without_end.append(self.recording_since)
            if self.trial is None or (self.recording_began and not self.trial.by_message):
                self._begin_trial(str(len(self.trials) + 1))
            self._begin_samples([_EYES[eye[0]] for eye in ("LEFT", "RIGHT") if eye in words])
            self.recording_since, self.recording_began = words[1], True
        elif word == "END":
            self._end_samples()
            self.recording_since = None
            if self.trial:
                self.trial.records_again()
                self.trial.ended = True
        elif word in ("EVENTS", "SAMPLES"):
            if word == "EVENTS" and len(words) > 1 and words[1] != "GAZE":
                raise DataError(
                    f"{self.path} holds positions in {words[1]} units, expected pixels of the screen (GAZE); convert "
                    "the EDF file again without -r, -href or -raw."
                )
            if "RATE" in words[:-1]:
                rate = words[words.index("RATE") + 1]
                if not re.fullmatch(r"\d+(\.\d+)?", rate) or not 0 < float(rate) <= 10_000:
                    raise ValueError(f"the sampling rate is '{rate}', expected Hz")
                if float(rate) not in self.rates:
                    self.rates.append(float(rate))

    def _message(self, text: str) -> None:
        match = re.match(r"MSG\s+(\d+(?:\.\d+)?)\s+(?:(-?\d+)\s+)?(.*)", text)
        if match is None:
            if re.fullmatch(r"MSG\s+\d+(\.\d+)?\s*", text):  # an empty message
                return
            raise ValueError("MSG has no time")
        when, offset, message = match.groups()
        time = float(when) - int(offset or 0)  # an offset says how long ago the event was when the message came
        display = _DISPLAY.match(message)
        if display:
            size = _display_size(display[1])
            if self.options.detection:
                self.options.detection.check(self.path, size)
            if size not in self.displays:
                self.displays.append(size)
        elif re.match(r"TRIALID\b", message):
            self._trial_id(message[len("TRIALID") :].strip())
        image = self._image(message)
        if image:
            trial = self.trial
            (self.outside if trial is None else trial.after if trial.ended else trial.images).append((time, image))
        if re.match(r"TRIAL_RESULT\b", message):
            if self.trial:
                self.trial.closed = True
            self._end_trial()

    def _trial_id(self, name: str) -> None:
        trial = self.trial
        if trial is None or trial.by_message or trial.ended or trial.fixations:
            self._begin_trial(name or str(len(self.trials) + 1), by_message=True)
        else:  # it names the recording that has just begun
            trial.name, trial.by_message = name or trial.name, True

    def _image(self, message: str) -> str | None:
        if self.options.image_message is not None:
            match = self.options.image_message.search(message)
            return match["image"] if match else None
        match = _IMGLOAD.search(message)
        if match is None:
            return None
        name = PureWindowsPath(match["path"]).name  # of both kinds of slashes: trackers' hosts run Windows
        if self.paths.setdefault(name, match["path"]) != match["path"]:
            raise DataError(
                f"{self.path} shows two images of the name {name}, {self.paths[name]} and {match['path']}; tell them "
                r"apart by --image-message, for example '!V IMGLOAD FILL (?P<image>\S+)'."
            )
        return name

    def _fixation(self, words: list[str]) -> None:
        # EFIX eye start end duration x y pupil, and two more numbers where edf2asc was asked for the resolution
        if len(words) not in (8, 10):
            raise ValueError(f"EFIX has {len(words) - 1} values, expected 7 (or 9, with the resolution)")
        if words[1] not in _EYES:
            raise ValueError(f"EFIX names the eye '{words[1][:20]}', expected L or R")
        if not all(re.fullmatch(r"\d+(\.\d+)?", word) for word in words[2:4]):
            raise ValueError(f"EFIX lasts from '{words[2][:20]}' to '{words[3][:20]}', expected two times in ms")
        start, end = float(words[2]), float(words[3])
        lasts, x, y = duration(words[4], "the duration"), position(words[5], "x"), position(words[6], "y")
        # A fixation lasts to the end of its last sample: end - start, and one sample more (4 ms at 250 Hz).
        if not 0 <= lasts - (end - start) <= 8:
            raise ValueError(f"EFIX lasts {words[4]} ms, which is not from {words[2]} to {words[3]}")
        if self.trial is None:
            self._begin_trial(str(len(self.trials) + 1))
        self._found(_EYES[words[1]], start, x, y, lasts)

    def _begin_trial(self, name: str, by_message: bool = False) -> None:
        last = self.trial
        self._end_trial()
        self.trial = Trial(name, by_message, self.outside, last.after if last else [])
        self.outside = []
        self.trials.append(self.trial)

    def _end_trial(self) -> None:
        self._end_samples()
        self.trial = None
        self.recording_began = False

    def _images_ahead(self, notes: list[str]) -> bool:
        """Whether an image that stands outside of trials is of the one that follows."""
        told = self.options.image_named
        if told or not order_matters(self.trials):
            return told != "after"
        ahead = named_ahead(self.trials)
        if ahead is None:
            raise DataError(
                f"{self.path} names images outside of its recordings, and it is not clear of which they are: expected "
                "one before the first recording or after the last, not both; say by --image-named whether images are "
                "named before or after their recording."
            )
        if any(trial.between for trial in self.trials):
            place, other = ("before", "after") if ahead else ("after", "before")
            notes.append(
                f"Images between two recordings are taken as named {place} their recording; --image-named {other} says "
                "otherwise."
            )
        return ahead

    def recording(self) -> Recording:
        self._end_trial()
        if self.recording_since:
            self.without_end.append(self.recording_since)
        if not self.known:
            raise DataError(f"{self.path} holds no line of an EyeLink .asc file; is it one?")
        notes: list[str] = []
        keep_to_trials(self.trials)
        ahead = self._images_ahead(notes)
        fixations = [
            replace(fixation, image=image)
            for trial in self.trials
            for (_, fixation), image in zip(trial.fixations, trial.images_of_fixations(ahead), strict=True)
        ]
        without_image = sum(not fixation.image for fixation in fixations)
        with_several = sum(len({image for _, image in trial.named(ahead)}) > 1 for trial in self.trials)
        detection, samples = self.options.detection, list(self.streams.values())
        if not fixations and detection is None:
            notes.append(
                "It has no EFIX line: the tracker stored no fixations, or edf2asc was run with -s or -ne; --detect ivt "
                "--screen WIDTHxHEIGHT,CM_WIDE,CM_AWAY finds them in its samples."
            )
        elif detection and not sum(stream.samples for stream in samples):
            notes.append("It has no samples: edf2asc was run with -e; without --detect the EFIX lines are read.")
        for eye, stream in self.streams.items():
            notes += [f"The {eye} eye: {note}" for note in stream.notes()]
        if fixations and without_image == len(fixations):
            notes.append("No message names an image, so the column image is empty; say how yours do: --image-message.")
        elif without_image:
            notes.append(
                f"{without_image} fixations began before an image was named in their trial; their column image "
                "is empty, and --only-on-images leaves them out."
            )
        if with_several:
            notes.append(
                f"{with_several} trials name several images; a fixation got the one named last before it began."
            )
        if self.without_end:
            notes.append(
                f"{len(self.without_end)} x START without END (the first at {self.without_end[0]}); was the "
                "file cut off?"
            )
        if len(self.displays) > 1:
            sizes = ", ".join(f"{width} x {height}" for width, height in self.displays)
            notes.append(f"It names several sizes of the screen: {sizes}; the first is reported.")
        if len(self.rates) > 1:
            notes.append(f"It names several sampling rates: {', '.join(f'{rate:g}' for rate in self.rates)} Hz.")
        return Recording(
            path=self.path,
            format="eyelink",
            fixations=fixations,
            pixels_of="screen",
            display_px=self.displays[0] if self.displays else None,
            sampling_hz=self.rates[0] if self.rates else None,
            notes=tuple(notes),
            detection=str(detection or ""),
        )


def participant_of(path: Path) -> str:
    """The name of the file without .asc and .gz."""
    return re.sub(r"(\.asc)?(\.gz)?$", "", path.name, flags=re.IGNORECASE)


def _display_size(text: str) -> tuple[int, int]:
    """Width and height out of "left top right bottom".

    The manual's right and bottom are the last pixels (1279 1023), yet some programs write the size (1920 1080); screens
    have even numbers of pixels, which tells the two apart.
    """
    numbers = re.findall(r"-?\d+(?:\.\d+)?", text)
    if len(numbers) != 4:
        raise ValueError(f"the screen's coordinates are '{text.strip()[:40]}', expected four numbers")
    left, top, right, bottom = (float(number) for number in numbers)
    if not (0 < right - left <= 100_000 and 0 < bottom - top <= 100_000):
        raise ValueError(f"the screen's coordinates are '{text.strip()[:40]}', which enclose no screen")
    width, height = int(right - left), int(bottom - top)
    return width + width % 2, height + height % 2
