"""Maps that somebody else's model has made, in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from llamafactory_gaze.data.maps.files import files_by_stem
from llamafactory_gaze.data.maps.folder import read_report
from llamafactory_gaze.data.predicted.numbers import map_of_numbers
from llamafactory_gaze.data.predicted.photograph import Photograph
from llamafactory_gaze.data.predicted.source import NoMap
from llamafactory_gaze.data.provenance import file_sha256
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.saliency.label import map_source
from llamafactory_gaze.saliency.maps import SaliencyMapError, read_saliency_map


class GivenMaps:
    """Greyscale maps of 8 or 16 bits that are named as the photographs, with any ending.

    Args:
        folder: of the maps.
        sigma_px: as for `OpenCVPredictor`.

    Raises:
        DataError: no folder, or one of `llamafactory-gaze heatmaps`, whose maps are of fixations.
    """

    def __init__(self, folder: Path, sigma_px: float | None = None) -> None:
        if not folder.is_dir():
            raise DataError(f"--maps {folder} is no folder.")
        if read_report(folder) is not None:
            raise DataError(
                f"--maps {folder} holds maps of fixations (its maps.json says so), which this command would label as a "
                "model's; use the folder as it is."
            )
        self.folder = folder.resolve()  # for its name, where it is given as '.'
        self.sigma_px = sigma_px
        self._files = files_by_stem(folder)

    def label(self, photograph: Photograph) -> dict[str, Any]:
        file = self._file(photograph)
        return {
            "source": "maps of another model",
            "method": self.folder.name,
            "library": None,
            "sigma_px": self.sigma_px,
            "map": file.relative_to(self.folder).as_posix(),
            "map_sha256": file_sha256(file),
        }

    def draw(self, photograph: Photograph, longest_side: int | None) -> np.ndarray:
        file = self._file(photograph)
        try:
            said = map_source(file)
            values = read_saliency_map(file)
        except SaliencyMapError as error:
            raise DataError(str(error)) from error
        if said is not None:
            raise DataError(f"The map {file} says already what it was made of ({said}); use it as it is.")
        return map_of_numbers(
            values,
            photograph,
            longest_side,
            self.sigma_px,
            f"the map {self.folder.name}/{file.relative_to(self.folder).as_posix()}",
        )

    def _file(self, photograph: Photograph) -> Path:
        files = self._files.get(Path(photograph.name).with_suffix("").as_posix(), [])
        if len(files) > 1:
            raise DataError(f"{self.folder} holds {' and '.join(files)}; expected one map of that name.")
        if not files:
            raise NoMap(f"there is no map of that name in {self.folder.name}")
        return self.folder / files[0]
