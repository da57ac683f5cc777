"""Shares a data set in the layout of the Hugging Face Hub: one folder of Parquet files with everything embedded.

    FOLDER/README.md             the data card, with the header that the Hub reads
    FOLDER/dataset_info.json     LLaMA-Factory's entries: FOLDER is a `dataset_dir`
    FOLDER/stage1/train-00000-of-00001.parquet
    FOLDER/stage2/train-00000-of-00001.parquet
    FOLDER/test/test-00000-of-00001.parquet
    FOLDER/stage1.normalization.json   where `llamafactory-gaze normalize` has made the targets

Each entry is a configuration of its own name; the test set is the split `test`, all others are `train`. Images and maps
are columns of `datasets.Image`, and hold the bytes of the files as they are: a 16-bit map stays one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path, PurePath
from typing import Any
from uuid import uuid4

from llamafactory_gaze.data.entries import Entry, find_groups, listed, read_rows
from llamafactory_gaze.data.folders import building_beside, refuse_others_files, replace_folder
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.data.validation.files import Locator


MADE_BY = "llamafactory-gaze share"
PERSONAL = "Gaze is personal data, and a map of one person can identify them"
SPLITS_FILE = "splits.json"
MAX_SHARD_BYTES = 500_000_000
_BATCH = 100  # rows in memory, and in a row group
_COPIED = ("preview.png", SPLITS_FILE)  # go along where they stand beside the data set's files
_NORMALIZATION = ".normalization.json"  # of the records that rows of normalised targets refer to; goes along, too


@dataclass(frozen=True)
class ShareOptions:
    """What `llamafactory-gaze share` is asked for; its --help explains each."""

    name: str
    dataset_dir: Path
    output: Path
    media_dir: Path | None = None
    licence: str | None = None  # None: what the card says
    with_personal_maps: bool = False


@dataclass(frozen=True)
class Part:
    """One configuration."""

    name: str  # of the entry in dataset_info.json
    config: str
    split: str
    settings: Mapping[str, Any]  # columns and tags of the entry

    def entry(self, repo: str | None = None) -> dict[str, Any]:
        """The entry of dataset_info.json: of the folder itself, or of a repository on the Hub."""
        where = {"file_name": self.config}
        if repo is not None:
            where = {"hf_hub_url": repo, "subset": self.config, "split": self.split}
        return {**where, "formatting": "gaze", **self.settings, "made_by": MADE_BY}


@dataclass(frozen=True)
class Shared:
    """A data set in the Hub's layout on this disk."""

    options: ShareOptions
    parts: list[Part]
    rows: dict[str, int]  # configuration -> rows
    card: str  # text of the data card, without header and entries
    knows_people: bool  # of how many people each map is

    def entries(self, repo: str | None = None) -> dict[str, Any]:
        return {part.name: part.entry(repo) for part in self.parts}


def share_dataset(options: ShareOptions) -> Shared:
    """Write a registered data set into a folder of the Hub's layout, whole or not at all.

    Raises:
        DataError: no such data set, a file that is missing or outside of the media folder, maps of single people
            without `with_personal_maps`, or an output folder with files that this command did not make.
    """
    _check_output(options.output)
    groups = find_groups(options.dataset_dir, options.name)
    entries = [entry for group in groups for entry in group.entries.values()]
    source = _Source(options, Locator(options.media_dir or options.dataset_dir))
    plain = {entry.name: source.plain_rows(entry) for entry in entries}
    records = [_maps_record(entry, options.dataset_dir) for entry in entries]
    knows_people = all(record.get("fewest_people") for record in records)
    personal = next(filter(None, map(_personal, records)), None)
    if personal is None and not knows_people and source.several:
        personal = f"image {source.several} has several, and {SPLITS_FILE} does not say of how many people each is"
    if personal and not options.with_personal_maps:
        raise DataError(
            f"{options.name} has maps of single people: {personal}. {PERSONAL}; share maps of several people (--maps "
            "image of the command dataset), or say --with-personal-maps if they agreed to it."
        )
    parts = [_part(entry, options.name) for entry in entries]
    rows = {part.config: len(plain[part.name]) for part in parts}
    shared = Shared(options, parts, rows, _card_text(entries[0], plain, options), knows_people)
    output = options.output.resolve()
    with building_beside(output) as building:
        for entry, part in zip(entries, shared.parts, strict=True):
            features = _features(entry, plain[entry.name])
            with _fits_a_table(entry):
                _write_parquet(building / part.config, part.split, features, source.rows(entry))
        for name in _COPIED:
            file = entries[0].beside(options.dataset_dir, name)
            if file is not None:
                shutil.copyfile(file, building / name)
        for entry, part in zip(entries, shared.parts, strict=True):
            file = entry.beside(options.dataset_dir, _normalization_of(entry))
            if file is not None:
                shutil.copyfile(file, building / f"{part.config}{_NORMALIZATION}")
        (building / "README.md").write_text(readme(shared), encoding="utf-8")
        text = json.dumps(shared.entries(), indent=2, ensure_ascii=False) + "\n"
        (building / "dataset_info.json").write_text(text, encoding="utf-8")
        replace_folder(building, output)
    return shared


def push(shared: Shared, repo: str, private: bool) -> None:
    """Upload a shared folder to the Hub, a configuration at a time.

    Raises:
        DataError: the name is none, the Hub cannot be reached or refuses, or the repository is public already although
            a private one is wanted.
    """
    import httpx
    from datasets import Dataset
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    check_repo(repo)
    folder, api = shared.options.output, HfApi()
    files = {
        "README.md": readme(shared, repo).encode(),
        "dataset_info.json": (json.dumps(shared.entries(repo), indent=2, ensure_ascii=False) + "\n").encode(),
        **{name: (folder / name).read_bytes() for name in _COPIED if (folder / name).exists()},
        **{file.name: file.read_bytes() for file in sorted(folder.glob(f"*{_NORMALIZATION}"))},
    }
    cache = folder.resolve().with_name(f".{folder.name}.cache-{uuid4().hex[:8]}")
    try:
        api.create_repo(repo, repo_type="dataset", private=private, exist_ok=True)
        if private and not api.dataset_info(repo).private:
            raise DataError(
                f"The data set {repo} exists on the Hub and is public; make it private there, or name another."
            )
        for part in shared.parts:
            parquet = sorted(str(file) for file in (folder / part.config).iterdir())
            dataset = Dataset.from_parquet(parquet, cache_dir=str(cache))
            dataset.push_to_hub(
                repo, config_name=part.config, split=part.split, private=private, embed_external_files=False
            )
        for name, content in files.items():
            api.upload_file(path_or_fileobj=content, path_in_repo=name, repo_id=repo, repo_type="dataset")
    except (OSError, httpx.HTTPError, HfHubHTTPError) as error:
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise DataError(
            f"Cannot push to {repo} ({type(error).__name__}: {reason}); {folder} is complete: log in with "
            "`hf auth login`, see that HF_HUB_OFFLINE is not set, and call this again."
        ) from error
    finally:
        shutil.rmtree(cache, ignore_errors=True)


def check_repo(repo: str) -> None:
    """Raise `DataError` unless this may be the name of a repository."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise DataError(f"--push-to-hub {repo} is no repository; expected OWNER/NAME.")


def readme(shared: Shared, repo: str | None = None) -> str:
    """The data card with the Hub's YAML header, and how LLaMA-Factory loads the data set."""
    from huggingface_hub import DatasetCard, DatasetCardData

    text, former = shared.card, {}
    if text.startswith("---"):  # a card that has been on the Hub
        card = DatasetCard(text)
        text, former = card.text, card.data.to_dict()
    header = {
        "pretty_name": shared.options.name,
        "task_categories": ["image-to-text", "image-text-to-text"],
        **former,
        "license": shared.options.licence or former.get("license", "unknown"),
        # A card of maps that are of no eye tracker has tags without these two.
        "tags": sorted({"saliency", "llama-factory", *(former.get("tags") or ("gaze", "eye-tracking"))}),
        "configs": [
            {
                "config_name": part.config,
                "data_files": [{"split": part.split, "path": f"{part.config}/{part.split}-*"}],
            }
            for part in shared.parts
        ],
    }
    entries = json.dumps(shared.entries(repo), indent=2, ensure_ascii=False)
    place = (
        f"With `dataset_dir: REMOTE:{repo}` a recipe finds these entries here; or add them to your dataset_info.json:"
        if repo is not None
        else "This folder is a `dataset_dir`: its dataset_info.json has these entries."
    )
    return (
        f"---\n{DatasetCardData(**header).to_yaml()}\n---\n{text.strip()}\n\n## Loading it\n\n"
        "Images and maps are embedded, byte for byte as they were in files. LLaMA-Factory trains on them with the "
        f"plug-in llamafactory-gaze. {place}\n\n```json\n{entries}\n```\n"
    )


class _Source:
    """Reads the rows of entries, once without their pictures and once with them."""

    def __init__(self, options: ShareOptions, locate: Locator):
        self.options = options
        self.locate = locate
        self.several: str | None = None  # an image with several maps
        self._map_of: dict[str, str] = {}  # image -> its first map

    def plain_rows(self, entry: Entry) -> list[dict[str, Any]]:
        """The rows without pictures; looks on the way whether an image has several maps."""
        if entry.columns.videos:
            raise DataError(f"The entry {entry.name} has videos, which this command cannot embed yet.")
        columns, rows = entry.columns, []
        for where, row in self._numbered(entry):
            images, maps = (listed(row.get(column)) for column in (columns.images, columns.saliencies))
            for image, saliency in zip(images, maps, strict=False):
                if image is not None and saliency is not None:
                    key = self._identity(image, "image", where)
                    identity = self._identity(saliency, "map", where)
                    if self._map_of.setdefault(key, identity) != identity:
                        self.several = self.several or str(row.get("image_id") or PurePath(key).name)
            rows.append({key: value for key, value in row.items() if key not in (columns.images, columns.saliencies)})
        if not rows:
            raise DataError(f"The entry {entry.name} has no rows.")
        return rows

    def rows(self, entry: Entry) -> Iterator[dict[str, Any]]:
        """The rows with embedded pictures."""
        columns = entry.columns
        for where, row in self._numbered(entry):
            pictures = {
                column: [self._embedded(one, role, where) for one in listed(row[column])]
                for column, role in ((columns.images, "image"), (columns.saliencies, "map"))
                if row.get(column) is not None
            }
            yield {**row, **pictures}  # the row itself may stand in a list, in which pictures would pile up

    def _numbered(self, entry: Entry) -> Iterator[tuple[str, dict[str, Any]]]:
        for file in entry.files(self.options.dataset_dir):
            for number, row in enumerate(read_rows(file)):
                where = f"{file}, row {number}"
                if not isinstance(row, dict):
                    raise DataError(f"{where} is a {type(row).__name__}, expected an object.")
                yield where + (f" (id {row['id']})" if row.get("id") is not None else ""), row

    def _identity(self, entry: Any, role: str, where: str) -> str:
        content = _content(entry)
        return sha256(content).hexdigest() if isinstance(content, bytes) else self._real(content, role, where)

    def _embedded(self, entry: Any, role: str, where: str) -> dict[str, Any] | None:
        content = _content(entry)
        if content is None:
            return None
        if isinstance(content, bytes):
            return {"bytes": content, "path": entry.get("path") if isinstance(entry, Mapping) else None}
        return {"bytes": Path(self._real(content, role, where)).read_bytes(), "path": PurePath(content).name}

    def _real(self, content: Any, role: str, where: str) -> str:
        if not isinstance(content, str):
            raise DataError(
                f"{where}: an entry of the {role}s is a {type(content).__name__}, expected a path or bytes."
            )
        real, faults = self.locate(role, content)
        if real is None or faults:
            raise DataError(f"{where}: {faults[0].message}")
        return real


def _normalization_of(entry: Entry) -> str:
    """The name of the file of records: named as the file of the rows, or their folder or subset in the Hub's layout."""
    return f"{PurePath(entry.settings.get('file_name') or entry.settings.get('subset', '')).stem}{_NORMALIZATION}"


def _maps_record(entry: Entry, dataset_dir: Path) -> dict[str, Any]:
    """What `llamafactory-gaze dataset` wrote down about the maps; empty where it did not make the data set.

    Raises:
        DataError: it is there and cannot be read.
    """
    file = entry.beside(dataset_dir, SPLITS_FILE)
    if file is None:
        return {}
    try:
        record = json.loads(file.read_text(encoding="utf-8")).get("maps", {})
        return {key: record[key] for key in ("of", "fewest_people", "of_one_person")} if record else {}
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise DataError(
            f"{file} cannot be read ({type(error).__name__}: {error}); expected the file that `llamafactory-gaze "
            "dataset` writes: make the data set again."
        ) from error


def _personal(record: Mapping[str, Any]) -> str | None:
    """Why maps are of single people, as their record has it; None where it does not say that they are."""
    of = record.get("of", "image")
    if of == "leave-one-out":
        return "they were made by --maps leave-one-out, and what one person adds is seen when they are compared"
    if of != "image":
        return f"they were made by --maps {of}"
    if record.get("fewest_people") == 1:
        return f"{len(record['of_one_person'])} of them hold one person's gaze, listed in {SPLITS_FILE}"
    return None


def _content(entry: Any) -> Any:
    """The bytes of a picture, or its path, or None."""
    return (entry.get("bytes") or entry.get("path")) if isinstance(entry, Mapping) else entry


def _part(entry: Entry, name: str) -> Part:
    """A configuration is named as the entry without the name of the data set: stage1, fold1_test."""
    columns = entry.columns
    settings: dict[str, Any] = {
        "columns": {"messages": columns.messages, "images": columns.images, "saliencies": columns.saliencies}
    }
    if entry.settings.get("tags"):
        settings["tags"] = entry.settings["tags"]
    is_test = entry.name.endswith("_test")
    return Part(entry.name, entry.name.removeprefix(f"{name}_"), "test" if is_test else "train", settings)


def _features(entry: Entry, plain: list[dict[str, Any]]) -> Any:
    """The types of all columns, in the order of the first row."""
    from datasets import Dataset, Features, Image, List

    columns = entry.columns
    names = dict.fromkeys(name for row in plain for name in row)
    with _fits_a_table(entry):
        found = Dataset.from_list([{name: row.get(name) for name in names} for row in plain]).features
    return Features({**found, columns.images: List(Image()), columns.saliencies: List(Image())})


@contextmanager
def _fits_a_table(entry: Entry) -> Iterator[None]:
    """Turns what Arrow says of values of several types into our error."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, DataError):
            raise
        reason = str(error).splitlines()[0]
        raise DataError(
            f"The rows of {entry.name} do not fit into a table ({reason}); `llamafactory-gaze validate` says which."
        ) from error


def _write_parquet(folder: Path, split: str, features: Any, rows: Iterator[dict[str, Any]]) -> None:
    """Write rows into shards of about 500 MB, a hundred rows in memory at a time."""
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    folder.mkdir()
    shards: list[Path] = []
    writer = None
    try:
        while batch := list(islice(rows, _BATCH)):
            if writer is None:
                shards.append(folder / f"{len(shards)}.writing")
                writer = ParquetWriter(shards[-1], features.arrow_schema)
            writer.write_table(pyarrow.Table.from_pylist(batch, schema=features.arrow_schema))
            if shards[-1].stat().st_size >= MAX_SHARD_BYTES:
                writer.close()
                writer = None
    finally:
        if writer is not None:
            writer.close()
    for number, shard in enumerate(shards):
        shard.rename(folder / f"{split}-{number:05d}-of-{len(shards):05d}.parquet")


def _card_text(entry: Entry, plain: Mapping[str, list[dict[str, Any]]], options: ShareOptions) -> str:
    """The data card that stands beside the rows; else a few lines that say what is known."""
    file = entry.beside(options.dataset_dir, "README.md")
    if file is not None:
        return file.read_text(encoding="utf-8")
    simulated = any(row.get("simulated") for rows in plain.values() for row in rows)
    lines = [f"# {options.name}", "Images, maps of where people looked, and what they said about the images."]
    if simulated:
        lines.insert(0, "SIMULATED data: nothing here was recorded from people.")
    return "\n\n".join(lines)


def _check_output(output: Path) -> None:
    """Refuse an output folder that this command would not wholly replace by its own."""
    try:
        entries = json.loads((output / "dataset_info.json").read_text(encoding="utf-8"))
        configs = {entry["file_name"] for entry in entries.values() if entry["made_by"] == MADE_BY}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        configs = set()
    records = {f"{config}{_NORMALIZATION}" for config in configs}
    own = {"README.md", "dataset_info.json", *_COPIED, *records} if configs else set()

    def is_own(name: str) -> bool:
        return name in own or (os.path.dirname(name) in configs and name.endswith(".parquet"))

    refuse_others_files(output, is_own)
