"""Which reader a recording needs, and the one function that reads them all.

EyeLink's own EDF is not read. Each package that reads it (eyelinkio, pyedfread, eyelink-reader) does so through SR
Research's library edfapi, which is not free software and runs inside the process; SR Research's program edf2asc writes
the same as text, and the message for an .edf says how to call it.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from llamafactory_gaze.data.recordings.bids import read_bids
from llamafactory_gaze.data.recordings.bids_files import parse_name
from llamafactory_gaze.data.recordings.cat2000 import LOCATIONS, read_cat2000
from llamafactory_gaze.data.recordings.cells import BadLines
from llamafactory_gaze.data.recordings.detection import Detection
from llamafactory_gaze.data.recordings.eyelink import read_eyelink
from llamafactory_gaze.data.recordings.matlab import mat_files, read_osie, variables_of
from llamafactory_gaze.data.recordings.recording import ReadOptions, Recording
from llamafactory_gaze.data.recordings.records import ending_of, open_records
from llamafactory_gaze.data.recordings.salicon import read_salicon
from llamafactory_gaze.data.recordings.samples import read_samples
from llamafactory_gaze.data.recordings.tabular import DATA_VIEWER, read_data_viewer, read_plain
from llamafactory_gaze.data.tables import DataError


FORMATS: dict[str, Callable[[Path, ReadOptions, BadLines], Recording]] = {
    "eyelink": read_eyelink,
    "data-viewer": read_data_viewer,
    "table": read_plain,
    "samples": read_samples,
    "bids": read_bids,
    "osie": read_osie,
    "cat2000": read_cat2000,
    "salicon": read_salicon,
}
_OF_FOLDERS = ("cat2000", "salicon")
_DETECTING = ("eyelink", "samples", "bids")
_TABLES = (".csv", ".tsv", ".txt", ".xls", ".parquet")


def read_recording(
    path: Path,
    format: str | None = None,
    *,
    participant: str | None = None,
    image_message: str | None = None,
    image_named: Literal["before", "after"] | None = None,
    columns: Mapping[str, str] | None = None,
    detection: Detection | None = None,
    eye: Literal["left", "right", "both"] = "both",
    only_on_images: bool = False,
    skip_bad_lines: bool = False,
) -> Recording:
    """Read the fixations of one file, or of a folder of CAT2000 or SALICON.

    Args:
        path: EyeLink .asc or .asc.gz, Data Viewer fixation report, CSV, TSV or Parquet table of fixations or samples,
            BIDS `_physio.tsv.gz` or `_physioevents.tsv.gz`, OSIE's fixations.mat, CAT2000's FIXATIONLOCS, SALICON's
            .json or .mat.
        format: a key of `FORMATS`; without it, found by the file's ending and content.
        participant: instead of what the file says (.asc: of the file's name).
        image_message: .asc: regular expression with a group `image`, searched for in the text of each message (without
            its time), instead of `!V IMGLOAD`.
        image_named: .asc: whether an image between two recordings is named before or after its own; without it, as the
            file's first and last recordings show.
        columns: tables: how the file names the columns, where it names them otherwise: `{"image": "PICTURE"}`.
        detection: how to find fixations in samples, of tables, BIDS, and .asc instead of their EFIX lines.
        eye: keep the fixations of one eye; those whose eye is unknown are kept.
        only_on_images: leave out fixations without an image.
        skip_bad_lines: leave out lines that cannot be read, and count them in `skipped`.

    Raises:
        DataError: names the file, and the lines that cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path} does not exist.")
    options = ReadOptions(participant, _image_pattern(image_message), image_named, columns or {}, detection)
    if format is not None and format not in FORMATS:
        raise DataError(f"The format is '{format}'; expected {', '.join(FORMATS)}.")
    bad = BadLines()
    try:
        chosen = format or (_format_of_folder(path) if path.is_dir() else _format_of(path, options))
        if path.is_dir() and chosen not in _OF_FOLDERS:
            raise DataError(f"{path} is a folder; name the files in it.")
        if detection and chosen not in _DETECTING:
            raise DataError(f"{path} ({chosen}) holds fixations and no samples; leave out --detect.")
        recording = FORMATS[chosen](path, options, bad)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}).") from error
    if not skip_bad_lines:
        bad.refuse(path)

    fixations, notes = recording.fixations, list(recording.notes)
    if eye != "both":
        fixations = [fixation for fixation in fixations if fixation.eye in (eye, "")]
    if only_on_images:
        on_images = [fixation for fixation in fixations if fixation.image]
        notes.append(f"{len(fixations) - len(on_images)} fixations without an image are left out.")
        fixations = on_images
    return replace(recording, fixations=fixations, notes=tuple(notes), skipped=bad.count)


def _image_pattern(text: str | None) -> re.Pattern[str] | None:
    if text is None:
        return None
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise DataError(f"--image-message '{text}' is no regular expression ({error}).") from error
    if "image" not in pattern.groupindex:
        raise DataError(f"--image-message '{text}' has no group 'image'; mark the name: 'picture (?P<image>\\S+)'.")
    return pattern


def _format_of_folder(path: Path) -> str:
    if path.name == LOCATIONS or (path / LOCATIONS).is_dir():
        return "cat2000"
    if any(path.rglob("*.mat")):
        first = next(iter(mat_files(path)))
        found = _format_of_mat(first)
        if found in _OF_FOLDERS:
            return found
    raise DataError(f"{path} is a folder, and neither CAT2000's nor SALICON's; name the files in it.")


def _format_of(path: Path, options: ReadOptions) -> str:
    start = _start_of(path)
    if not start:
        raise DataError(f"{path} is empty.")
    if start.startswith(b"SR_RESEARCH"):
        raise DataError(
            f"{path} is EyeLink's own EDF, which SR Research's program converts: edf2asc -e {path}; then import the "
            f"{path.with_suffix('.asc').name} that it writes."
        )
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path} is UTF-16 text; save it again as UTF-8.")
    if path.name.lower().endswith((".asc", ".asc.gz")) or start.startswith(b"** CONVERTED FROM"):
        return "eyelink"
    ending = ending_of(path)
    name = parse_name(path)
    if name and name.suffix in ("physio", "physioevents", "eyetrack"):
        return "bids"
    if ending == ".mat":
        return _format_of_mat(path)
    if ending == ".json":
        return "salicon"
    if ending in _TABLES:
        header = open_records(path).header
        if sum(name in header for name in DATA_VIEWER.values()) >= 3:
            return "data-viewer"
        time, duration = (options.columns.get(name, name) for name in ("time", "duration_ms"))
        return "samples" if time in header and duration not in header else "table"
    raise DataError(f"The format of {path} is not known by its ending or content; say it by --format.")


def _format_of_mat(path: Path) -> str:
    variables = variables_of(path)
    if "fixLocs" in variables:
        return "cat2000"
    return "salicon" if "gaze" in variables else "osie"


def _start_of(path: Path) -> bytes:
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            return file.read(64)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}).") from error
