"""The files of a BIDS data set that belong to a recording: its sidecar, and the events that say what was on the screen.

BIDS 1.11 (2026), "Physiological recordings", which took in the extension proposal 20 for eye tracking.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamafactory_gaze.data.maps.geometry import Screen
from llamafactory_gaze.data.recordings.cells import number
from llamafactory_gaze.data.tables import DataError, read_table


MISSING = ("n/a", "")
_NAME = re.compile(r"((?:[a-zA-Z]+-[a-zA-Z0-9+]+_)+)([a-zA-Z]+)\.(tsv|tsv\.gz|json)")
_PIXELS = frozenset(("pixel", "pixels", "px"))


@dataclass(frozen=True)
class BidsName:
    """The name of a file: entities in their order (`sub`, `task`, ...), and its suffix (`physio`)."""

    entities: dict[str, str]
    suffix: str

    @property
    def trial(self) -> str:
        """What tells the recordings of a participant apart: 'ses-1_task-view_run-2'."""
        return "_".join(f"{key}-{value}" for key, value in self.entities.items() if key not in ("sub", "recording"))


@dataclass(frozen=True)
class Shown:
    """An image on the screen, in seconds of the data set's time."""

    image: str
    since: float
    until: float


def parse_name(path: Path) -> BidsName | None:
    """The name of a file after BIDS, or None for another."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    entities = dict(part.split("-") for part in match[1].strip("_").split("_"))
    return BidsName(entities, match[2]) if "sub" in entities else None


def read_sidecar(path: Path, name: BidsName, suffix: str) -> dict[str, Any]:
    """The metadata of a file: all .json files of the suffix whose entities it has, the nearest one last.

    They are looked for beside it and in the folders above, up to the one that holds the folder of the participant
    ("The inheritance principle").

    Raises:
        DataError: none, or one that is no JSON object.
    """
    folders = [path.absolute().parent]
    while any(part.startswith("sub-") for part in folders[-1].parts) and len(folders) < 5:
        folders.append(folders[-1].parent)
    found = []
    for depth, folder in enumerate(folders):
        for file in sorted(folder.glob(f"*{suffix}.json")):
            its = dict(part.split("-", 1) for part in file.name.split("_")[:-1] if "-" in part)
            if file.name.split("_")[-1] == f"{suffix}.json" and its.items() <= name.entities.items():
                found.append((-depth, len(its), file))
    if not found:
        raise DataError(f"{path} has no sidecar; expected {re.sub(r'[.].*', '.json', path.name)} beside it.")
    metadata: dict[str, Any] = {}
    for *_, file in sorted(found):
        try:
            content = json.loads(file.read_bytes())
        except (ValueError, RecursionError, OSError) as error:
            raise DataError(f"{file} is no JSON file ({error}).") from error
        if not isinstance(content, dict):
            raise DataError(f"{file} is no sidecar; expected a JSON object.")
        metadata |= content
    return metadata


def columns_of(path: Path, sidecar: dict[str, Any], needed: tuple[str, ...]) -> list[str]:
    """The names of a file's columns, which stand in its sidecar, or `DataError`."""
    columns = sidecar.get("Columns")
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise DataError(f"The sidecar of {path} has no list Columns, which names the columns.")
    twice = [name for name in columns if columns.count(name) > 1]
    missing = [name for name in needed if name not in columns]
    if missing or twice:
        what = f"lacks the column {missing[0]}" if missing else f"names the column {twice[0]} twice"
        raise DataError(f"The sidecar of {path} {what}; its Columns are {', '.join(columns)}.")
    return columns


def positive(path: Path, sidecar: dict[str, Any], key: str) -> float:
    """A number above 0 in a sidecar, or `DataError`."""
    value = sidecar.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e9:
        raise DataError(f"The sidecar of {path} says {key} {json.dumps(value)[:40]}; expected a number above 0.")
    return float(value)


def check_gaze(path: Path, sidecar: dict[str, Any], columns: tuple[str, str]) -> None:
    """Raise `DataError` unless the recording is gaze on the screen in pixels."""
    for key, wanted in (("PhysioType", "eyetrack"), ("SampleCoordinateSystem", "gaze-on-screen")):
        if sidecar.get(key) != wanted:
            raise DataError(
                f'The sidecar of {path} says {key} {json.dumps(sidecar.get(key))[:40]}; expected "{wanted}".'
            )
    for name in columns:
        units = unit_of(sidecar, name)
        if units is None or units.lower() not in _PIXELS:
            raise DataError(f'The sidecar of {path} says Units {json.dumps(units)} of {name}; expected "pixel".')


def unit_of(sidecar: dict[str, Any], column: str) -> str | None:
    about = sidecar.get(column)
    units = about.get("Units") if isinstance(about, dict) else None
    return units[:40] if isinstance(units, str) else None


def screen_of(path: Path, sidecar: dict[str, Any]) -> Screen | None:
    """The screen that the sidecar of the events describes (StimulusPresentation), or None.

    Raises:
        DataError: a description that cannot be used: another origin than top left, no numbers, pixels that are not
            square.
    """
    about = sidecar.get("StimulusPresentation")
    if not isinstance(about, dict) or "ScreenResolution" not in about:
        return None
    origin = about.get("ScreenOrigin", ["top", "left"])
    if origin != ["top", "left"]:
        raise DataError(f'{path}: ScreenOrigin is {json.dumps(origin)[:40]}; expected ["top", "left"].')
    resolution, size, distance = (about.get(key) for key in ("ScreenResolution", "ScreenSize", "ScreenDistance"))
    numbers = [*_pair(resolution), *_pair(size), distance]
    if len(numbers) != 5 or not all(type(n) in (int, float) and 0 < n < 1e6 for n in numbers):
        raise DataError(
            f"{path}: StimulusPresentation needs ScreenResolution (pixels), ScreenSize and ScreenDistance (metres); "
            "correct it, or give --screen."
        )
    width, height, wide, high, away = (float(n) for n in numbers)
    if abs(wide / width / (high / height) - 1) > 0.1:
        raise DataError(f"{path}: ScreenSize and ScreenResolution differ in shape; correct them, or give --screen.")
    return Screen((round(width), round(height)), 100 * wide, 100 * away)


def _pair(value: Any) -> list[Any]:
    return value if isinstance(value, list) and len(value) == 2 else []


def read_shown(path: Path, column: str | None) -> tuple[list[Shown], str]:
    """The images that an _events.tsv shows, one after the other, and the column that names them.

    Args:
        column: which column names the image; without it stim_file, or else trial_type.

    Raises:
        DataError: no such column, a row without an onset, a damaged file.
    """
    table = read_table(path)
    chosen = column or next((name for name in ("stim_file", "trial_type") if name in table.columns), "stim_file")
    table.require(("onset", chosen), "; say which names the image by --columns image=NAME")
    events: list[Shown] = []
    for i in range(len(table)):
        image = table.columns[chosen][i]
        if image in MISSING:
            continue
        cell = table.columns["duration"][i] if "duration" in table.columns else "n/a"
        try:
            since = number(table.columns["onset"][i], "onset", -1e9, 1e9)
            lasts = 0.0 if cell in MISSING else number(cell, "duration", 0, 1e9)
        except ValueError as error:
            raise DataError(f"{table.at(i)}: {error}.") from error
        events.append(Shown(image, since, since + (lasts or math.inf)))
    if not events:
        raise DataError(f"{path} names no image in its column {chosen}; say which one does by --columns image=NAME.")
    events.sort(key=lambda event: event.since)
    # Where two overlap, or one has no duration, the next one takes its place.
    nexts = [event.since for event in events[1:]] + [math.inf]
    return [Shown(e.image, e.since, min(e.until, n)) for e, n in zip(events, nexts, strict=True)], chosen
