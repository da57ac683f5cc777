"""CAT2000 as published: one MATLAB file per image, with the pixels that anybody fixated.

Borji and Itti, "CAT2000: A large scale fixation dataset for boosting saliency research", arXiv:1505.03581. The folder
trainSet holds Stimuli/<Category>/001.jpg, FIXATIONLOCS/<Category>/001.mat with the matrix `fixLocs` (1080 x 1920, 1 at
a fixated pixel), and FIXATIONMAPS/<Category>/001.jpg, the blurred one, which is not read.
"""

from __future__ import annotations

from pathlib import Path

from llamafactory_gaze.data.recordings.cells import BadLines
from llamafactory_gaze.data.recordings.matlab import load_variables, mat_files
from llamafactory_gaze.data.recordings.recording import Fixation, ReadOptions, Recording
from llamafactory_gaze.data.tables import DataError


LOCATIONS = "FIXATIONLOCS"


def read_cat2000(path: Path, options: ReadOptions, bad: BadLines) -> Recording:
    """Read a `fixLocs` file, or all of a folder: trainSet, its FIXATIONLOCS, or one category of it.

    x and y are pixels of the image, which is named Category/001 with the ending that it has in Stimuli, or else .jpg.
    The matrix says neither who looked nor when: the participant is `all` (or `options.participant`), the order is that
    of the pixels, row by row, and no duration is known. A pixel fixated twice is there once.

    Raises:
        DataError: no such file or folder. Within a folder, a file that cannot be read is a bad line.
    """
    root = path / LOCATIONS if (path / LOCATIONS).is_dir() else path
    fixations: list[Fixation] = []
    for file in mat_files(root):
        try:
            fixations += _fixations_of(file, options.participant or "all")
        except DataError as error:
            if path.is_file():
                raise
            bad.add(str(file), str(error))
    notes = (
        "CAT2000's matrices pool their observers and know no order and no duration: the participant is 'all', index "
        "counts the pixels row by row, duration_ms is empty; make maps by --weight count.",
    )
    return Recording(path, "cat2000", fixations, "image", notes=notes)


def _fixations_of(file: Path, participant: str) -> list[Fixation]:
    import numpy as np  # here: the command line should not wait for it

    matrix = load_variables(file, "a CAT2000 file", squeeze=False).get("fixLocs")
    if not isinstance(matrix, np.ndarray) or matrix.ndim != 2 or matrix.dtype.kind not in "buif":
        raise DataError(f"{file} holds no matrix fixLocs, as FIXATIONLOCS of CAT2000 does.")
    other = matrix[(matrix != 0) & (matrix != 1)]
    if other.size:
        raise DataError(f"{file} holds the value {other.flat[0]} in fixLocs; expected 0 and 1 alone.")
    image = _image_of(file)
    rows, columns = np.nonzero(matrix)
    return [
        Fixation(image, participant, "", index, float(x), float(y), None, "")
        for index, (x, y) in enumerate(zip(columns.tolist(), rows.tolist(), strict=True))
    ]


def _image_of(file: Path) -> str:
    category = file.absolute().parent.name
    stimuli = file.absolute().parents[2] / "Stimuli" / category if len(file.absolute().parents) > 2 else file.parent
    there = sorted(other.name for other in stimuli.glob(f"{file.stem}.*") if other.suffix.lower() != ".mat")
    return f"{category}/{there[0] if there else file.stem + '.jpg'}"
