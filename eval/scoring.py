"""Every metric for every system, in one pass: a metric starts once (Java, WordNet, encoder) and sees each text once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from eval.errors import MetricUnavailableError
from eval.metrics import LABELS
from eval.metrics.base import CaptionMetric
from eval.predictions import Joined


@dataclass(frozen=True)
class Column:
    """One metric's scores for all systems.

    Attributes:
        scores: for each system an array (rows,) of scores in [0, 1]; None if the metric could not run.
        implementation, signature, notes: what the numbers are (see `CaptionMetric`).
        reason: why there are no scores, or why they are those of the second choice; else None.
    """

    scores: dict[str, np.ndarray] | None
    implementation: str | None = None
    signature: str | None = None
    notes: str | None = None
    reason: str | None = None


def score_all(
    joined: Joined, cs_model: Path | None = None, started: Callable[[str], None] = lambda name: None
) -> dict[str, Column]:
    """Score all captions with all metrics of the paper.

    Args:
        cs_model: folder of the sentence-transformers model for CS; None for the embedded MiniLM.
        started: called with the name of each step as it begins.

    Returns:
        columns in the order of `LABELS`. `meteor` is the Java program where it runs, else NLTK's, and says which;
        `meteor_nltk` is there only as a second opinion, beside the Java one.
    """
    from eval.metrics import JavaMeteor, NltkMeteor, Rouge, TokenCosine

    started("ROUGE")
    columns = _score(joined, Rouge, ["rouge1", "rouge2", "rougeL"])
    started("METEOR (NLTK)")
    nltk = _score(joined, NltkMeteor, ["meteor_nltk"])["meteor_nltk"]
    started("METEOR (Java)")
    java = _score(joined, JavaMeteor, ["meteor"])["meteor"]
    started("CS (sentence encoder)")
    columns |= _score(joined, lambda: TokenCosine(cs_model), ["cs_precision", "cs_recall", "cs_f1"])

    if java.scores is not None:
        columns |= {"meteor": java, "meteor_nltk": nltk}
    elif nltk.scores is not None:
        columns["meteor"] = replace(nltk, reason=f"Java METEOR cannot run: {java.reason}")
    else:
        columns["meteor"] = Column(None, reason=f"Java METEOR cannot run: {java.reason} NLTK's neither: {nltk.reason}")
    return {name: columns[name] for name in LABELS if name in columns}


def _score(joined: Joined, make: Callable[[], CaptionMetric], names: list[str]) -> dict[str, Column]:
    references = [row.target for row in joined.rows]
    try:
        metric = make()
        scores = metric.score(
            [caption for captions in joined.captions.values() for caption in captions],
            references * len(joined.captions),
        )
        about = (metric.title, metric.signature, metric.notes)
    except MetricUnavailableError as error:
        return {name: Column(None, reason=str(error)) for name in names}
    return {
        name: Column(
            dict(zip(joined.captions, np.split(np.array(scores[name]), len(joined.captions)), strict=True)), *about
        )
        for name in names
    }
