"""Eye tracking in BIDS: samples (`_physio.tsv.gz`) and the tracker's own events (`_physioevents.tsv.gz`)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from pathlib import Path

from llamafactory_gaze.data.maps.geometry import Screen
from llamafactory_gaze.data.recordings.bids_files import (
    BidsName,
    Shown,
    check_gaze,
    columns_of,
    parse_name,
    positive,
    read_shown,
    read_sidecar,
    screen_of,
    unit_of,
)
from llamafactory_gaze.data.recordings.cells import BadLines, duration, number, position
from llamafactory_gaze.data.recordings.detection import SampleStream
from llamafactory_gaze.data.recordings.recording import Fixation, ReadOptions, Recording
from llamafactory_gaze.data.recordings.records import Records, open_records
from llamafactory_gaze.data.recordings.samples import need_detection, sample
from llamafactory_gaze.data.tables import DataError


_EYES = {"left": "left", "right": "right", "cyclopean": ""}
_MS = {"s": 1000.0, "second": 1000.0, "seconds": 1000.0, "ms": 1.0, "millisecond": 1.0, "milliseconds": 1.0}
_SHORTEST_MS = 5.0  # no tracker reports a fixation as short


def read_bids(path: Path, options: ReadOptions, bad: BadLines) -> Recording:
    """Read a `_physio.tsv.gz` of eye tracking by `options.detection`, or the fixations of a `_physioevents.tsv.gz`.

    The participant is the entity `sub`. The images are those of the `_events.tsv` beside it: its column stim_file, or
    trial_type, or what `options.columns["image"]` names; a trial is one of its rows with an image, `task-view_1`. Its
    onsets are seconds after the recording's first sample minus `StartTime`. Without such a file the column image is
    empty. The screen is the one of `_events.json` (StimulusPresentation), unless the user gave one.

    Raises:
        DataError: another name, a sidecar or events that cannot be used, no detection for samples.
    """
    name = parse_name(path)
    if name is None or name.suffix not in ("physio", "physioevents") or not path.name.endswith(".tsv.gz"):
        raise DataError(
            f"{path} is not named as BIDS has it; expected sub-<label>_..._recording-<label>_physio.tsv.gz or "
            "_physioevents.tsv.gz (_eyetrack.tsv of a draft: --format samples with --columns)."
        )
    unknown = [ours for ours in options.columns if ours not in ("image", "x", "y")]
    if unknown:
        raise DataError(f"--columns names an unknown column '{unknown[0]}'; expected image, x, y.")
    return (
        _read_samples(path, name, options, bad) if name.suffix == "physio" else _read_events(path, name, options, bad)
    )


@dataclass
class _Screening:
    """What was on the screen when."""

    shown: list[Shown] | None  # None where there is no _events.tsv
    screen: Screen | None
    notes: list[str]
    place: int = 0  # in `shown`

    def at(self, seconds: float) -> int | None:
        """The number of what was shown then, from 0; to be asked in the order of time."""
        if self.shown is None:
            return 0
        while self.place < len(self.shown) and seconds >= self.shown[self.place].until:
            self.place += 1
        if self.place < len(self.shown) and seconds >= self.shown[self.place].since:
            return self.place
        return None

    def image(self, at: int) -> str:
        return self.shown[at].image if self.shown else ""


def _screening(path: Path, name: BidsName, options: ReadOptions) -> _Screening:
    entities = {key: value for key, value in name.entities.items() if key != "recording"}
    events = path.with_name("_".join(f"{key}-{value}" for key, value in entities.items()) + "_events.tsv")
    if not events.is_file():
        return _Screening(None, None, [f"There is no {events.name}, so the column image is empty."])
    shown, column = read_shown(events, options.columns.get("image"))
    notes = [f"The images are those of the column {column} of {events.name}."]
    try:
        sidecar = read_sidecar(events, BidsName(entities, "events"), "events")
    except DataError as error:
        if "has no sidecar" not in str(error):
            raise
        sidecar = {}
    given = options.detection and options.detection.screen
    return _Screening(shown, given or screen_of(events.with_suffix(".json"), sidecar), notes)


@dataclass
class _Gaze:
    """The samples of a recording, their clock and its metadata."""

    records: Records
    place: dict[str, int]
    to_ms: float  # a timestamp times this is in milliseconds
    first: float  # first timestamp
    start: float  # StartTime in seconds
    hz: float
    eye: str

    def seconds(self, timestamp: float) -> float:
        """The data set's time."""
        return self.start + (timestamp - self.first) * self.to_ms / 1000


def _gaze(path: Path, name: BidsName) -> _Gaze:
    sidecar = read_sidecar(path, name, "physio")
    check_gaze(path, sidecar, ("x_coordinate", "y_coordinate"))
    columns = columns_of(path, sidecar, ("timestamp", "x_coordinate", "y_coordinate"))
    hz = positive(path, sidecar, "SamplingFrequency")
    start = sidecar.get("StartTime", 0)
    if type(start) not in (int, float) or not abs(start) < 1e9:
        raise DataError(f"The sidecar of {path} says StartTime {str(start)[:40]}; expected seconds.")
    eye = sidecar.get("RecordedEye")
    if eye not in _EYES:
        raise DataError(f"The sidecar of {path} says RecordedEye {str(eye)[:40]}; expected left, right or cyclopean.")
    records = open_records(path, columns)
    place = {name: columns.index(name) for name in ("timestamp", "x_coordinate", "y_coordinate")}
    begin = list(islice(records.rows, 101))
    times = []
    for _, cells in begin:
        try:
            times.append(number(cells[place["timestamp"]], "timestamp", -1e16, 1e16))
        except (ValueError, IndexError):
            continue  # told of when the row is read
    steps = sorted(b - a for a, b in pairwise(times))
    if not steps or steps[len(steps) // 2] <= 0:
        raise DataError(f"{path} holds no two rows with increasing timestamps.")
    to_ms = 1000 / hz / steps[len(steps) // 2]  # as it should be by the rate
    units = unit_of(sidecar, "timestamp")
    known = _MS.get(units.lower()) if units else min((1.0, 1000.0), key=lambda unit: abs(math.log(to_ms / unit)))
    if known is None or not 0.5 <= to_ms / known <= 2:
        raise DataError(
            f"{path}: the timestamps step by {steps[len(steps) // 2]:g} ({units or 'no Units given'}), but its sidecar "
            f"says SamplingFrequency {hz:g} Hz; expected Units ms or s that agree with it."
        )
    rows = Records(path, columns, chain(begin, records.rows))
    return _Gaze(rows, place, known, times[0], float(start), hz, _EYES[eye])


def _samples(gaze: _Gaze, bad: BadLines | None) -> Iterator[tuple[int, float, float, float, float]]:
    """Number of the row, timestamp, time in ms after the first one, x and y of each sample."""
    names = {"x": "x_coordinate", "y": "y_coordinate", "time": "timestamp"}
    for row, cells in gaze.records.rows:
        try:
            if len(cells) != len(gaze.records.header):
                raise ValueError(f"it has {len(cells)} cells, but Columns has {len(gaze.records.header)}")
            stamp = number(cells[gaze.place["timestamp"]], "timestamp", -1e16, 1e16)
            time = f"{(stamp - gaze.first) * gaze.to_ms:.6f}"
            cell = {"time": time, "x": cells[gaze.place["x_coordinate"]], "y": cells[gaze.place["y_coordinate"]]}
            yield row, stamp, *sample(cell, names)
        except ValueError as error:
            if isinstance(error, DataError):
                raise
            if bad:
                bad.add(gaze.records.at(row), str(error))


def _read_samples(path: Path, name: BidsName, options: ReadOptions, bad: BadLines) -> Recording:
    screening = _screening(path, name, options)
    detection = need_detection(path, options).on(screening.screen)
    detection.check(path, screening.screen.size if screening.screen else None)
    gaze = _gaze(path, name)
    fixations: list[Fixation] = []
    participant = options.participant or name.entities["sub"]
    at: int | None = None
    index = outside = 0

    def found(start: float, x: float, y: float, lasts: float) -> None:
        nonlocal index
        assert at is not None
        image, trial = screening.image(at), _trial(name, at)
        fixations.append(Fixation(image, participant, trial, index, x, y, lasts, gaze.eye))
        index += 1

    stream = SampleStream(detection, bad, gaze.records.at, found)
    for row, stamp, time, x, y in _samples(gaze, bad):
        now = screening.at(gaze.seconds(stamp))
        if now != at:
            stream.end()
            at, index = now, 0
        if at is None:
            outside += 1
        else:
            stream.add(row, time, x, y)
    stream.end()
    notes = screening.notes + stream.notes()
    if outside:
        notes.append(f"{outside} samples were taken while no image was shown, and are left out.")
    if not fixations:
        notes.append("No fixation was found in it.")
    size = screening.screen.size if screening.screen else None
    return Recording(
        path, "bids", fixations, "screen", size, stream.sampling_hz, notes=tuple(notes), detection=str(detection)
    )


def _trial(name: BidsName, at: int) -> str:
    return "_".join(filter(None, (name.trial, str(at + 1))))


@dataclass
class _Event:
    row: int
    onset: float  # timestamp
    lasts: float  # ms
    x: float = math.nan
    y: float = math.nan
    samples: int = 0


def _read_events(path: Path, name: BidsName, options: ReadOptions, bad: BadLines) -> Recording:
    """Where the events have no columns x and y, a fixation lies at the mean of its samples in `_physio.tsv.gz`."""
    sidecar = read_sidecar(path, name, "physioevents")
    columns = columns_of(path, sidecar, ("onset", "duration", "trial_type"))
    if sidecar.get("OnsetSource") != "timestamp":
        raise DataError(
            f"The sidecar of {path} says OnsetSource {str(sidecar.get('OnsetSource'))[:40]}; expected timestamp, the "
            "column of its _physio.tsv.gz."
        )
    physio = path.with_name(path.name.replace("_physioevents.tsv.gz", "_physio.tsv.gz"))
    if not physio.is_file():
        raise DataError(f"{path} needs {physio.name} beside it, whose timestamps its onsets are.")
    screening = _screening(path, name, options)
    gaze = _gaze(physio, name)
    xy = [options.columns.get(ours, f"{ours}_coordinate") for ours in ("x", "y")]
    if options.columns.keys() & {"x", "y"}:
        columns_of(path, sidecar, (xy[0], xy[1]))
    placed = all(column in columns for column in xy)
    units = unit_of(sidecar, "duration")
    to_ms = _MS.get(units.lower()) if units else gaze.to_ms
    if to_ms is None:
        raise DataError(f"The sidecar of {path} says Units {units} of duration; expected ms or s.")

    records = open_records(path, columns)
    events = list(_events_of(records, xy if placed else [], to_ms, bad))
    events.sort(key=lambda event: event.onset)
    if events and max(event.lasts for event in events) < _SHORTEST_MS:
        raise DataError(
            f"{path}: no fixation lasts {_SHORTEST_MS:g} ms; if its durations are in another unit than its onsets, its "
            'sidecar must say so: "duration": {"Units": "s"}.'
        )
    if not placed:
        _place(events, gaze)

    participant = options.participant or name.entities["sub"]
    fixations: list[Fixation] = []
    counts: dict[int, int] = {}
    outside = 0
    for event in events:
        at = screening.at(gaze.seconds(event.onset))
        if at is None:
            outside += 1
        elif math.isnan(event.x):
            bad.add(records.at(event.row), f"the fixation has no sample in {physio.name}")
        else:
            index = counts[at] = counts.get(at, -1) + 1
            x, y, lasts = round(event.x, 3), round(event.y, 3), round(event.lasts, 3)
            fixations.append(Fixation(screening.image(at), participant, _trial(name, at), index, x, y, lasts, gaze.eye))
    notes = screening.notes
    if not placed:
        notes.append(f"The places of the fixations are the means of their samples in {physio.name}.")
    if outside:
        notes.append(f"{outside} fixations began while no image was shown, and are left out.")
    if not fixations:
        notes.append("It has no fixations (trial_type fixation).")
    size = screening.screen.size if screening.screen else None
    return Recording(path, "bids", fixations, "screen", size, gaze.hz, notes=tuple(notes))


def _events_of(records: Records, xy: list[str], to_ms: float, bad: BadLines) -> Iterator[_Event]:
    for row, cells in records.rows:
        if len(cells) != len(records.header):
            bad.add(records.at(row), f"it has {len(cells)} cells, but Columns has {len(records.header)}")
            continue
        cell = dict(zip(records.header, cells, strict=True))
        if cell["trial_type"].lower() != "fixation":
            continue
        try:
            onset = number(cell["onset"], "onset", -1e16, 1e16)
            lasts = duration(f"{number(cell['duration'], 'duration', 0, 1e9) * to_ms:.6f}", "duration in ms")
            x, y = (position(cell[name], name) for name in xy) if xy else (math.nan, math.nan)
        except ValueError as error:
            bad.add(records.at(row), str(error))
        else:
            yield _Event(row, onset, lasts, x, y)


def _place(events: list[_Event], gaze: _Gaze) -> None:
    """Give each event, in the order of their onsets, the mean place of its samples, which are gone through once."""
    begin = 0
    for _, stamp, _, x, y in _samples(gaze, None):
        while begin < len(events) and stamp >= events[begin].onset + events[begin].lasts / gaze.to_ms:
            begin += 1
        if begin == len(events):
            return
        event = events[begin]
        if stamp >= event.onset and not math.isnan(x + y):
            event.samples += 1
            event.x = x if event.samples == 1 else event.x + (x - event.x) / event.samples
            event.y = y if event.samples == 1 else event.y + (y - event.y) / event.samples
