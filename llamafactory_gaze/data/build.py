"""The data set builder: fixations, photographs and descriptions in; a registered data set with maps and splits out."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import numpy as np
from PIL import ExifTags, Image

from llamafactory_gaze.data import card, registry
from llamafactory_gaze.data.descriptions import PLACEHOLDER, Description, read_descriptions
from llamafactory_gaze.data.fixations import Fixations, read_fixations, require_durations
from llamafactory_gaze.data.heatmaps import encode_map, fixation_heatmap
from llamafactory_gaze.data.preview import contact_sheet
from llamafactory_gaze.data.split import split_by_image
from llamafactory_gaze.data.tables import DataError


SPLITS = ("stage1", "stage2", "test")
_OWN_FILES = ("images", "maps", "stage1.json", "stage2.json", "test.json", "README.md", "preview.png")
Track = Callable[[Sequence[Any], str], Iterable[Any]]  # shows progress while a list is gone through: (list, what for)


@dataclass(frozen=True)
class DatasetOptions:
    """What `llamafactory-gaze dataset` is asked for; its --help explains each."""

    fixations: Path
    images: Path
    descriptions: Path
    name: str
    dataset_dir: Path
    sigma_px: float
    maps: Literal["image", "participant"] = "image"
    weight: Literal["duration", "count"] = "duration"
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
class FixationCounts:
    read: int
    without_description: int  # on images that nobody described
    off_image: int  # beyond the borders of a described image; dropped
    used: int  # in a map

    @property
    def unused(self) -> int:
        """On described images, but of people or rows that became no sample."""
        return self.read - self.without_description - self.off_image - self.used


@dataclass(frozen=True)
class BuiltDataset:
    """What was built, for the summary and the card."""

    options: DatasetOptions
    folder: Path
    rows: dict[str, list[dict[str, Any]]]  # split -> rows
    excluded: list[Excluded]
    fixations: FixationCounts
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
    descriptions = read_descriptions(options.descriptions)
    fixations = read_fixations(options.fixations, options.columns)
    if options.weight == "duration":
        require_durations(options.fixations, *(of.duration_ms for of in fixations.values()))
    where: dict[str, str] = {}  # the first row that names an image
    for description in descriptions:
        where.setdefault(description.image, description.where)
    sizes = {image: _image_size(options.images, image, where[image]) for image in track(list(where), "Checking images")}

    samples, excluded = _match(descriptions, fixations, sizes, options)
    test_images = split_by_image({d.image: d.category or "" for d in samples}, options.test_fraction, options.seed)
    maps = _fixations_of_maps(samples, fixations, sizes, options)
    described = {image: fixations[image] for image in sizes if image in fixations}
    built = BuiltDataset(
        options=options,
        folder=options.dataset_dir / options.name,
        rows=_rows(samples, test_images, options),
        excluded=excluded,
        fixations=FixationCounts(
            read=sum(map(len, fixations.values())),
            without_description=sum(len(of) for image, of in fixations.items() if image not in sizes),
            off_image=sum(int((~of.on_image(sizes[image])).sum()) for image, of in described.items()),
            used=sum(len(of) for _, of in maps.values()),
        ),
        normalized=samples[0].normalized is not None,
    )

    options.dataset_dir.mkdir(parents=True, exist_ok=True)
    building = options.dataset_dir / f".{options.name}.building-{uuid4().hex[:8]}"
    try:
        _write_files(building, built, maps, sizes, track)
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
    if not options.sigma_px >= 1:
        raise DataError(f"The Gaussian's width is {options.sigma_px:g} pixels; expected at least 1.")
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


def _image_size(folder: Path, image: str, where: str) -> tuple[int, int]:
    """(width, height) of an image, after checks that are cheap now and costly in the middle of a training."""
    path = folder / image
    if not path.is_file():
        raise DataError(f"{where}: the image {image} is not in {folder}.")
    try:
        with Image.open(path) as opened:
            orientation = opened.getexif().get(ExifTags.Base.Orientation, 1)
            opened.load()
            size = opened.size
    except Exception as error:  # PIL's decoders raise nearly anything on a damaged file
        raise DataError(f"{where}: the image {path} cannot be decoded ({type(error).__name__}: {error}).") from error
    if orientation != 1:
        # LLaMA-Factory takes the pixels as they are stored, an image viewer turns them: which did the participants see?
        raise DataError(
            f"{where}: the image {path} is stored turned (EXIF orientation {orientation}), so the place of its "
            "fixations is ambiguous; save it the way that the participants saw it, without that tag."
        )
    return size


def _match(
    descriptions: Sequence[Description],
    fixations: Mapping[str, Fixations],
    sizes: Mapping[str, tuple[int, int]],
    options: DatasetOptions,
) -> tuple[list[Description], list[Excluded]]:
    """Keep the descriptions whose speaker has fixations on the image."""
    samples: list[Description] = []
    excluded: list[Excluded] = []
    for description in descriptions:
        reason = None
        if description.image not in fixations:
            reason = "nobody has fixations on this image"
        else:
            on_this = fixations[description.image]
            own = on_this.where(on_this.participant == description.participant)
            seen = own.where(own.on_image(sizes[description.image]))
            if not len(own):
                reason = "the participant has no fixations on this image"
            elif not len(seen):
                reason = f"all of the participant's fixations ({len(own)}) lie outside the image"
            elif not _weight(seen, options).any():
                reason = "the participant's fixations on this image last 0 ms"
        if reason is None:
            samples.append(description)
        else:
            excluded.append(Excluded(description.where, description.image, description.participant, reason))
    if not samples:
        raise DataError(
            f"No row of {options.descriptions} can be used: {excluded[0].where} is excluded because "
            f"{excluded[0].reason}; do the names of images and participants agree with {options.fixations}?"
        )
    return samples, excluded


def _fixations_of_maps(
    samples: Sequence[Description],
    fixations: Mapping[str, Fixations],
    sizes: Mapping[str, tuple[int, int]],
    options: DatasetOptions,
) -> dict[str, tuple[str, Fixations]]:
    """Name of the map -> its image and the fixations that it is made of."""
    maps: dict[str, tuple[str, Fixations]] = {}
    for sample in samples:
        if _map_name(sample, options) in maps:
            continue
        of = fixations[sample.image]
        of = of.where(of.on_image(sizes[sample.image]))
        if options.maps == "participant":
            of = of.where(of.participant == sample.participant)
        maps[_map_name(sample, options)] = (sample.image, of)
    return maps


def _map_name(sample: Description, options: DatasetOptions) -> str:
    return f"{sample.id if options.maps == 'participant' else sample.image_id}.png"


def _weight(fixations: Fixations, options: DatasetOptions) -> np.ndarray:
    return fixations.duration_ms if options.weight == "duration" else np.ones(len(fixations))


def _rows(
    samples: Sequence[Description], test_images: set[str], options: DatasetOptions
) -> dict[str, list[dict[str, Any]]]:
    """The rows of each split, in the order of the descriptions."""
    rows: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    for sample in samples:
        if sample.image in test_images:
            rows["test"].append(_row(sample, sample.text, options))
        else:
            rows["stage1"].append(_row(sample, sample.normalized or sample.text, options))
            rows["stage2"].append(_row(sample, sample.text, options))
    return rows


def _row(sample: Description, target: str, options: DatasetOptions) -> dict[str, Any]:
    """One row in LLaMA-Factory's sharegpt form; paths are relative to the dataset folder."""
    return {
        "id": sample.id,
        "image_id": sample.image_id,
        "participant": sample.participant,
        **({"category": sample.category} if sample.category else {}),
        **sample.extra,
        "conversations": [
            {"from": "human", "value": f"<image>{options.prompt}"},
            {"from": "gpt", "value": target},
        ],
        "images": [f"{options.name}/images/{sample.image}"],
        "saliencies": [f"{options.name}/maps/{_map_name(sample, options)}"],
    }


def _write_files(
    media_dir: Path,
    built: BuiltDataset,
    maps: Mapping[str, tuple[str, Fixations]],
    sizes: Mapping[str, tuple[int, int]],
    track: Track,
) -> None:
    """Write the data set's folder below `media_dir`, against which the paths in its rows are resolved."""
    options = built.options
    folder = media_dir / options.name
    for image in track(built.images, "Copying images"):
        copy = folder / "images" / image
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(options.images / image, copy)
    for name in track(list(maps), "Making maps"):
        image, of = maps[name]
        saliency = fixation_heatmap(of.x, of.y, _weight(of, options), sizes[image], options.sigma_px)
        path = folder / "maps" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_map(saliency))
    for split, rows in built.rows.items():
        text = json.dumps(rows, indent=2, ensure_ascii=False) + "\n"
        (folder / f"{split}.json").write_text(text, encoding="utf-8")
    (folder / "README.md").write_text(card.data_card(built), encoding="utf-8")
    contact_sheet(built.rows, media_dir, per_image=1 if options.maps == "image" else 2).save(folder / "preview.png")


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
