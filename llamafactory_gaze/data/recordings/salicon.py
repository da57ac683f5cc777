"""SALICON as published: the annotations as JSON, and one MATLAB file per image.

Jiang, Huang, Duan and Zhao, "SALICON: Saliency in context", CVPR 2015. Its people moved a mouse over a blurred image
that was sharp around the mouse, so nothing of it is an eye movement.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamafactory_gaze.data.recordings.cells import MAX_PIXELS, BadLines
from llamafactory_gaze.data.recordings.matlab import field_of, load_variables, mat_files
from llamafactory_gaze.data.recordings.recording import Fixation, ReadOptions, Recording
from llamafactory_gaze.data.tables import DataError


if TYPE_CHECKING:
    import numpy as np


# A file is read whole, in about 25 times its size of memory.
MAX_JSON_BYTES = 256 << 20
_NO_DURATIONS = "SALICON has no durations: duration_ms is empty; make maps by --weight count."
_MOUSE_SAMPLES = 30  # positions per viewing of 5 s: nobody fixates so often


def read_salicon(path: Path, options: ReadOptions, bad: BadLines) -> Recording:
    """Read an annotation file (.json), a .mat file of an image, or a folder of these; see the two functions below."""
    if path.suffix.lower() == ".json":
        return _read_json(path, options, bad)
    return _read_mats(path, options, bad)


def _read_json(path: Path, options: ReadOptions, bad: BadLines) -> Recording:
    """Read fixations_train2014.json and its like: `images` with id, file_name, height and width, and `annotations` with
    image_id, worker_id and fixations.

    A fixation is (row, column), and the first of each is 1, as github.com/NUS-VIP/salicon-api draws them. Files of
    before 25 April 2015 had (column, row) from 0, and are refused. Worker 307 is participant w307.

    Raises:
        DataError: no such file, or one above `MAX_JSON_BYTES`.
    """
    if path.stat().st_size > MAX_JSON_BYTES:
        raise DataError(
            f"{path} has {path.stat().st_size >> 20} MiB; annotation files, which hold every position of the mouse, "
            f"are read up to {MAX_JSON_BYTES >> 20}; import SALICON's .mat files, whose fixations are fixations."
        )
    try:
        content = json.loads(path.read_bytes(), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON file ({error}).") from error
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), list) for key in ("images", "annotations")
    ):
        raise DataError(f"{path} is no annotation file of SALICON; expected the lists images and annotations.")
    images = _images(path, content["images"], bad)

    fixations: list[Fixation] = []
    seen: Counter[tuple[str, str]] = Counter()
    viewings = total = swapped = outside = 0
    for i, annotation in enumerate(content["annotations"]):
        where = f"{path}, annotation {i + 1}"
        try:
            image, width, height = images[annotation["image_id"]]
            worker, positions = annotation["worker_id"], annotation["fixations"]
        except (KeyError, TypeError):
            bad.add(where, "it lacks worker_id or fixations, or its image_id is not among the images")
            continue
        if type(worker) not in (int, str) or not isinstance(positions, list):
            bad.add(where, "worker_id is no number or fixations is no list")
            continue
        participant = options.participant or f"w{worker}"
        viewings += 1
        for k, place in enumerate(positions):
            if not (isinstance(place, list) and len(place) == 2 and all(type(v) in (int, float) for v in place)):
                bad.add(f"{where}, fixation {k + 1}", f"it is {str(place)[:40]}, expected [row, column]")
                continue
            row, column = place
            total += 1
            swapped += row > height or column > width
            outside += not (0 <= row <= width and 0 <= column <= height)
            if not (1 <= row <= height and 1 <= column <= width):
                problem = f"[{row}, {column}] is not within 1 to {height} rows and 1 to {width} columns"
                bad.add(f"{where}, fixation {k + 1}", problem)
                continue
            key = image, participant
            fixations.append(Fixation(image, participant, "", seen[key], column - 1.0, row - 1.0, None, ""))
            seen[key] += 1
    if total >= 20 and swapped > 0.05 * total and not outside:
        raise DataError(
            f"{path} gives (column, row) from 0, as SALICON's first files of April 2015 did; expected (row, column) "
            "from 1, as in the files that replaced them."
        )
    notes = [_NO_DURATIONS]
    if viewings and len(fixations) > _MOUSE_SAMPLES * viewings:
        notes.append(
            f"There are {len(fixations) / viewings:.0f} positions per viewing: all of the mouse's, not its fixations."
        )
    return Recording(path, "salicon", fixations, "image", notes=tuple(notes))


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _images(path: Path, entries: list[Any], bad: BadLines) -> dict[int, tuple[str, int, int]]:
    """Name, width and height of each image by its id."""
    images: dict[int, tuple[str, int, int]] = {}
    for i, entry in enumerate(entries):
        try:
            key, image = entry["id"], (entry["file_name"], entry["width"], entry["height"])
        except (KeyError, TypeError):
            bad.add(f"{path}, image {i + 1}", "it lacks id, file_name, width or height")
            continue
        sizes = all(type(size) is int and 0 < size <= MAX_PIXELS for size in image[1:])
        if type(key) is not int or not isinstance(image[0], str) or not image[0] or not sizes:
            bad.add(f"{path}, image {i + 1}", "its id, file_name, width or height is none")
        elif key in images:
            bad.add(f"{path}, image {i + 1}", f"the id {key} is that of another image")
        else:
            images[key] = image
    return images


def _read_mats(path: Path, options: ReadOptions, bad: BadLines) -> Recording:
    """Read .mat files with `image` (a name without ending), `resolution` and the structs `gaze`, one per viewing.

    Their `fixations` are (x, y) in pixels of the image, and the first of each is 1, as github.com/matthias-k/pysaliency
    reads them; `location` and `timestamp`, the mouse's way, are left to `read_traces`. Nothing says who viewed, so each
    viewing is a participant of its own, named after the image and counted from 1.

    Raises:
        DataError: no such file. Within a folder, a file that cannot be read is a bad line.
    """
    fixations: list[Fixation] = []
    for file in mat_files(path):
        try:
            fixations += _fixations_of(file, options, bad)
        except DataError as error:
            if path.is_file():
                raise
            bad.add(str(file), str(error))
    notes = (_NO_DURATIONS, "The .mat files do not say who viewed: each viewing of an image is a participant.")
    return Recording(path, "salicon", fixations, "image", notes=notes)


def _fixations_of(file: Path, options: ReadOptions, bad: BadLines) -> list[Fixation]:
    import numpy as np  # here: the command line should not wait for it

    variables = load_variables(file, "a SALICON file")
    fixations = []
    try:
        name = str(variables["image"])
        viewings = [
            np.asarray(field_of(viewing, "fixations"), dtype=np.float64) for viewing in np.ravel(variables["gaze"])
        ]
        shapes = {viewing.shape[1:] for viewing in viewings if viewing.size > 2}
        if not name or shapes - {(2,)} or any(viewing.size % 2 for viewing in viewings):
            raise ValueError(f"the shapes are {sorted(shapes)}")
    except Exception as error:  # a wrong layout fails anywhere
        raise DataError(
            f"{file} cannot be read as a SALICON file ({type(error).__name__}: {error}); expected image and gaze with "
            "fixations of n x 2."
        ) from error
    image = _file_name(name)
    for j, viewing in enumerate(viewings):
        participant = options.participant or f"{Path(name).stem}-{j + 1:02d}"
        for k, (x, y) in enumerate(viewing.reshape(-1, 2).tolist()):
            if not all(math.isfinite(value) and abs(value) <= MAX_PIXELS for value in (x, y)):
                bad.add(f"{file}, viewing {j + 1}, fixation {k + 1}", f"({x:g}, {y:g}) is no place in pixels")
                continue
            fixations.append(Fixation(image, participant, "", k, x - 1, y - 1, None, ""))
    return fixations


def read_traces(path: Path) -> Iterator[tuple[Path, str, list[np.ndarray]]]:
    """The mouse's way in a .mat file or a folder of them: file, image, and for each viewing (n, 3): time in ms, x, y.

    `location` is (x, y) in pixels of the image, of which the first is 1 as in `fixations`, and becomes 0; `timestamp`
    is in ms, and goes from 0 to about 5000, for the 5 s of a viewing.

    Raises:
        DataError: no such file, or one that cannot be read.
    """
    import numpy as np  # here: the command line should not wait for it

    for file in mat_files(path):
        variables = load_variables(file, "a SALICON file")
        traces = []
        try:
            name = str(variables["image"])
            for viewing in np.ravel(variables["gaze"]):
                times = np.asarray(field_of(viewing, "timestamp"), dtype=np.float64).reshape(-1, 1)
                places = np.asarray(field_of(viewing, "location"), dtype=np.float64)
                if places.size > 2 and places.shape[1:] != (2,):
                    raise ValueError(f"a location has the shape {places.shape}")
                trace = np.hstack([times, places.reshape(-1, 2) - 1])
                if not np.isfinite(trace).all():
                    raise ValueError("a time or place is no finite number")
                traces.append(trace)
            if not name:
                raise ValueError("image is empty")
        except Exception as error:  # a wrong layout fails anywhere
            raise DataError(
                f"{file} cannot be read as a SALICON file ({type(error).__name__}: {error}); expected image and gaze "
                "with location of n x 2 and timestamp of n."
            ) from error
        yield file, _file_name(name), traces


def _file_name(image: str) -> str:
    """The .mat files name an image without its ending."""
    return image if Path(image).suffix else f"{image}.jpg"
