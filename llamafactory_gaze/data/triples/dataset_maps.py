"""The maps of a data set, made of its fixations or taken from a folder: which description gets which, or why none."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from llamafactory_gaze.data.fixations import Fixations
from llamafactory_gaze.data.maps.files import Track, file_of, files_by_stem, write_maps
from llamafactory_gaze.data.maps.folder import read_report
from llamafactory_gaze.data.maps.geometry import Size
from llamafactory_gaze.data.maps.options import MapOptions, MapsOf
from llamafactory_gaze.data.maps.plan import OTHERS, Plan, PlannedMap, check_names, map_stem, plan_maps
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.data.triples.descriptions import Description
from llamafactory_gaze.saliency.label import map_source
from llamafactory_gaze.saliency.maps import SaliencyMapError, check_aspect_ratio, read_saliency_map


if TYPE_CHECKING:
    from llamafactory_gaze.data.triples.options import DatasetOptions


SINGLE = ("participant", "trial")  # maps of one person each
_NOT_THERE = "the participant has no fixations on this image"


class DatasetMaps(Protocol):
    """What the builder asks of maps."""

    of: MapsOf

    def lacks(self, description: Description) -> str | None:
        """Why there is no map for a description; None where there is one.

        Raises:
            DataError: which map is meant is not clear.
        """

    def name(self, description: Description) -> str:
        """The path of its map below the folder of maps, where it lacks none."""

    def people(self, samples: Sequence[Description]) -> dict[str, int] | None:
        """How many people's fixations are in each map of the samples, by name; None where that is not known."""

    def write(self, folder: Path, samples: Sequence[Description], jobs: int, track: Track) -> None:
        """Write the maps of all samples, each once.

        Raises:
            DataError: two maps of one name, or a ready-made map that cannot be used.
        """


def check_map_options(options: DatasetOptions) -> None:
    """Raise `DataError` where the options say too little about the maps, or something that would not be done."""
    if options.maps_from is None:
        if options.fixations is None:
            raise DataError("Say where people looked: --fixations, of which maps are made, or --maps-from with maps.")
        options.making.check()
        return
    if options.making.given():
        raise DataError(
            f"{options.making.given()[0]} says how a map is made of fixations, but --maps-from takes maps as they are; "
            "give one of them."
        )
    if options.columns and options.fixations is None:
        raise DataError("--columns names columns of the fixations; give --fixations as well.")


def maps_of(options: DatasetOptions, fixations: Fixations | None, sizes: Mapping[str, Size]) -> MadeMaps | ReadyMaps:
    """The maps that `check_map_options` let pass; `sizes` are those of the described images.

    Raises:
        DataError: fixations of which no maps can be made, a bad folder of maps, or one that does not serve the options.
    """
    if options.maps_from is None:
        assert fixations is not None  # check_map_options
        return MadeMaps.of_fixations(fixations, sizes, options.making)
    looked = None
    if fixations is not None:
        looked = set(zip(fixations.image.tolist(), fixations.participant.tolist(), strict=True))
    maps = ReadyMaps(options.maps_from, sizes, looked)
    if options.split != "image" and maps.of not in SINGLE:
        raise DataError(
            f"The maps of {options.maps_from} hold the gaze of several people, so --split {options.split} cannot keep "
            "those of the test out of the training; give --fixations, of which the maps of each side are made."
        )
    if options.pseudonyms is not None and maps.of != "image":
        raise DataError(
            f"The maps of {options.maps_from} are named after participants, whose ids --pseudonyms takes away; give "
            "--fixations, of which maps are made and named by codes."
        )
    return maps


class MadeMaps:
    """Maps of the fixations on the described images.

    Args:
        plan: of these fixations.
        without_description: how many fixations on other images were left aside.
    """

    def __init__(self, plan: Plan, without_description: int):
        self.plan = plan
        self.of = plan.options.maps
        self.without_description = without_description
        self._maps = {(one.image, one.participant, one.trial): one for one in plan.maps}

    @classmethod
    def of_fixations(cls, fixations: Fixations, sizes: Mapping[str, Size], options: MapOptions) -> MadeMaps:
        """`sizes` are those of the described images; fixations on others are left aside.

        Raises:
            DataError: as `plan_maps`.
        """
        on_described = np.isin(fixations.image, list(sizes))
        plan = plan_maps(fixations.where(on_described), lambda image, _: sizes[image], options)
        return cls(plan, int((~on_described).sum()))

    def without(self, left_out: Collection[tuple[str, str]]) -> MadeMaps:
        """The same maps without these people's fixations on an image, (image, participant)."""
        by_image = self.plan.rows
        rows = [by_image[image][participant] for image, participant in left_out]
        others = np.zeros(len(self.plan.fixations), dtype=bool)
        others[np.concatenate([np.empty(0, int), *rows])] = True
        return MadeMaps(self.plan.without(others), self.without_description)

    def of_people(self, people: Collection[str]) -> MadeMaps:
        """The same maps of the fixations of these people alone."""
        others = ~np.isin(self.plan.fixations.participant, list(people))
        return MadeMaps(self.plan.without(others), self.without_description)

    def lacks(self, description: Description) -> str | None:
        image, participant = description.image, description.participant
        by_participant = self.plan.rows.get(image)
        if by_participant is None:
            return "nobody has fixations on this image"
        if participant not in by_participant:
            return _NOT_THERE
        own = by_participant[participant]
        if self.of == "trial":
            assert self.plan.fixations.trial is not None  # Plan.maps
            own = own[self.plan.fixations.trial[own] == self._trial(description)]
            if not len(own):
                return f"{_NOT_THERE} in trial {description.trial}"
        if (self.plan.cause[own] != 0).all():
            return self.plan.why_none(own, "of the participant")
        if not len(self._planned(description).rows):
            return "nobody else has a fixation left on this image"
        return None

    def name(self, description: Description) -> str:
        return self._planned(description).name

    def people(self, samples: Sequence[Description]) -> dict[str, int]:
        return {one.name: self.plan.participants(one) for one in self.maps(samples)}

    def write(self, folder: Path, samples: Sequence[Description], jobs: int, track: Track) -> None:
        maps = self.maps(samples)
        check_names(maps)
        write_maps(folder, {one.name: partial(file_of, self.plan, one) for one in maps}, jobs, track)

    def maps(self, samples: Iterable[Description]) -> list[PlannedMap]:
        """Those of the samples, each once."""
        return list({one.name: one for one in map(self._planned, samples)}.values())

    def points(self, description: Description) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, y in pixels of the image and weight, each (k,), of what its map is made of."""
        rows = self._planned(description).rows
        return self.plan.x[rows], self.plan.y[rows], self.plan.weight(rows)

    def counts(self, maps: Iterable[PlannedMap]) -> dict[str, int]:
        """How many fixations are in one of these maps, and why the others are in none; see `card.COUNTS`."""
        counts = self.plan.counts(maps)
        counts["read"] += self.without_description
        broken = int((self.plan.cause == OTHERS).sum())
        others = {"without_description": self.without_description, "breaks_rule": broken}
        return {"read": counts.pop("read"), **others, **counts}

    def _planned(self, description: Description) -> PlannedMap:
        participant = None if self.of == "image" else description.participant
        trial = self._trial(description) if self.of == "trial" else None
        return self._maps[description.image, participant, trial]

    def _trial(self, description: Description) -> str:
        """The trial that is described: what the row says, or else the participant's only one."""
        if description.trial is not None:
            return description.trial
        assert self.plan.fixations.trial is not None  # Plan.maps
        own = self.plan.rows[description.image][description.participant]
        first, *more = np.unique(self.plan.fixations.trial[own]).tolist()
        if more:
            raise DataError(
                f"{description.where}: participant {description.participant} saw image {description.image} in the "
                f"trials {', '.join((first, *more))}; say by a column trial which of them is described."
            )
        return str(first)


class ReadyMaps:
    """Maps from a folder that `llamafactory-gaze heatmaps` wrote, or of a published data set: named as their images.

    Any ending of an image file will do, so FIXATIONMAPS/Action/001.jpg is the map of the image Action/001.png.
    """

    def __init__(self, folder: Path, sizes: Mapping[str, Size], looked: Collection[tuple[str, str]] | None):
        """`looked` holds (image, participant) of those who looked, where that is known.

        Raises:
            DataError: no such folder, or a `maps.json` that is none.
        """
        if not folder.is_dir():
            raise DataError(f"--maps-from {folder} is no folder.")
        self.folder = folder.resolve()  # for its name, where it is given as '.'
        self.report = read_report(folder)
        self.of: MapsOf = "image" if self.report is None else self.report["settings"]["maps"]
        self.sha256: dict[str, str] = {}  # of the maps that were written, by name
        self._sizes = sizes
        self.looked = looked
        self.sources: dict[str, str] = {}  # of the maps that were written and that say a source other than gaze
        self._files = files_by_stem(folder)

    def lacks(self, description: Description) -> str | None:
        if self.looked is not None and (description.image, description.participant) not in self.looked:
            return _NOT_THERE
        stem = self._stem(description)
        files = self._files.get(stem, [])
        if len(files) > 1:
            raise DataError(f"{self.folder} holds {' and '.join(files)}; expected one map of that name.")
        return None if files else f"there is no map {stem} in {self.folder.name}"

    def name(self, description: Description) -> str:
        return self._files[self._stem(description)][0]

    def people(self, samples: Sequence[Description]) -> dict[str, int] | None:
        numbers = {one["map"]: one["participants"] for one in self.report["maps"]} if self.report else {}
        names = {self.name(sample) for sample in samples}
        return {name: numbers[name] for name in names} if names <= numbers.keys() else None

    def write(self, folder: Path, samples: Sequence[Description], jobs: int, track: Track) -> None:
        images = {self.name(sample): sample.image for sample in samples}
        write_maps(folder, {name: partial(self._checked, name, image) for name, image in images.items()}, jobs, track)

    def _stem(self, description: Description) -> str:
        if self.of == "trial" and description.trial is None:
            raise DataError(
                f"{description.where} names no trial, but the maps of {self.folder} are of single trials; say by a "
                "column trial which of them is described."
            )
        return map_stem(self.of, description.image, description.participant, description.trial)

    def _checked(self, name: str, image: str) -> bytes:
        """The bytes of a map, after a look at all its pixels."""
        path = self.folder / name
        content = path.read_bytes()
        try:
            height, width = read_saliency_map({"bytes": content, "path": path}).shape
            check_aspect_ratio((width, height), self._sizes[image], str(path), f"the image {image}")
            source = map_source({"bytes": content, "path": path})
        except SaliencyMapError as error:
            raise DataError(str(error)) from error
        if source is not None:
            self.sources[name] = source
        self.sha256[name] = hashlib.sha256(content).hexdigest()
        return content
