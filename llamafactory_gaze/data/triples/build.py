"""The data set builder: fixations, photographs and descriptions in; a registered data set with maps and splits out."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llamafactory_gaze.data import registry
from llamafactory_gaze.data.folders import building_beside, put_back, setting_aside
from llamafactory_gaze.data.maps.files import Track
from llamafactory_gaze.data.photographs import photograph_size
from llamafactory_gaze.data.provenance import file_sha256
from llamafactory_gaze.data.registry import SPLITS, key_of
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.data.triples import card, pseudonyms, review
from llamafactory_gaze.data.triples.built import BuiltDataset
from llamafactory_gaze.data.triples.dataset_maps import MadeMaps, ReadyMaps, check_map_options, maps_of
from llamafactory_gaze.data.triples.descriptions import PLACEHOLDER
from llamafactory_gaze.data.triples.exclusions import excluded_table, without_rows
from llamafactory_gaze.data.triples.inputs import read_inputs
from llamafactory_gaze.data.triples.options import DatasetOptions
from llamafactory_gaze.data.triples.preview import contact_sheet
from llamafactory_gaze.data.triples.rows import make_rows, splits_record
from llamafactory_gaze.data.triples.samples import judge
from llamafactory_gaze.data.triples.sides import SideMaps, divide_maps
from llamafactory_gaze.data.triples.split import check_split, make_splits, same_content


_UNREGISTERED = ".unregistered"  # is in a folder until the registry names it, in case of a kill in between
_OWN_FILES = re.compile(
    r"images|maps|stage[12]\.json|test\.json|fold[0-9]+|README\.md|preview\.png|excluded\.csv|review\.csv|splits\.json"
    r"|\.unregistered"
    r"|stage1\.normalization\.json"  # of `llamafactory-gaze normalize`, whose answers are kept elsewhere
)


def build_dataset(options: DatasetOptions, track: Track = lambda items, _: items) -> BuiltDataset:
    """Build and register a data set.

    Writes `<dataset_dir>/<name>/` (images, maps, stage1.json, stage2.json, test.json, README.md, preview.png,
    splits.json, excluded.csv, review.csv) and the entries `<name>_stage1`, `<name>_stage2` and `<name>_test`; with
    folds, `fold1/stage1.json` and `<name>_fold1_stage1` and so on. Everything is made in a hidden folder beside it and
    moved into place at the end, so an error or an interruption leaves what was there before. What people wrote into
    `review.csv` is read first, and stands in the new one.

    Raises:
        DataError: bad input, or something in the way that this command did not make.
    """
    folder = options.dataset_dir / options.name
    _check_options(options)
    put_back(folder)
    _check_target(options, folder)
    reviewed = _content(folder / review.FILE)
    inputs = read_inputs(options)
    where: dict[str, str] = {}  # the first row that names an image
    for description in inputs.descriptions:
        where.setdefault(description.image, description.where)
    sizes = {
        image: photograph_size(options.images, image, where[image], decode=True)
        for image in track(list(where), "Checking images")
    }

    judged = judge(inputs, maps_of(options, inputs.fixations, sizes), options)
    samples = judged.samples
    sha256 = {image: file_sha256(options.images / image) for image in {sample.image for sample in samples}}
    originals = same_content(sha256)
    splits = make_splits(
        {sample.image: sample.category or "" for sample in samples},
        sorted({sample.participant for sample in samples}),
        options.split,
        options.test_fraction,
        options.folds,
        options.seed,
        originals,
    )
    sides_maps = divide_maps(judged.maps, samples, splits, options.split)
    maps = list({side.folder: side for side in sides_maps.values()}.values())
    built = BuiltDataset(
        options=options,
        folder=folder,
        rows=make_rows(samples, splits, originals, sides_maps, options),
        splits=splits,
        neither={
            split.name: [one.id for one in samples if split.side(one.image, one.participant) is None]
            for split in splits
        },
        sha256=sha256,
        originals=originals,
        excluded=judged.excluded if options.pseudonyms is None else without_rows(judged.excluded),
        review=review.update(inputs.review, inputs.descriptions, judged.automatic),
        maps=maps,
        fixations=_counts(judged.maps, maps),
        fields=sorted({name for sample in samples for name in sample.extra}),
        normalized=samples[0].normalized is not None,
    )
    for split in splits:
        sides = built.rows_of(split)
        check_split(sides["stage1"] + sides["stage2"], sides["test"], options.split)

    with building_beside(folder) as building:
        _write_files(building, built, track)
        pseudonyms.refuse_ids(building / options.name, inputs.ids)
        if _content(folder / review.FILE) != reviewed:
            raise DataError(f"{folder / review.FILE} was changed while the data set was made; run the command again.")
        _move_into_place(building / options.name, built)
    return built


def _check_options(options: DatasetOptions) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", options.name):
        raise DataError(
            f"The name is '{options.name}'; expected letters, digits, '_', '-' and '.', a letter or digit first."
        )
    if PLACEHOLDER.search(options.prompt):
        raise DataError(
            f"The prompt is '{options.prompt}'; expected the question alone, this command adds <image> itself."
        )
    options.rules.check()
    if options.fillers is not None and not options.clean_speech:
        raise DataError("--fillers says what --clean-speech takes out; give both, or none.")
    check_map_options(options)


def _check_target(options: DatasetOptions, folder: Path) -> None:
    splits = [""] if options.folds is None else [f"fold{i + 1}" for i in range(options.folds)]
    names = [f"{options.name}_{key_of(split, name).replace('/', '_')}" for split in splits for name in SPLITS]
    foreign = registry.foreign_entries(options.dataset_dir, names)
    if options.overwrite:
        return
    if foreign:
        raise DataError(
            f"{options.dataset_dir / 'dataset_info.json'} has an entry {foreign[0]} that this command did not make; "
            "choose another --name, or replace it by --overwrite."
        )
    if folder.exists():
        own = registry.own_entries(options.dataset_dir, options.name)
        content = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        other = [name for name in content if not _OWN_FILES.fullmatch(name)]
        killed = (folder / _UNREGISTERED).exists()
        if not (own or killed) or other:
            what = f"holds {other[0]}" if other else "is not in the registry"
            raise DataError(
                f"{folder} exists and {what}, so this command did not make it as it is; choose another --name, or "
                "replace the whole folder by --overwrite."
            )


def _counts(all_maps: MadeMaps | ReadyMaps, maps: Sequence[SideMaps]) -> dict[str, int] | None:
    if isinstance(all_maps, ReadyMaps):
        return None
    made = [one for side in maps if isinstance(side.maps, MadeMaps) for one in side.maps.maps(side.samples)]
    return all_maps.counts(made)


def _write_files(media_dir: Path, built: BuiltDataset, track: Track) -> None:
    """Write the data set's folder below `media_dir`, against which the paths in its rows are resolved."""
    options = built.options
    folder = media_dir / options.name
    for image in track(built.images, "Copying images"):
        copy = folder / "images" / image
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(options.images / image, copy)
    for side in built.maps:
        side.maps.write(folder / "maps" / side.folder, side.samples, options.jobs, track)
    for key, rows in built.rows.items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{key}.json").write_text(_json(rows), encoding="utf-8")
    (folder / "splits.json").write_text(_json(splits_record(built)), encoding="utf-8")
    (folder / "excluded.csv").write_text(excluded_table(built.excluded), encoding="utf-8", newline="")
    registry.write_atomically(folder / review.FILE, review.review_table(built.review))  # which is on the disk then
    (folder / "README.md").write_text(card.data_card(built), encoding="utf-8")
    contact_sheet(built.rows_of(built.splits[0]), media_dir, built.maps[0].maps.of).save(folder / "preview.png")


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _move_into_place(finished: Path, built: BuiltDataset) -> None:
    """Move the finished folder to its place and register it; where that fails, put the former folder back."""
    (finished / _UNREGISTERED).touch()
    with setting_aside(built.folder):
        finished.rename(built.folder)
        try:
            registry.register(
                built.options.dataset_dir,
                {
                    name: registry.gaze_entry(f"{built.options.name}/{key}.json")
                    for key, name in built.dataset_names.items()
                },
                stale=registry.own_entries(built.options.dataset_dir, built.options.name),
            )
        except BaseException:
            built.folder.rename(finished)
            raise
        (built.folder / _UNREGISTERED).unlink()
