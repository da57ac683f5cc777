"""One table of the fixations of several recordings, and the sentences that a user should read with it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from llamafactory_gaze.data.folders import building_beside
from llamafactory_gaze.data.recordings.recording import Recording
from llamafactory_gaze.data.tables import DataError


_PIXELS = {
    "screen": "pixels of the screen",
    "image": "pixels of the image",
    "unknown": "as in the table, which does not say what they are pixels of",
}


def check_output(output: Path, inputs: Sequence[Path], overwrite: bool) -> None:
    """Raise `DataError` unless the table may be written there."""
    if output.suffix.lower() != ".csv":
        raise DataError(f"The output is {output}; expected a file that ends in .csv.")
    if any(output.resolve() == path.resolve() for path in inputs):
        raise DataError(f"The output {output} is one of the recordings.")
    if output.is_dir() or (output.exists() and not overwrite):
        raise DataError(f"{output} exists; choose another --output, or replace it by --overwrite.")


def check_inputs(inputs: Sequence[Path]) -> None:
    """Raise `DataError` where two names lead to one recording, whose fixations would count twice."""
    first: dict[Path, Path] = {}
    for path in inputs:
        real = path.resolve()
        if real in first:
            raise DataError(f"{first[real]} and {path} are the same recording; name it once.")
        first[real] = path


def check_participants(recordings: Sequence[Recording], named: bool) -> None:
    """Raise `DataError` where two .asc files would become one participant by their names alone."""
    first: dict[str, Path] = {}
    for recording in recordings:
        if named or recording.format != "eyelink":
            continue
        for participant in {fixation.participant for fixation in recording.fixations}:
            other = first.setdefault(participant, recording.path)
            if other != recording.path:
                raise DataError(
                    f"{other} and {recording.path} would both be participant {participant}; rename one, or, if they "
                    "are the same person's, import them by --participant."
                )


def write_fixations(recordings: Sequence[Recording], output: Path) -> int:
    """Write all fixations as CSV, with a column eye where both of somebody's are there, and return their number.

    The table is written beside its place and moved there at the end, so an error leaves what was there before.
    """
    columns = ["image", "participant", "trial", "index", "x", "y", "duration_ms"]
    if _binocular(recordings):
        columns.append("eye")
    count = 0
    with building_beside(output) as building:
        writing = building / "table.csv"
        with writing.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            for recording in recordings:
                for fixation in recording.fixations:
                    writer.writerow([_text(getattr(fixation, name)) for name in columns])
                    count += 1
        writing.replace(output)
    return count


def _binocular(recordings: Sequence[Recording]) -> bool:
    """Whether somebody's two eyes are there; BIDS has them in two files."""
    eyes: dict[str, set[str]] = {}
    for recording in recordings:
        for fixation in recording.fixations:
            eyes.setdefault(fixation.participant, set()).add(fixation.eye)
    return any({"left", "right"} <= both for both in eyes.values())


def _text(value: str | int | float | None) -> str | int:
    """Whole numbers without '.0', others with all their digits; what is not known is empty."""
    if value is None:
        return ""
    if isinstance(value, float):
        return int(value) if value.is_integer() else repr(value)
    return value


def summary(recordings: Sequence[Recording], output: Path, count: int) -> list[str]:
    """What was read, line by line."""
    lines = []
    for recording in recordings:
        facts = [f"{len(recording.fixations)} fixations", recording.format]
        if recording.eyes:
            facts.append(" and ".join(recording.eyes) + " eye" + "s" * (len(recording.eyes) > 1))
        if recording.sampling_hz:
            facts.append(f"{recording.sampling_hz:g} Hz")
        if recording.display_px:
            facts.append("screen of {} x {} pixels".format(*recording.display_px))
        if recording.skipped:
            facts.append(f"{recording.skipped} lines left out that cannot be read")
        lines.append(f"{recording.path}: {', '.join(facts)}.")
        lines += [f"  {recording.detection}"] if recording.detection else []
        lines += [f"  Note: {note}" for note in recording.notes]
    for kind in sorted({recording.pixels_of for recording in recordings}):
        lines.append(
            f"x and y ({', '.join(sorted({r.format for r in recordings if r.pixels_of == kind}))}): {_PIXELS[kind]}."
        )
    if any(recording.pixels_of != "image" for recording in recordings):
        lines.append(
            "Pixels of the screen become pixels of the image by --screen and --placement of `heatmaps` and `dataset`."
        )
    if _binocular(recordings):
        lines.append("Binocular: a fixation stands there once per eye; --eye left or --eye right keeps one.")
    lines.append(f"Wrote {count} fixations to {output}.")
    return lines
