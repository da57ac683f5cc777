"""Raw gaze in tables: one sample per row, from which the fixations are still to be found."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from llamafactory_gaze.data.recordings.cells import BadLines, number, position
from llamafactory_gaze.data.recordings.detection import Detection, SampleStream
from llamafactory_gaze.data.recordings.recording import Fixation, ReadOptions, Recording
from llamafactory_gaze.data.recordings.records import open_records
from llamafactory_gaze.data.recordings.tabular import places_of
from llamafactory_gaze.data.tables import DataError


COLUMNS = ("time", "image", "participant", "trial", "x", "y")
MAX_TIME_MS = 1e13  # the clock of a computer counts 2e12 ms; above it are microseconds
_MISSING = frozenset(("", ".", "n/a", "na", "nan"))  # of trackers, BIDS, R, and Python


def read_samples(path: Path, options: ReadOptions, bad: BadLines) -> Recording:
    """Find the fixations in a table of samples with the columns time, x, y, image and participant (trial).

    CSV or TSV, which may be packed by gzip, or Parquet. time is in milliseconds; x and y are pixels of the screen, or
    empty, `.`, `n/a`, `NA` or `NaN` where the eye was lost. Rows without an image (between two trials) are left out
    with a note. A trial is what follows each other with the same image, participant and trial. It is read row by row
    and goes through `SampleStream`, so memory does not grow with its length, nor with that of a recording without
    trials. `options.columns` and `options.participant` are those of a plain table.

    Raises:
        DataError: no detection was asked for, a missing column, times that are no milliseconds or irregular, a file
            that cannot be read at all.
    """
    detection = need_detection(path, options)
    detection.check(path)
    records = open_records(path)
    names = {name: name for name in COLUMNS} | dict(options.columns)
    optional = {"trial"} - options.columns.keys()
    if options.participant is not None:
        optional.add("participant")
    place = places_of(records, names, options, COLUMNS, optional)

    fixations: list[Fixation] = []
    seen: Counter[tuple[str, str, str]] = Counter()
    trial: tuple[str, str, str] = ("", "", "")
    without_image = 0

    def found(start: float, x: float, y: float, lasts: float) -> None:
        fixations.append(Fixation(*trial, seen[trial], x, y, lasts, ""))
        seen[trial] += 1

    stream = SampleStream(detection, bad, records.at, found)
    for row, cells in records.rows:
        if len(cells) != len(records.header):
            bad.add(records.at(row), f"it has {len(cells)} cells, but the header has {len(records.header)}")
            continue
        image = cells[place["image"]]
        if image in ("", "."):
            without_image += 1
            continue
        try:
            time, x, y = sample({name: cells[place[name]] for name in ("time", "x", "y")}, names)
            participant = options.participant or cells[place["participant"]]
            if participant in ("", "."):
                raise ValueError(f"the column {names['participant']} is empty")
        except ValueError as error:
            bad.add(records.at(row), str(error))
            continue
        now = (image, participant, cells[place["trial"]] if "trial" in place else "")
        if now != trial:
            stream.end()
            trial = now
        stream.add(row, time, x, y)
    stream.end()

    notes = stream.notes()
    if without_image:
        notes.append(f"{without_image} rows name no image and are left out.")
    if not fixations:
        notes.append("No fixation was found in it.")
    return Recording(
        path,
        "samples",
        fixations,
        "screen",
        display_px=detection.screen.size if detection.screen else None,
        sampling_hz=stream.sampling_hz,
        notes=tuple(notes),
        detection=str(detection),
    )


def need_detection(path: Path, options: ReadOptions) -> Detection:
    """The detection that was asked for, or `DataError`."""
    if options.detection is None:
        raise DataError(
            f"{path} holds raw samples; say how to find fixations in them, for example --detect ivt --screen paper."
        )
    return options.detection


def sample(cells: Mapping[str, str], names: Mapping[str, str]) -> tuple[float, float, float]:
    """time in ms, x and y in pixels, NaN where one of them is missing.

    Raises:
        ValueError: another word than a missing value, or a number out of range.
    """
    time = number(cells["time"], names["time"], -MAX_TIME_MS, MAX_TIME_MS)
    x, y = (math.nan if cells[name].lower() in _MISSING else position(cells[name], names[name]) for name in ("x", "y"))
    return time, x, y
