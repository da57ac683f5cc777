"""From a table of fixations to the maps that can be made of it: where each fixation lies, which ones count, in what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePosixPath, PureWindowsPath

import numpy as np

from llamafactory_gaze.data.fixations import Fixations
from llamafactory_gaze.data.maps.geometry import Placement, Size, beyond, map_size, place, rescale
from llamafactory_gaze.data.maps.heatmaps import fixation_heatmap
from llamafactory_gaze.data.maps.options import MapOptions, MapsOf
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.saliency.maps import MAX_MAP_PIXELS


# Why a fixation is in no map, in the order in which it is asked; 0 is none of them.
FIRST, SHORT, OFF_IMAGE, NO_DURATION = 1, 2, 3, 4
OTHERS = 5  # somebody whose fixations may not be in the map
CAUSES = {FIRST: "first_dropped", SHORT: "too_short", OFF_IMAGE: "off_image", NO_DURATION: "no_duration"}

REACH = 3.0  # a Gaussian is kept from beside the image as long as its centre is no more standard deviations away


@dataclass(frozen=True)
class View:
    """How an image stood on the screen, and how its map shows it."""

    image: Size
    placement: Placement | None  # None: fixations are in pixels of the image
    map: Size
    sigma: tuple[float, float]  # in pixels of the map, along x and y

    @property
    def sigma_of_image(self) -> tuple[float, float]:
        """The Gaussian's width in pixels of the image, along x and y."""
        return self.sigma[0] * self.image[0] / self.map[0], self.sigma[1] * self.image[1] / self.map[1]


@dataclass(frozen=True)
class PlannedMap:
    """One map, of the fixations `rows`; there may be none left."""

    name: str  # relative path, ends in .png
    image: str
    participant: str | None  # whose map, or who is left out
    trial: str | None
    rows: np.ndarray  # (k,) int, ascending


@dataclass(frozen=True)
class Plan:
    """All maps that a table of n fixations and the options ask for, and what they are made of."""

    options: MapOptions
    fixations: Fixations
    views: Mapping[str, View]  # by image
    x: np.ndarray  # (n,) pixels of the image
    y: np.ndarray  # (n,)
    on_image: np.ndarray  # (n,) bool, the border belongs to the image
    cause: np.ndarray  # (n,) 0 where a fixation may be in a map, else one of CAUSES or OTHERS

    @cached_property
    def maps(self) -> list[PlannedMap]:
        """In the order of the images' names, also those for which no fixation is left.

        Raises:
            DataError: a name that cannot name a file, or no trials where maps of trials are asked for.
        """
        return list(self._planned())

    @cached_property
    def rows(self) -> dict[str, dict[str, np.ndarray]]:
        """All fixations of each image and participant, sorted by name, also those that count in no map."""
        participant = self.fixations.participant
        return {image: _grouped(participant, rows) for image, rows in _grouped(self.fixations.image).items()}

    def without(self, others: np.ndarray) -> Plan:
        """The same plan where these fixations, (n,) bool, are in no map."""
        return replace(self, cause=np.where(others & (self.cause == 0), OTHERS, self.cause))

    def weight(self, rows: np.ndarray) -> np.ndarray:
        """What each of these fixations (k,) counts for in a map of them."""
        weight = self.fixations.duration_ms[rows] if self.options.weight == "duration" else np.ones(len(rows))
        if self.options.participants == "equal":
            _, inverse = np.unique(self.fixations.participant[rows], return_inverse=True)
            weight = weight / np.bincount(inverse, weights=weight)[inverse]
        return weight

    def draw(self, planned: PlannedMap) -> np.ndarray:
        """The map: (height, width) float32 in [0, 1]."""
        view, rows = self.views[planned.image], planned.rows
        return fixation_heatmap(
            rescale(self.x[rows], view.image[0], view.map[0]),
            rescale(self.y[rows], view.image[1], view.map[1]),
            self.weight(rows),
            view.map,
            view.sigma,
        )

    def counts(self, maps: Iterable[PlannedMap]) -> dict[str, int]:
        """How many fixations were read, left out (each under the first cause that holds), and are in a map."""
        is_used = np.zeros(len(self.fixations), dtype=bool)
        for one in maps:
            is_used[one.rows] = True
        used = int(is_used.sum())
        lost = {name: int((self.cause == cause).sum()) for cause, name in CAUSES.items()}
        return {"read": len(self.fixations), **lost, "in_no_map": int((self.cause == 0).sum()) - used, "used": used}

    def participants(self, planned: PlannedMap) -> int:
        """How many people's fixations are in a map."""
        return len(np.unique(self.fixations.participant[planned.rows]))

    def why_none(self, rows: np.ndarray, whose: str) -> str:
        """Why none of these fixations (k,), of which there are some, is left: a sentence without its full stop."""
        short = f"shorter than {self.options.min_duration:g} ms"
        words = {FIRST: "dropped as the first", SHORT: short, OFF_IMAGE: "outside the image", NO_DURATION: "of 0 ms"}
        counted = {text: int((self.cause[rows] == cause).sum()) for cause, text in words.items()}
        reasons = ", ".join(f"{number} {text}" for text, number in counted.items() if number)
        return f"no fixation {whose} is left on this image: {reasons}"

    def _planned(self) -> Iterator[PlannedMap]:
        of, trial = self.options.maps, self.fixations.trial
        if of == "trial" and trial is None:
            raise DataError(f"{self.fixations.table.path} lacks the column trial, which --maps trial needs.")
        for image, by_participant in self.rows.items():
            everybody = np.sort(np.concatenate(list(by_participant.values())))
            if of == "image":
                yield self._map(image, None, None, everybody)
                continue
            for participant, own in by_participant.items():
                if of == "participant":
                    yield self._map(image, participant, None, own)
                elif of == "leave-one-out":
                    others = everybody[self.fixations.participant[everybody] != participant]
                    yield self._map(image, participant, None, others)
                elif trial is not None:
                    for one, rows in _grouped(trial, own).items():
                        yield self._map(image, participant, one, rows)

    def _map(self, image: str, participant: str | None, trial: str | None, rows: np.ndarray) -> PlannedMap:
        def where() -> str:
            """The first row that asks for this name; for messages only."""
            same = self.fixations.image == image
            same &= participant is None or self.fixations.participant == participant
            same &= trial is None or self.fixations.trial == trial
            return self.fixations.at(int(np.flatnonzero(same)[0]))

        if not _stays_inside(image):
            raise DataError(
                f"{where()}: the image is '{image}'; expected a relative path with '/' and without '..', because its "
                "map is named alike."
            )
        for what, name in (("participant", participant), ("trial", trial)):
            if name is not None and (not name or "/" in name or "\\" in name):
                raise DataError(f"{where()}: the {what} is '{name}'; expected a name without '/' and '\\'.")
        name = f"{map_stem(self.options.maps, image, participant, trial)}.png"
        return PlannedMap(name, image, participant, trial, rows[self.cause[rows] == 0])


def map_stem(of: MapsOf, image: str, participant: str | None, trial: str | None) -> str:
    """The name of a map without its ending; `participant` and `trial` count where the maps are told apart by them."""
    stem = str(PurePosixPath(image).with_suffix(""))
    if of == "image":
        return stem
    if of == "leave-one-out":
        return f"{stem}_without_{participant}"
    return f"{stem}_{participant}" if of == "participant" else f"{stem}_{participant}_{trial}"


def plan_maps(fixations: Fixations, size_of: Callable[[str, str], Size], options: MapOptions) -> Plan:
    """Place all fixations on their images, and say which of them count.

    Args:
        size_of: the size of an image, given its name and the row that names it first.

    Raises:
        DataError: no place for an image on the screen, a Gaussian of less than a pixel, a map that is too large, no
            durations where they are needed, or, to drop the first fixations, two of the same index.
    """
    if options.weight == "duration" or options.min_duration > 0:
        fixations.require_durations()
    views: dict[str, View] = {}
    x, y = fixations.x.copy(), fixations.y.copy()
    on_image, outside = np.zeros((2, len(fixations)), dtype=bool)
    for image, rows in _grouped(fixations.image).items():
        view = views[image] = view_of(image, size_of(image, fixations.at(int(rows[0]))), options)
        if view.placement is not None:
            x[rows], y[rows] = view.placement.to_image(x[rows], y[rows], view.image)
        away_x, away_y = beyond(x[rows], view.image[0]), beyond(y[rows], view.image[1])
        reach_x, reach_y = (REACH * sigma if options.off_image == "keep" else 0.0 for sigma in view.sigma_of_image)
        # The border belongs to the image, also where it was rounded on its way from the screen.
        on_image[rows] = (away_x <= 1e-6) & (away_y <= 1e-6)
        outside[rows] = (away_x > reach_x + 1e-6) | (away_y > reach_y + 1e-6)

    cause = np.zeros(len(fixations), dtype=np.int8)
    if options.weight == "duration":
        cause[fixations.duration_ms == 0] = NO_DURATION
    cause[outside] = OFF_IMAGE
    cause[fixations.duration_ms < options.min_duration] = SHORT
    if options.drop_first:
        cause[fixations.first()] = FIRST
    return Plan(options, fixations, views, x, y, on_image, cause)


def check_names(maps: Iterable[PlannedMap]) -> None:
    """Raise `DataError` where two maps would be one file."""
    first: dict[str, PlannedMap] = {}
    for one in maps:
        same = first.setdefault(one.name.casefold(), one)  # some file systems do not tell a from A
        if same is not one:
            raise DataError(
                f"The maps of {same.image} and {one.image} would both be named {one.name}; expected names of images "
                "(and participants and trials) that differ in more than the ending and capitals."
            )


def size_of_map(image: str, size: Size, longest_side: int | None) -> Size:
    """`map_size` of an image, or `DataError` where the map would be too large to be read again."""
    of_map = map_size(size, longest_side)
    if of_map[0] * of_map[1] > MAX_MAP_PIXELS:
        raise DataError(
            f"The map of {image} would have {of_map[0]}x{of_map[1]} pixels; expected at most {MAX_MAP_PIXELS}: make it "
            "smaller by --longest-side."
        )
    return of_map


def view_of(image: str, size: Size, options: MapOptions) -> View:
    """How an image of this size stood and how its map shows it.

    Raises:
        DataError: a placement beyond the screen, a map that is too large, a Gaussian narrower than a pixel of the map.
    """
    placement = None
    if options.screen is not None:
        if options.placement is None and size != options.screen.size:
            raise DataError(
                f"The image {image} has {size[0]}x{size[1]} pixels and the screen {options.screen.size[0]}x"
                f"{options.screen.size[1]}; say by --placement center, fill or X,Y,WIDTH,HEIGHT where it stood."
            )
        placement = place(options.placement or "center", size, options.screen)
    of_map = size_of_map(image, size, options.longest_side)
    if options.degrees is None:
        assert options.sigma_px is not None  # MapOptions.degrees
        sigma = options.sigma_px * of_map[0] / size[0], options.sigma_px * of_map[1] / size[1]
    else:
        assert options.screen is not None and placement is not None  # MapOptions.check
        on_screen = options.degrees * options.screen.pixels_per_degree
        sigma = on_screen * of_map[0] / placement.width, on_screen * of_map[1] / placement.height
    if not (min(sigma) >= 1 and np.isfinite(sigma).all()):
        raise DataError(
            f"The Gaussian's width is {min(sigma):.3g} pixels of the map of {image}; expected at least 1: a wider "
            "Gaussian or a larger map."
        )
    return View(size, placement, of_map, sigma)


def _grouped(labels: np.ndarray, rows: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """The rows (all, unless given) of each label, ascending; the labels are sorted."""
    groups: dict[str, list[int]] = {}
    rows = np.arange(len(labels)) if rows is None else rows
    for row, label in zip(rows.tolist(), labels[rows].tolist(), strict=True):
        groups.setdefault(label, []).append(row)
    return {label: np.array(groups[label]) for label in sorted(groups)}


def _stays_inside(image: str) -> bool:
    parts = PurePosixPath(image).parts
    return (
        bool(parts) and ".." not in parts and parts[0] != "/" and "\\" not in image and not PureWindowsPath(image).drive
    )
