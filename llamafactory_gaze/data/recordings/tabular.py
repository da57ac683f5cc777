"""Fixations in tables: SR Research Data Viewer's fixation reports, and plain tables in this project's own columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

from llamafactory_gaze.data.recordings.cells import BadLines, duration, position
from llamafactory_gaze.data.recordings.recording import Fixation, ReadOptions, Recording
from llamafactory_gaze.data.recordings.records import Records, open_records
from llamafactory_gaze.data.tables import DataError


# Ours -> Data Viewer's, "Fixation Report" in the Data Viewer User Manual. Images are a variable of the experiment.
DATA_VIEWER = {
    "participant": "RECORDING_SESSION_LABEL",
    "trial": "TRIAL_INDEX",
    "index": "CURRENT_FIX_INDEX",
    "x": "CURRENT_FIX_X",
    "y": "CURRENT_FIX_Y",
    "duration_ms": "CURRENT_FIX_DURATION",
    "eye": "EYE_USED",
}
_IMAGE_NAMES = ("image", "image_name", "image_file", "img", "picture", "picture_name", "stimulus")
COLUMNS = ("image", "participant", "trial", "index", "x", "y", "duration_ms", "eye")
_OPTIONAL = ("trial", "index", "eye")
_EYES = {"left": "left", "l": "left", "right": "right", "r": "right", "": "", ".": ""}


def read_data_viewer(path: Path, options: ReadOptions, bad: BadLines) -> Recording:
    """Read a fixation report (tab separated, `.` where a value is missing), one fixation per row.

    The image's name is the column that `options.columns["image"]` names, or one of the usual names (image, picture,
    ...; any case). A row whose x, y and duration are all `.` is a trial without fixations, and is left out with a note.

    Raises:
        DataError: no image column or several, a missing column, a file that cannot be read at all.
    """
    header = open_records(path).header
    names = DATA_VIEWER | dict(options.columns)
    if "image" not in names:
        found = [name for name in header if name.lower() in _IMAGE_NAMES]
        if len(found) != 1:
            raise DataError(
                f"{path} has {'several columns' if found else 'no column'} that may name the image; it has "
                f"{', '.join(header)}; say which by --columns image=NAME."
            )
        names["image"] = found[0]
    return _read(path, options, bad, names, "data-viewer")


def read_plain(path: Path, options: ReadOptions, bad: BadLines) -> Recording:
    """Read a CSV, TSV or Parquet table with the columns image, participant, x, y and duration_ms (trial, index, eye).

    An empty duration_ms is one that is not known.

    `options.columns` says how the file names those columns, where it names them otherwise. `options.participant` stands
    for a missing column participant.

    Raises:
        DataError: a missing column, a file that cannot be read at all.
    """
    return _read(path, options, bad, {name: name for name in COLUMNS} | dict(options.columns), "table")


def _read(path: Path, options: ReadOptions, bad: BadLines, names: Mapping[str, str], format: str) -> Recording:
    records = open_records(path)
    header = records.header
    optional = {name for name in _OPTIONAL if name not in options.columns}
    if options.participant is not None:
        optional.add("participant")
    place = places_of(records, names, options, COLUMNS, optional)

    fixations: list[Fixation] = []
    seen: Counter[tuple[str, ...]] = Counter()
    empty = 0
    for number, cells in records.rows:
        if len(cells) != len(header):
            bad.add(records.at(number), f"it has {len(cells)} cells, but the header has {len(header)}")
            continue
        row = {name: cells[at] for name, at in place.items()}
        if format == "data-viewer" and all(row[name] == "." for name in ("x", "y", "duration_ms")):
            empty += 1
            continue
        try:
            fixations.append(_fixation(row, names, options, seen))
        except ValueError as error:
            bad.add(records.at(number), str(error))
    notes = []
    if empty:
        notes.append(f"{empty} rows hold a trial without fixations (x, y and duration are '.') and are left out.")
    if not fixations:
        notes.append("It has no fixations.")
    # Data Viewer reports positions on the screen; whoever made another table knows what theirs are.
    return Recording(path, format, fixations, "screen" if format == "data-viewer" else "unknown", notes=tuple(notes))


def places_of(
    records: Records, names: Mapping[str, str], options: ReadOptions, known: Collection[str], optional: Collection[str]
) -> dict[str, int]:
    """At which place of a row each of our columns stands, those of `optional` only where they are there.

    Raises:
        DataError: a missing column, or --columns names one that is not known.
    """
    unknown = [name for name in options.columns if name not in known]
    if unknown:
        raise DataError(f"--columns names an unknown column '{unknown[0]}'; expected {', '.join(known)}.")
    header = records.header
    missing = [names[name] for name in known if name not in optional and names[name] not in header]
    if missing:
        raise DataError(
            f"{records.path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; it has "
            f"{', '.join(header)}; say which is which by --columns, for example --columns x=CURRENT_FIX_X."
        )
    return {name: header.index(names[name]) for name in known if names[name] in header}


def _fixation(
    row: Mapping[str, str], names: Mapping[str, str], options: ReadOptions, seen: Counter[tuple[str, ...]]
) -> Fixation:
    image, participant = row["image"], options.participant or row.get("participant", "")
    for name, value in (("image", image), ("participant", participant)):
        if value in ("", "."):
            raise ValueError(f"the column {names[name]} is empty")
    if row.get("eye", "").lower() not in _EYES:
        raise ValueError(f"{names['eye']} is '{row['eye'][:40]}', expected left or right")
    x, y = position(row["x"], names["x"]), position(row["y"], names["y"])
    lasts = duration(row["duration_ms"], names["duration_ms"]) if row["duration_ms"] else None
    trial, eye = row.get("trial", ""), _EYES[row.get("eye", "").lower()]
    # Counted, because the numbers of the file may begin at 1, have gaps, or be missing.
    group = (image, participant, trial, eye)
    seen[group] += 1
    return Fixation(image, participant, trial, seen[group] - 1, x, y, lasts, eye)
