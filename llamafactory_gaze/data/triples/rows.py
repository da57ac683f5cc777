"""The rows of a data set's files, and the record of who stands in which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from llamafactory_gaze.data import registry
from llamafactory_gaze.data.provenance import versions
from llamafactory_gaze.data.registry import SPLITS, key_of
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.data.triples.descriptions import Description
from llamafactory_gaze.data.triples.sides import people_in_maps
from llamafactory_gaze.data.triples.split import Side, Split


if TYPE_CHECKING:
    from llamafactory_gaze.data.triples.built import BuiltDataset
    from llamafactory_gaze.data.triples.options import DatasetOptions
    from llamafactory_gaze.data.triples.sides import SideMaps


def make_rows(
    samples: Sequence[Description],
    splits: Sequence[Split],
    originals: Mapping[str, str],
    maps: Mapping[tuple[str, Side], SideMaps],
    options: DatasetOptions,
) -> dict[str, list[dict[str, Any]]]:
    """The rows of each file, in the order of the descriptions.

    Args:
        originals: image -> the image with equal content that stands for it, where there are several.
        maps: (name of the split, side) -> the maps of its samples.

    Raises:
        DataError: a training or a test set would be empty.
    """
    rows: dict[str, list[dict[str, Any]]] = {key_of(split.name, name): [] for split in splits for name in SPLITS}
    for split in splits:
        stage1, stage2, test = (rows[key_of(split.name, name)] for name in SPLITS)
        for sample in samples:
            side = split.side(sample.image, sample.participant)
            if side is None:
                continue
            saliency = f"{options.name}/maps/{maps[split.name, side].path(sample)}"
            if side == "test":
                test.append(_row(sample, sample.text, saliency, originals, options))
            else:
                stage1.append(_row(sample, sample.normalized or sample.text, saliency, originals, options))
                stage2.append(_row(sample, sample.text, saliency, originals, options))
        for name, of_side in (("training", stage2), ("test", test)):
            if not of_side:
                raise DataError(
                    f"The {name} set{' of ' * bool(split.name)}{split.name} would be empty: none of its participants "
                    "described one of its images; choose another --seed or --test-fraction, or --split image."
                )
    return rows


def _row(
    sample: Description, target: str, saliency: str, originals: Mapping[str, str], options: DatasetOptions
) -> dict[str, Any]:
    """One row in LLaMA-Factory's sharegpt form; paths are relative to the dataset folder."""
    original = originals.get(sample.image)
    return {
        "id": sample.id,
        "image_id": sample.image_id,
        **({"same_image_as": str(PurePosixPath(original).with_suffix(""))} if original else {}),
        "participant": sample.participant,
        **({"trial": sample.trial} if sample.trial else {}),
        **({"category": sample.category} if sample.category else {}),
        **sample.extra,
        "conversations": [
            {"from": "human", "value": f"<image>{options.prompt}"},
            {"from": "gpt", "value": target},
        ],
        "images": [f"{options.name}/images/{sample.image}"],
        "saliencies": [saliency],
    }


def splits_record(built: BuiltDataset) -> dict[str, Any]:
    """The content of `splits.json`."""
    options = built.options

    def members(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {
            "rows": len(rows),
            "images": sorted({row["image_id"] for row in rows}),
            "participants": sorted({row["participant"] for row in rows}),
        }

    people = people_in_maps(built.maps)
    return {
        "made_by": registry.MADE_BY,
        "versions": versions(),
        "by": options.split,
        "seed": options.seed,
        **({"test_fraction": options.test_fraction} if options.folds is None else {"folds": options.folds}),
        "maps": {
            "of": built.maps[0].maps.of,
            "fewest_people": None if people is None else min(people.values()),
            "of_one_person": sorted(name for name, number in (people or {}).items() if number == 1),
        },
        "same_images": sorted(
            [image for image, of in built.originals.items() if of == original]
            for original in set(built.originals.values())
        ),
        "splits": [
            {
                "name": split.name or built.options.name,
                "training": members(built.rows_of(split)["stage2"]),
                "test": members(built.rows_of(split)["test"]),
                "in_neither": built.neither[split.name],
            }
            for split in built.splits
        ],
    }
