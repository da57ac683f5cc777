"""The data set builder: fixations, photographs and descriptions in; a registered data set with maps and splits out."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from llamafactory_gaze.data import card, registry
from llamafactory_gaze.data.dataset_maps import DatasetMaps, MadeMaps, ReadyMaps, check_map_options, maps_of
from llamafactory_gaze.data.descriptions import PLACEHOLDER, Description, read_descriptions
from llamafactory_gaze.data.map_files import Track
from llamafactory_gaze.data.map_options import MapOptions
from llamafactory_gaze.data.photographs import photograph_size
from llamafactory_gaze.data.preview import contact_sheet
from llamafactory_gaze.data.split import split_by_image
from llamafactory_gaze.data.tables import DataError


SPLITS = ("stage1", "stage2", "test")
_OWN_FILES = (
    *("images", "maps", "stage1.json", "stage2.json", "test.json", "README.md", "preview.png"),
    "stage1.normalization.json",  # of `llamafactory-gaze normalize`, whose answers are kept elsewhere
)


@dataclass(frozen=True)
class DatasetOptions:
    """What `llamafactory-gaze dataset` is asked for; its --help explains each."""

    images: Path
    descriptions: Path
    name: str
    dataset_dir: Path
    fixations: Path | None = None
    making: MapOptions = field(default_factory=MapOptions)  # how maps are made of the fixations
    maps_from: Path | None = None  # or the folder of ready-made maps
    jobs: int = 1
    prompt: str = "Describe the image."
    test_fraction: float = 0.25
    seed: int = 42
    columns: Mapping[str, str] = field(default_factory=dict)
    overwrite: bool = False


@dataclass(frozen=True)
class Excluded:
    """A description that did not become a row."""

    where: str  # file and line
    image: str
    participant: str
    reason: str


@dataclass(frozen=True)
class BuiltDataset:
    """What was built, for the summary and the card."""

    options: DatasetOptions
    folder: Path
    rows: dict[str, list[dict[str, Any]]]  # split -> rows
    samples: list[Description]  # those that became rows
    excluded: list[Excluded]
    maps: MadeMaps | ReadyMaps
    fixations: dict[str, int] | None  # how many became what, see `card.COUNTS`; None where the maps are ready-made
    normalized: bool  # stage-1 targets are style-normalised

    @property
    def images(self) -> list[str]:
        """The images of all rows, relative to the folder `images`."""
        start = len(f"{self.options.name}/images/")
        return sorted({row["images"][0][start:] for rows in self.rows.values() for row in rows})

    @property
    def dataset_names(self) -> dict[str, str]:
        """split -> name in the registry."""
        return _dataset_names(self.options.name)


def build_dataset(options: DatasetOptions, track: Track = lambda items, _: items) -> BuiltDataset:
    """Build and register a data set.

    Writes `<dataset_dir>/<name>/` (images, maps, stage1.json, stage2.json, test.json, README.md, preview.png) and the
    entries `<name>_stage1`, `<name>_stage2` and `<name>_test`. Everything is made in a hidden folder beside it and
    moved into place at the end, so an error or an interruption leaves what was there before.

    Raises:
        DataError: bad input, or something in the way that this command did not make.
    """
    _check_target(options)
    check_map_options(options)
    descriptions = read_descriptions(options.descriptions)
    where: dict[str, str] = {}  # the first row that names an image
    for description in descriptions:
        where.setdefault(description.image, description.where)
    sizes = {
        image: photograph_size(options.images, image, where[image], decode=True)
        for image in track(list(where), "Checking images")
    }

    maps = maps_of(options, sizes)
    samples, excluded = _match(descriptions, maps, options)
    test_images = split_by_image({d.image: d.category or "" for d in samples}, options.test_fraction, options.seed)
    built = BuiltDataset(
        options=options,
        folder=options.dataset_dir / options.name,
        rows=_rows(samples, test_images, maps, options),
        samples=samples,
        excluded=excluded,
        maps=maps,
        fixations=maps.counts(samples) if isinstance(maps, MadeMaps) else None,
        normalized=samples[0].normalized is not None,
    )

    options.dataset_dir.mkdir(parents=True, exist_ok=True)
    building = options.dataset_dir / f".{options.name}.building-{uuid4().hex[:8]}"
    try:
        _write_files(building, built, track)
        _move_into_place(building / options.name, built)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return built


def _check_target(options: DatasetOptions) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", options.name):
        raise DataError(
            f"The name is '{options.name}'; expected letters, digits, '_', '-' and '.', a letter or digit first."
        )
    if PLACEHOLDER.search(options.prompt):
        raise DataError(
            f"The prompt is '{options.prompt}'; expected the question alone, this command adds <image> itself."
        )
    folder = options.dataset_dir / options.name
    foreign = registry.foreign_entries(options.dataset_dir, _dataset_names(options.name).values())
    if options.overwrite:
        return
    if foreign:
        raise DataError(
            f"{options.dataset_dir / 'dataset_info.json'} has an entry {foreign[0]} that this command did not make; "
            "choose another --name, or replace it by --overwrite."
        )
    if folder.exists():
        own = _dataset_names(options.name)["stage1"] in registry.read_registry(options.dataset_dir)
        other = sorted(path.name for path in folder.iterdir() if path.name not in _OWN_FILES) if folder.is_dir() else []
        if not own or other:
            what = f"holds {other[0]}" if other else "is not in the registry"
            raise DataError(
                f"{folder} exists and {what}, so this command did not make it as it is; choose another --name, or "
                "replace the whole folder by --overwrite."
            )


def _dataset_names(name: str) -> dict[str, str]:
    return {split: f"{name}_{split}" for split in SPLITS}


def _match(
    descriptions: Sequence[Description], maps: DatasetMaps, options: DatasetOptions
) -> tuple[list[Description], list[Excluded]]:
    """Keep the descriptions that have a map, and whose speaker looked at the image."""
    samples: list[Description] = []
    excluded: list[Excluded] = []
    for description in descriptions:
        reason = maps.lacks(description)
        if reason is None:
            samples.append(description)
        else:
            excluded.append(Excluded(description.where, description.image, description.participant, reason))
    if not samples:
        raise DataError(
            f"No row of {options.descriptions} can be used: {excluded[0].where} is excluded because "
            f"{excluded[0].reason}; do the names of images and participants agree with "
            f"{options.maps_from or options.fixations}?"
        )
    return samples, excluded


def _rows(
    samples: Sequence[Description], test_images: set[str], maps: DatasetMaps, options: DatasetOptions
) -> dict[str, list[dict[str, Any]]]:
    """The rows of each split, in the order of the descriptions."""
    rows: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    for sample in samples:
        if sample.image in test_images:
            rows["test"].append(_row(sample, sample.text, maps, options))
        else:
            rows["stage1"].append(_row(sample, sample.normalized or sample.text, maps, options))
            rows["stage2"].append(_row(sample, sample.text, maps, options))
    return rows


def _row(sample: Description, target: str, maps: DatasetMaps, options: DatasetOptions) -> dict[str, Any]:
    """One row in LLaMA-Factory's sharegpt form; paths are relative to the dataset folder."""
    return {
        "id": sample.id,
        "image_id": sample.image_id,
        "participant": sample.participant,
        **({"trial": sample.trial} if sample.trial else {}),
        **({"category": sample.category} if sample.category else {}),
        **sample.extra,
        "conversations": [
            {"from": "human", "value": f"<image>{options.prompt}"},
            {"from": "gpt", "value": target},
        ],
        "images": [f"{options.name}/images/{sample.image}"],
        "saliencies": [f"{options.name}/maps/{maps.name(sample)}"],
    }


def _write_files(media_dir: Path, built: BuiltDataset, track: Track) -> None:
    """Write the data set's folder below `media_dir`, against which the paths in its rows are resolved."""
    options = built.options
    folder = media_dir / options.name
    for image in track(built.images, "Copying images"):
        copy = folder / "images" / image
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(options.images / image, copy)
    built.maps.write(folder / "maps", built.samples, options.jobs, track)
    for split, rows in built.rows.items():
        text = json.dumps(rows, indent=2, ensure_ascii=False) + "\n"
        (folder / f"{split}.json").write_text(text, encoding="utf-8")
    (folder / "README.md").write_text(card.data_card(built), encoding="utf-8")
    contact_sheet(built.rows, media_dir, built.maps.of).save(folder / "preview.png")


def _move_into_place(finished: Path, built: BuiltDataset) -> None:
    """Move the finished folder to its place and register it; where that fails, put the former folder back."""
    former = built.folder.with_name(f".{built.folder.name}.former-{uuid4().hex[:8]}")
    replaces = built.folder.exists()
    if replaces:
        built.folder.rename(former)
    try:
        finished.rename(built.folder)
        registry.register(
            built.options.dataset_dir,
            {
                name: registry.gaze_entry(f"{built.options.name}/{split}.json")
                for split, name in built.dataset_names.items()
            },
        )
    except BaseException:
        if built.folder.exists():
            built.folder.rename(finished)
        if replaces:
            former.rename(built.folder)
        raise
    if replaces:
        shutil.rmtree(former) if former.is_dir() else former.unlink()
