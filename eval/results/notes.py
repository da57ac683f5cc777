"""What a reader must know before believing the figures, one sentence each."""

from __future__ import annotations

import numpy as np

from eval.metrics import LABELS
from eval.results.contrasts import Entry, Study
from eval.statistics.permutation import smallest_flip_p


FEW_CLUSTERS = 18  # 2 / 2^18 is the first exact sign-flip p below the paper's 1e-5


def notes(study: Study, human: dict[str, Entry], subgroups: dict[str, dict[str, np.ndarray]]) -> list[str]:
    """All notes on a comparison.

    Args:
        human: see `Study.human`.
        subgroups: for each column of the subgroup reports its groups.
    """
    return [
        *_metrics(study, human),
        *_predictions(study),
        *_clusters(study),
        *(text for column, groups in subgroups.items() for text in _subgroups(study, column, groups)),
    ]


def _metrics(study: Study, human: dict[str, Entry]) -> list[str]:
    found = []
    for name, column in study.columns.items():
        if column.reason is not None:
            missing = "is missing" if column.scores is None else "is NLTK's"
            found.append(f"{LABELS[name]} {missing}: {column.reason}")
    for name in ("attended_recall", "unattended_rate"):
        scored = study.columns[name].human if name in study.columns else None
        if scored is not None and (left_out := int(np.isnan(scored).sum())):
            found.append(f"{left_out} rows name no such objects and are left out of {LABELS[name]}.")
    if any(study.columns[name].scores and people["reason"] for name, people in human.items()):
        found.append("There is no human ceiling: no image has captions of two people to be scored against each other.")
    return found


def _predictions(study: Study) -> list[str]:
    joined, found = study.joined, []
    for name, counts in joined.counts.items():
        if counts.missing:
            found.append(f"{name} has no prediction for {counts.missing} of {joined.n_dataset} rows.")
        if counts.doubled:
            found.append(
                f"{name} has {counts.doubled} more predictions than one per row; the first of a row counts "
                f"({counts.differing} of the others say something else)."
            )
    if left_out := joined.n_dataset - len(joined.rows):
        found.append(
            f"{left_out} of {joined.n_dataset} rows are left out for all systems, as some have no prediction for "
            "them: the figures are about the other rows, which may be easier or harder."
        )
    for name, captions in joined.captions.items():
        if empty := captions.count(""):
            found.append(f"{empty} of {len(captions)} captions of {name} are empty; each scores 0.")
    return found


def _clusters(study: Study) -> list[str]:
    rows, categories, found = study.joined.rows, study.categories(), []
    if study.unknown_participants:
        one_way = ", so p values are clustered one way, by image" if len(set(study.images)) > 1 else ""
        found.append(
            f"{study.unknown_participants} of {len(rows)} rows name no participant{one_way}; that captions of one "
            "person are alike is not accounted for."
        )
    uncategorised = sum(row.category is None for row in rows)
    if categories and uncategorised:
        found.append(f"{uncategorised} rows name no category and stand in no row of table 2.")
    found += _few(study, "the data", study.everything)
    if categories:
        fewest = min(categories, key=lambda name: study.clusters(categories[name])[0])
        found += _few(study, f"category {fewest} (the smallest)", categories[fewest])
    return found


def _subgroups(study: Study, column: str, groups: dict[str, np.ndarray]) -> list[str]:
    found = []
    if missing := len(study.joined.rows) - sum(int(where.sum()) for where in groups.values()):
        found.append(f"{missing} rows name no {column} and stand in no row of its table.")
    fewest = min(groups, key=lambda name: study.clusters(groups[name])[0])
    return found + _few(study, f"{column} {fewest} (the smallest group)", groups[fewest])


def _few(study: Study, what: str, where: np.ndarray) -> list[str]:
    """A note if the rows have too few images or participants for a claim."""
    count, unit = study.clusters(where)
    if count >= FEW_CLUSTERS:
        return []
    return [
        f"There are only {count} {unit} in {what}, too few for a strong claim: an exact sign-flip test over them "
        f"could not go below p = {smallest_flip_p(count):.2g}, so smaller p values rest on the t distribution."
    ]
