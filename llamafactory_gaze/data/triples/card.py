"""The data card of a built data set: a README that says what is in it and how each number came about."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from llamafactory_gaze.data.provenance import file_sha256, versions
from llamafactory_gaze.data.triples.card_maps import maps_section
from llamafactory_gaze.data.triples.dataset_maps import ReadyMaps
from llamafactory_gaze.data.triples.review import GONE


if TYPE_CHECKING:
    from llamafactory_gaze.data.triples.built import BuiltDataset
    from llamafactory_gaze.data.triples.options import DatasetOptions


STAGE1_NOT_NORMALIZED = (
    "The stage-1 targets are NOT style-normalised: the descriptions have no column `normalized`, so stage 1 is given "
    "the original descriptions, and cannot learn where people look apart from how they speak; "
    "`llamafactory-gaze normalize` makes them."
)

# What becomes of fixations: the keys of `BuiltDataset.fixations`, in words.
COUNTS = {
    "read": "in the table",
    "without_description": "on images without a description",
    "breaks_rule": "of somebody whose fixations on the image break a rule",
    "first_dropped": "the first on their image",
    "too_short": "shorter than the minimum",
    "off_image": "outside their image",
    "no_duration": "of 0 ms",
    "in_no_map": "in no map that a usable description needs",
    "used": "in a map",
}

# Licences that Hugging Face knows by these names; any other is "other" there.
_LICENCES = re.compile(
    r"apache-2\.0|mit|cc|cc0-1\.0|cc-by(-(nc|sa|nd|nc-sa|nc-nd))?-[234]\.0|odbl|odc-by|pddl|gpl-[23]\.0|bsd-[23]-clause|"
    r"cdla-(permissive-[12]\.0|sharing-1\.0)|unlicense"
)
_NOT_STATED = "**not stated**"


def data_card(built: BuiltDataset) -> str:
    """The text of `<dataset_dir>/<name>/README.md`; equal inputs give equal text."""
    options = built.options
    names = built.dataset_names
    spoken = "the descriptions without fillers and restarts" if options.clean_speech else "the original descriptions"
    stage1 = (
        "the style-normalised descriptions (column `normalized`)"
        if built.normalized
        else f"{spoken}, **not style-normalised**"
    )
    rows = [row for split in built.splits for side in ("stage2", "test") for row in built.rows_of(split)[side]]
    parts = [
        _header(built),
        f"# {options.name}",
        f"Images, {_maps_in_words(built)}, and what people said about the images. Made by "
        "`llamafactory-gaze dataset`; `preview.png` shows a few samples.",
        f"{len({row['id'] for row in rows})} samples: {len({row['image_id'] for row in rows})} images, "
        f"{len({row['participant'] for row in rows})} people.",
        _table(
            ("", ""),
            [
                ("consent of the participants", options.statements.consent or _NOT_STATED),
                ("licence", options.statements.licence or _NOT_STATED),
                ("how to cite", options.statements.cite or _NOT_STATED),
                ("contact", options.statements.contact or _NOT_STATED),
            ],
        ),
        "## Data sets",
        _table(
            ("name in dataset_info.json", "rows", "images", "people", "target"),
            [
                (name, *_sizes(built.rows[key]), stage1 if key.endswith("stage1") else spoken)
                for key, name in names.items()
            ],
        ),
        _split_in_words(built),
        _table(*category_table(built)),
    ]
    if not built.normalized:
        parts.append(STAGE1_NOT_NORMALIZED)
    parts += [
        "## Maps",
        maps_section(built.maps, options.pseudonyms is not None),
    ]
    if built.fixations is not None:
        parts.append(_table(("fixations", "number"), [(COUNTS[key], n) for key, n in built.fixations.items()]))
    parts += [
        "## Excluded descriptions",
        _rules_in_words(options),
        *(
            [
                _table(("rule", "descriptions"), excluded_by_rule(built).most_common()),
                "Each of them, as in `excluded.csv`:",
                _table(
                    ("row", "image", "participant", "reason"),
                    [(row.where, row.image, row.participant, row.reason) for row in built.excluded],
                ),
            ]
            if built.excluded
            else ["None."]
        ),
        "## Review by hand",
        review_in_words(built),
        "## Speech and people",
        _speech_and_people(built),
        "## Made from",
        _table(
            ("file", "sha256"),
            [
                *((path.name, file_sha256(path)) for path in _tables(options)),
                *((f"images/{image}", built.sha256[image]) for image in built.images),
                *((f"maps/{name}", digest) for name, digest in _ready_maps(built)),
            ],
        ),
        f"Prompt: `{options.prompt}`. "
        f"Columns: {', '.join(f'{ours} = {theirs}' for ours, theirs in options.columns.items()) or 'as named'}.",
        ", ".join(f"{name} {version}" for name, version in versions().items()) + ".",
    ]
    return "\n\n".join(parts) + "\n"


def category_table(built: BuiltDataset) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and lines, one per category: 'images (descriptions)' of training and test, or of the test of each fold."""
    all_rows = [row for rows in built.rows.values() for row in rows]
    categories = sorted({row.get("category", "(none)") for row in all_rows})

    def count(rows: Sequence[dict[str, Any]], category: str) -> str:
        found, images, _ = _sizes([row for row in rows if row.get("category", "(none)") == category])
        return f"{images} ({found})"

    def people(category: str) -> str:
        return str(_sizes([row for row in all_rows if row.get("category", "(none)") == category])[2])

    columns = {split.name: built.rows_of(split)["test"] for split in built.splits}
    if built.options.folds is None:
        columns = {"training": built.rows["stage2"], "test": built.rows["test"]}
    lines = [
        (category, *(count(rows, category) for rows in columns.values()), people(category)) for category in categories
    ]
    return ("category", *columns, "people"), lines


def excluded_by_rule(built: BuiltDataset) -> Counter[str]:
    return Counter(row.rule for row in built.excluded)


def review_in_words(built: BuiltDataset) -> str:
    verdicts = Counter(line.verdict for line in built.review if line.automatic_reason != GONE)
    gone = sum(line.automatic_reason == GONE for line in built.review)
    text = (
        f"{verdicts['accept']} accepted, {verdicts['reject']} rejected, {verdicts['']} without a verdict (`review.csv`)"
    )
    return f"{text}; {gone} lines are about samples that are {GONE}." if gone else f"{text}."


def _header(built: BuiltDataset) -> str:
    """The YAML block of a data set card on Hugging Face."""
    licence = built.options.statements.licence
    known = "-".join((licence or "").lower().split())
    header: dict[str, Any] = {"pretty_name": built.options.name}
    if licence is not None:
        header |= {"license": known} if _LICENCES.fullmatch(known) else {"license": "other", "license_name": licence}
    header |= {
        "task_categories": ["image-to-text"],
        "tags": [*(["gaze", "eye-tracking"] if _is_of_gaze(built) else []), "saliency", "image-captioning"],
        "configs": [{"config_name": key.replace("/", "_"), "data_files": f"{key}.json"} for key in built.dataset_names],
    }
    return f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---"


def _split_in_words(built: BuiltDataset) -> str:
    options = built.options
    how = (
        f"{options.folds} folds, each of them the test set once"
        if options.folds is not None
        else f"Test fraction {options.test_fraction:g}"
    )
    promise = {
        "image": "no image of the test set is in a training set",
        "participant": "nobody of the test set is in a training set, while the images are the same",
        "both": "no image and nobody of the test set is in a training set",
    }[options.split]
    names = {"image": "image", "participant": "participant", "both": "image and participant"}
    parts = [
        f"The split is by {names[options.split]}: {promise}. {how}, seed {options.seed}; "
        "`splits.json` says who is where."
    ]
    if options.split == "both":
        left = ", ".join(
            filter(None, (f"{split.name} {len(built.neither[split.name])}".strip() for split in built.splits))
        )
        parts.append(f"Samples in neither, of a test image by a training participant or the reverse: {left}.")
    if built.originals:
        count = len(set(built.originals.values()))
        parts.append(
            f"{len(built.originals)} files hold {_count(count, 'picture')} between them; copies are on one side."
        )
    where = "test" if options.folds is not None else "training and test"
    return " ".join(parts) + f"\n\nImages (descriptions) of {where}, and people, in each category:"


def _rules_in_words(options: DatasetOptions) -> str:
    rules = options.rules
    words = [
        (rules.min_fixations > 0, f"at least {_count(rules.min_fixations, 'fixation')} of the speaker on the image"),
        (rules.min_on_image > 0, f"at least {rules.min_on_image:.0%} of the speaker's fixations on it"),
        (rules.min_looking_ms > 0, f"at least {rules.min_looking_ms:g} ms of looking"),
        (rules.max_one_fixation < 1, f"at most {rules.max_one_fixation:.1%} of a map's weight in one fixation"),
        (rules.min_spread > 0, f"fixations of a map that spread over at least {rules.min_spread:g} of the diagonal"),
        (rules.min_words > 0, f"at least {_count(rules.min_words, 'word')}"),
        (bool(rules.inaudible), f"no mark of inaudible speech (`{rules.inaudible}`)"),
        (bool(rules.incomplete), f"no end that breaks off (`{rules.incomplete}`)"),
    ]
    required = [text for is_on, text in words if is_on]
    return f"Required, in this order, the first that fails counts: {'; '.join(required) or 'nothing'}."


def _speech_and_people(built: BuiltDataset) -> str:
    options = built.options
    fields = [name for name in built.fields if name not in ("spoken", "removed")]
    cleaned = (
        "Fillers and restarts **were taken out** of the descriptions: the field `spoken` is the original, `removed` "
        "what is gone. Fillers: "
        + (f"those of {options.fillers.name}" if options.fillers else "the English list of llamafactory-gaze")
        if options.clean_speech
        else "Fillers and restarts were not taken out of the descriptions"
    )
    codes = (
        "Participants **are codes**: HMAC-SHA256 of their ids with a salt that is not in this folder. Rows are sorted "
        "by image and code, and the tables that have the ids are known neither by hash nor by row number: with the "
        "tables' order and hashes, ids could be guessed"
        if options.pseudonyms
        else "Participants stand under the ids of the tables, not under codes"
    )
    return (
        f"- {cleaned}.\n- {codes}.\n- Further fields of the rows: {', '.join(fields) or 'none'}.\n"
        "- No single fixations are in this folder."
    )


def _maps_in_words(built: BuiltDataset) -> str:
    if _is_of_gaze(built):
        return "maps of where people looked"
    return "maps that are **not, or not all, of an eye tracker** (see Maps)"


def _is_of_gaze(built: BuiltDataset) -> bool:
    """Whether no map says that it was made of something else."""
    maps = built.maps[0].maps
    return not (isinstance(maps, ReadyMaps) and maps.sources)


def _ready_maps(built: BuiltDataset) -> list[tuple[str, str]]:
    """(name, sha256) of maps that were taken as they are."""
    maps = built.maps[0].maps
    return sorted(maps.sha256.items()) if isinstance(maps, ReadyMaps) else []


def _tables(options: DatasetOptions) -> list[Path]:
    """Those whose hashes are given. Under codes none: ids could be guessed, and the guess checked by a hash."""
    if options.pseudonyms is not None:
        return []
    tables = (options.fixations, options.descriptions, options.participants_table)
    return [path for path in tables if path is not None]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _sizes(rows: Sequence[dict[str, Any]]) -> tuple[int, int, int]:
    """(rows, images, people)"""
    return len(rows), len({row["image_id"] for row in rows}), len({row["participant"] for row in rows})


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(" ".join(str(cell).replace("|", "\\|").split()) for cell in line) + " |" for line in lines
    )
