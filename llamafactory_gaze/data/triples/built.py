"""What the data set builder has built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamafactory_gaze.data.registry import SPLITS, key_of
from llamafactory_gaze.data.triples import review
from llamafactory_gaze.data.triples.descriptions import Description
from llamafactory_gaze.data.triples.exclusions import Excluded
from llamafactory_gaze.data.triples.options import DatasetOptions
from llamafactory_gaze.data.triples.sides import SideMaps
from llamafactory_gaze.data.triples.split import Split


@dataclass(frozen=True)
class BuiltDataset:
    """What was built, for the summary and the card."""

    options: DatasetOptions
    folder: Path
    rows: dict[str, list[dict[str, Any]]]  # "stage1" or "fold1/stage1" -> rows
    splits: list[Split]
    neither: dict[str, list[str]]  # split -> the ids of samples whose image and participant are on different sides
    sha256: dict[str, str]  # of the file of each image
    originals: dict[str, str]  # image -> the image with equal content that stands for it, where there are several
    excluded: list[Excluded]
    review: list[review.Line]
    maps: list[SideMaps]  # all that were written
    fixations: dict[str, int] | None  # how many became what, see `card.COUNTS`; None where the maps are ready-made
    fields: list[str]  # further fields of the rows
    normalized: bool  # stage-1 targets are style-normalised

    @property
    def images(self) -> list[str]:
        """The images of all rows, relative to the folder `images`."""
        start = len(f"{self.options.name}/images/")
        return sorted({row["images"][0][start:] for rows in self.rows.values() for row in rows})

    @property
    def dataset_names(self) -> dict[str, str]:
        """ "stage1" or "fold1/stage1" -> name in the registry."""
        return {key: f"{self.options.name}_{key.replace('/', '_')}" for key in self.rows}

    @property
    def samples(self) -> list[Description]:
        """Those that became rows."""
        return list({one.id: one for side in self.maps for one in side.samples}.values())

    def rows_of(self, split: Split) -> dict[str, list[dict[str, Any]]]:
        """stage1, stage2 and test of a split."""
        return {name: self.rows[key_of(split.name, name)] for name in SPLITS}
