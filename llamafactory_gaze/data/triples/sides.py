"""The maps of each side of a split: where people are divided, a map of several people is of those of its side alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llamafactory_gaze.data.registry import key_of
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.data.triples.dataset_maps import SINGLE, MadeMaps, ReadyMaps
from llamafactory_gaze.data.triples.descriptions import Description
from llamafactory_gaze.data.triples.split import By, Side, Split


SIDES: tuple[Side, Side] = ("training", "test")


@dataclass(frozen=True)
class SideMaps:
    """Some samples and their maps.

    Attributes:
        folder: below the folder of maps, "" or it ends in '/'.
    """

    folder: str
    maps: MadeMaps | ReadyMaps
    samples: Sequence[Description]

    def path(self, sample: Description) -> str:
        """Below the folder of maps."""
        return self.folder + self.maps.name(sample)


def people_in_maps(sides: Sequence[SideMaps]) -> dict[str, int] | None:
    """Path of each map below the folder of maps -> how many people's fixations are in it; None where not known."""
    numbers: dict[str, int] = {}
    for side in sides:
        of_side = side.maps.people(side.samples)
        if of_side is None:
            return None
        numbers |= {side.folder + name: number for name, number in of_side.items()}
    return numbers


def divide_maps(
    maps: MadeMaps | ReadyMaps, samples: Sequence[Description], splits: Sequence[Split], by: By
) -> dict[tuple[str, Side], SideMaps]:
    """(name of the split, side) -> the maps of its samples.

    A map of several people would carry the gaze of those of the test into the training, so where people are divided,
    each side has maps of its own people only. Otherwise all sides share their maps.

    Raises:
        DataError: a sample is left without a map.
    """
    in_a_set = [one for one in samples if any(split.side(one.image, one.participant) for split in splits)]
    shared = SideMaps("", maps, in_a_set)
    divided: dict[tuple[str, Side], SideMaps] = {}
    for split in splits:
        for side in SIDES:
            divided[split.name, side] = shared
            if by == "image" or maps.of in SINGLE or isinstance(maps, ReadyMaps):
                continue
            of_side = [one for one in samples if split.side(one.image, one.participant) == side]
            own = maps.of_people({one.participant for one in of_side})
            for one in of_side:
                if lack := own.lacks(one):
                    raise DataError(
                        f"{one.where} has no map of the people of the {side} set{' of ' * bool(split.name)}"
                        f"{split.name} alone ({lack}); choose --maps participant, or --split image."
                    )
            folder = f"{key_of(split.name, 'train' if side == 'training' else 'test')}/"
            divided[split.name, side] = SideMaps(folder, own, of_side)
    return divided
