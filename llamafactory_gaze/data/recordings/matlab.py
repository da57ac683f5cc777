"""Published data sets in MATLAB files, read by scipy, which executes nothing that a file holds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from llamafactory_gaze.data.recordings.cells import BadLines, duration, position
from llamafactory_gaze.data.recordings.mat_tags import check_mat
from llamafactory_gaze.data.recordings.recording import Fixation, ReadOptions, Recording
from llamafactory_gaze.data.tables import DataError


def variables_of(path: Path) -> set[str]:
    """The names of the variables in a MATLAB file.

    Raises:
        DataError: no MATLAB file of version 4 to 7.2.
    """
    from scipy.io import whosmat  # here: the command line should not wait for it

    return {name for name, *_ in _read(path, "a MATLAB file", lambda: whosmat(path))}


def load_variables(path: Path, layout: str, squeeze: bool = True) -> dict[str, Any]:
    """The variables of a MATLAB file as arrays, of which `squeeze` takes the sides of length 1; see `variables_of`.
    `layout` names what the file should be."""
    from scipy.io import loadmat

    variables: dict[str, Any] = _read(path, layout, lambda: loadmat(path, squeeze_me=squeeze, struct_as_record=True))
    return variables


def mat_files(path: Path) -> Iterator[Path]:
    """The file itself, or all .mat files in a folder and the folders in it, in the order of their names."""
    if path.is_file():
        yield path
        return
    files = sorted(path.rglob("*.mat"))
    if not files:
        raise DataError(f"{path} holds no .mat file.")
    yield from files


def _read(path: Path, what: str, read: Callable[[], Any]) -> Any:
    check_mat(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # scipy warns where what it returns may be wrong
            return read()
    except Exception as error:  # scipy raises nearly anything on a damaged file
        raise DataError(
            f"{path} cannot be read as {what} ({type(error).__name__}: {error}); expected a MATLAB file up to "
            "version 7.2."
        ) from error


def read_osie(path: Path, options: ReadOptions, bad: BadLines) -> Recording:
    """Read OSIE's fixations.mat (Xu et al., Journal of Vision 14(1):28, 2014).

    From github.com/NUS-VIP/predicting-human-gaze-beyond-pixels: `fixations{i}.img` and, of observer j,
    `.subjects{j}.fix_x`, `.fix_y` (pixels of the 800 x 600 image) and `.fix_duration` (ms). Observer j is participant
    s01, s02, ...; a fault is named by image, observer and fixation, for a .mat file has no lines.

    Raises:
        DataError: no MATLAB file (version 4 to 7.2), or none of this layout.
    """
    import numpy as np

    variables = load_variables(path, "OSIE's fixations.mat")
    try:
        images = np.ravel(variables["fixations"])
        fixations: list[Fixation] = []
        for i, entry in enumerate(images):
            image = str(entry["img"])
            for j, subject in enumerate(np.ravel(entry["subjects"].item() if entry.ndim == 0 else entry["subjects"])):
                values = [np.ravel(field_of(subject, name)) for name in ("fix_x", "fix_y", "fix_duration")]
                where = f"{path}, image {i + 1} ({image}), observer {j + 1}"
                if len({len(value) for value in values}) > 1:
                    bad.add(where, "fix_x, fix_y and fix_duration differ in length")
                    continue
                participant = options.participant or f"s{j + 1:02d}"
                for k, (x, y, lasts) in enumerate(zip(*values, strict=True)):
                    try:
                        row = (
                            position(str(x), "fix_x"),
                            position(str(y), "fix_y"),
                            duration(str(lasts), "fix_duration"),
                        )
                    except ValueError as error:
                        bad.add(f"{where}, fixation {k + 1}", str(error))
                    else:
                        fixations.append(Fixation(image, participant, "", k, *row, ""))
    except Exception as error:  # a wrong layout fails anywhere
        raise DataError(
            f"{path} cannot be read as OSIE's fixations.mat ({type(error).__name__}: {error}); "
            "expected a MATLAB file up to version 7.2 with fixations{i}.img and .subjects{j}.fix_x."
        ) from error
    return Recording(path, "osie", fixations, "image")


def field_of(record: Any, name: str) -> Any:
    """A field of a struct, out of the box that scipy leaves around some of them."""
    value = record[name]
    return value.item() if value.dtype == object and value.ndim == 0 else value
