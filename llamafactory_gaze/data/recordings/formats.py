"""Which reader a file needs, and the one function that reads them all."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from llamafactory_gaze.data.recordings.eyelink import read_eyelink
from llamafactory_gaze.data.recordings.matlab import read_osie
from llamafactory_gaze.data.recordings.recording import BadLines, ReadOptions, Recording
from llamafactory_gaze.data.recordings.tabular import DATA_VIEWER, header_of, read_data_viewer, read_plain
from llamafactory_gaze.data.tables import DataError


FORMATS: dict[str, Callable[[Path, ReadOptions, BadLines], Recording]] = {
    "eyelink": read_eyelink,
    "data-viewer": read_data_viewer,
    "table": read_plain,
    "osie": read_osie,
}
_TABLES = (".csv", ".tsv", ".txt", ".xls", ".parquet")


def read_recording(
    path: Path,
    format: str | None = None,
    *,
    participant: str | None = None,
    image_message: str | None = None,
    columns: Mapping[str, str] | None = None,
    eye: Literal["left", "right", "both"] = "both",
    only_on_images: bool = False,
    skip_bad_lines: bool = False,
) -> Recording:
    """Read the fixations of one file.

    Args:
        path: EyeLink .asc or .asc.gz, Data Viewer fixation report, CSV, TSV or Parquet table, OSIE's fixations.mat.
        format: a key of `FORMATS`; without it, found by the file's ending and content.
        participant: instead of what the file says (.asc: of the file's name).
        image_message: .asc: regular expression with a group `image`, searched for in the text of each message (without
            its time), instead of `!V IMGLOAD`.
        columns: tables: how the file names the columns, where it names them otherwise: `{"image": "PICTURE"}`.
        eye: keep the fixations of one eye; those whose eye is unknown are kept.
        only_on_images: leave out fixations without an image.
        skip_bad_lines: leave out lines that cannot be read, and count them in `skipped`.

    Raises:
        DataError: names the file, and the lines that cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder; name the files in it" if path.is_dir() else "does not exist"
        raise DataError(f"{path} {what}.")
    chosen = format or _format_of(path)
    if chosen not in FORMATS:
        raise DataError(f"The format is '{chosen}'; expected {', '.join(FORMATS)}.")
    options = ReadOptions(participant, _image_pattern(image_message), columns or {})
    bad = BadLines()
    try:
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


def _format_of(path: Path) -> str:
    start = _start_of(path)
    ending = path.suffix.lower()
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
    if ending == ".mat":
        return "osie"
    if ending in _TABLES:
        header = header_of(path)
        return "data-viewer" if sum(name in header for name in DATA_VIEWER.values()) >= 3 else "table"
    raise DataError(f"The format of {path} is not known by its ending or content; say it by --format.")


def _start_of(path: Path) -> bytes:
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            return file.read(64)
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read ({error}).") from error
