"""The data card of a built data set: a README that says what is in it and how each number came about."""

from __future__ import annotations

import hashlib
import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamafactory_gaze.data.card_maps import maps_section
from llamafactory_gaze.data.dataset_maps import ReadyMaps


if TYPE_CHECKING:
    from llamafactory_gaze.data.build import BuiltDataset


STAGE1_NOT_NORMALIZED = (
    "The stage-1 targets are NOT style-normalised: the descriptions have no column `normalized`, so stage 1 is given "
    "the original descriptions, and cannot learn where people look apart from how they speak."
)

# What becomes of fixations: the keys of `BuiltDataset.fixations`, in words.
COUNTS = {
    "read": "in the table",
    "without_description": "on images without a description",
    "first_dropped": "the first on their image",
    "too_short": "shorter than the minimum",
    "off_image": "outside their image",
    "no_duration": "of 0 ms",
    "in_no_map": "in no map that a usable description needs",
    "used": "in a map",
}


def data_card(built: BuiltDataset) -> str:
    """The text of `<dataset_dir>/<name>/README.md`; equal inputs give equal text."""
    options = built.options
    names = built.dataset_names
    stage1 = (
        "the style-normalised descriptions (column `normalized`)"
        if built.normalized
        else "the original descriptions, **not style-normalised**"
    )
    parts = [
        f"# {options.name}",
        "Images, maps of where people looked, and what they said about the images. Made by "
        "`llamafactory-gaze dataset`; `preview.png` shows a few samples.",
        "## Data sets",
        _table(
            ("name in dataset_info.json", "rows", "images", "target"),
            [
                (names["stage1"], *_sizes(built.rows["stage1"]), stage1),
                (names["stage2"], *_sizes(built.rows["stage2"]), "the original descriptions"),
                (names["test"], *_sizes(built.rows["test"]), "the original descriptions"),
            ],
        ),
        "The split is by image: no image of the test set is in a training set. Training images (descriptions) and test "
        "images (descriptions) of each category:",
        _table(("category", "training", "test"), category_counts(built)),
    ]
    if not built.normalized:
        parts.append(STAGE1_NOT_NORMALIZED)
    parts += [
        "## Maps",
        maps_section(built.maps, built.samples),
    ]
    if built.fixations is not None:
        parts.append(_table(("fixations", "number"), [(COUNTS[key], n) for key, n in built.fixations.items()]))
    parts += [
        "## Excluded descriptions",
        _table(
            ("row", "image", "participant", "reason"),
            [(row.where, row.image, row.participant, row.reason) for row in built.excluded],
        )
        if built.excluded
        else "None.",
        "## Made from",
        _table(
            ("file", "sha256"),
            [
                *((path.name, _sha256(path)) for path in (options.fixations, options.descriptions) if path is not None),
                *((f"images/{image}", _sha256(options.images / image)) for image in built.images),
                *((f"maps/{name}", digest) for name, digest in _ready_maps(built)),
            ],
        ),
        f"Prompt: `{options.prompt}`. Test fraction {options.test_fraction:g}, seed {options.seed}. "
        f"Columns: {', '.join(f'{ours} = {theirs}' for ours, theirs in options.columns.items()) or 'as named'}.",
        f"llamafactory-gaze {_version('llamafactory-gaze')}, numpy {_version('numpy')}, pillow {_version('pillow')}, "
        f"Python {platform.python_version()}.",
    ]
    return "\n\n".join(parts) + "\n"


def category_counts(built: BuiltDataset) -> list[tuple[str, str, str]]:
    """(category, training, test) with counts written as 'images (descriptions)', one line per category."""
    categories = sorted({row.get("category", "(none)") for rows in built.rows.values() for row in rows})

    def count(split: str, category: str) -> str:
        rows = [row for row in built.rows[split] if row.get("category", "(none)") == category]
        return "{1} ({0})".format(*_sizes(rows))

    return [(category, count("stage2", category), count("test", category)) for category in categories]


def excluded_by_reason(built: BuiltDataset) -> Counter[str]:
    return Counter(row.reason for row in built.excluded)


def _sizes(rows: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """(rows, images)"""
    return len(rows), len({row["image_id"] for row in rows})


def _ready_maps(built: BuiltDataset) -> list[tuple[str, str]]:
    """(name, sha256) of maps that were taken as they are."""
    return sorted(built.maps.sha256.items()) if isinstance(built.maps, ReadyMaps) else []


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(not installed)"
