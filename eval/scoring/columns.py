"""Every metric for every system and for people, in one pass: a metric starts once and sees each text once."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from eval.errors import MetricUnavailableError
from eval.inputs.dataset import Row
from eval.inputs.joining import Joined
from eval.metrics import LABELS
from eval.metrics.base import CaptionMetric
from eval.metrics.models import CosineModel
from eval.progress import Progress, silent
from eval.scoring.cache import ScoreCache
from eval.scoring.references import Item, References


RANDOM_PAIRS = 1000  # of references of different images, whose mean is the baseline of rescaled CS


@dataclass(frozen=True)
class Column:
    """One metric's scores for all systems.

    Attributes:
        scores: for each system an array (rows,) of scores, NaN in rows that the metric leaves out; None if the metric
            could not run.
        human: (rows,) the mean scores of other people's captions of the image (or, of metrics that compare with no
            caption, the person's own caption's scores), NaN where there are none.
        implementation, signature, notes: what the numbers are (see `CaptionMetric`).
        reason: why there are no scores, or why they are those of the second choice; else None.
    """

    scores: dict[str, np.ndarray] | None
    human: np.ndarray | None = None
    implementation: str | None = None
    signature: str | None = None
    notes: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class CosineOptions:
    """How CS is computed.

    Attributes:
        model: the encoder; None for the embedded MiniLM.
        idf: whether tokens are weighed by how rare they are in the references.
        rescale: the baseline b of (x - b) / (1 - b), "random" for the mean of random pairs of references, None for no
            rescaled columns.
    """

    model: CosineModel | None = None
    idf: bool = False
    rescale: float | str | None = None


def score_all(
    joined: Joined,
    references: References,
    cosine: CosineOptions | None = None,
    cache: ScoreCache | None = None,
    progress: Progress = silent,
) -> dict[str, Column]:
    """Score all captions with all metrics.

    Args:
        cache: where scores of earlier runs are; None for none.
        progress: is told the name of each step.

    Returns:
        columns in the order of `LABELS`. `meteor` is the Java program where it runs, else NLTK's, and says which;
        `meteor_nltk` is there only as a second opinion, beside the Java one. The columns of objects are there if the
        data set names objects, the rescaled ones if they are asked for.
    """
    from eval.metrics import Bleu, Cider, JavaMeteor, NltkMeteor, Rouge

    run = _Run(joined, references, cache or ScoreCache(None))
    progress("ROUGE")
    columns = run.columns(Rouge, ["rouge1", "rouge2", "rougeL"])
    progress("METEOR (NLTK)")
    nltk = run.columns(NltkMeteor, ["meteor_nltk"])["meteor_nltk"]
    progress("METEOR (Java)")
    java = run.columns(JavaMeteor, ["meteor"])["meteor"]
    progress("BLEU and CIDEr")
    columns |= run.columns(Bleu, ["bleu4"])
    columns |= run.columns(lambda: Cider(references.documents), ["cider"])
    progress("CS (sentence encoder)")
    columns |= _cosine(run, cosine or CosineOptions())
    progress("Objects named")
    columns |= _objects(run)

    if java.scores is not None:
        columns |= {"meteor": java, "meteor_nltk": nltk}
    elif nltk.scores is not None:
        columns["meteor"] = replace(nltk, reason=f"Java METEOR cannot run: {java.reason}")
    else:
        columns["meteor"] = Column(None, reason=f"Java METEOR cannot run: {java.reason} NLTK's neither: {nltk.reason}")
    return {name: columns[name] for name in LABELS if name in columns}


class _Run:
    """The captions to be scored, and the scores of earlier runs."""

    def __init__(self, joined: Joined, references: References, cache: ScoreCache) -> None:
        self.joined, self.references, self.cache = joined, references, cache

    def columns(self, make: Callable[[], CaptionMetric], names: Sequence[str]) -> dict[str, Column]:
        """The columns of a metric against the rows' references."""
        rows, references = self.joined.rows, self.references
        systems = [
            [[(caption, references.of(row))] for caption, row in zip(captions, rows, strict=True)]
            for captions in self.joined.captions.values()
        ]
        return self._columns(make, {name: name for name in names}, systems, [references.human(row) for row in rows])

    def named(
        self, make: Callable[[], CaptionMetric], column: str, objects: Callable[[Row], tuple[str, ...]]
    ) -> Column:
        """A column of `NamedObjects`; the human score is that of the row's own caption."""
        rows = self.joined.rows
        everyone = [*self.joined.captions.values(), [row.target for row in rows]]
        *systems, human = [
            [[(caption, objects(row))] if objects(row) else [] for caption, row in zip(captions, rows, strict=True)]
            for captions in everyone
        ]
        return self._columns(make, {column: "named"}, systems, human)[column]

    def scores(self, metric: CaptionMetric, items: Sequence[Item]) -> dict[Item, dict[str, float]]:
        """The scores of items; equal ones, and those that are known from earlier runs, are not computed."""
        wanted = list(dict.fromkeys(items))
        found = self.cache.get(metric.signature, wanted)
        fresh = [item for item in wanted if item not in found]
        if fresh:
            values = metric.score([text for text, _ in fresh], [list(references) for _, references in fresh])
            new = {item: {name: float(of[i]) for name, of in values.items()} for i, item in enumerate(fresh)}
            self.cache.add(metric.signature, new)
            found |= new
        return found

    def _columns(
        self,
        make: Callable[[], CaptionMetric],
        names: dict[str, str],
        systems: list[list[list[Item]]],
        human: list[list[Item]],
    ) -> dict[str, Column]:
        """Columns (name -> the metric's name for it) of means over the items of each row."""
        try:
            metric = make()
            found = self.scores(metric, [item for rows in (*systems, human) for items in rows for item in items])
            tag = self.references.tag if "named" not in names.values() else "refs:objects"
            about: dict[str, Any] = {
                "implementation": metric.title,
                "signature": f"{metric.signature}|{tag}",
                "notes": metric.notes,
            }
        except MetricUnavailableError as error:
            return {name: Column(None, reason=str(error)) for name in names}

        def means(rows: list[list[Item]], name: str) -> np.ndarray:
            return np.array([np.mean([found[item][name] for item in items]) if items else np.nan for items in rows])

        return {
            column: Column(
                dict(zip(self.joined.captions, (means(rows, name) for rows in systems), strict=True)),
                means(human, name),
                **about,
            )
            for column, name in names.items()
        }


def _cosine(run: _Run, options: CosineOptions) -> dict[str, Column]:
    from eval.metrics import SentenceCosine, TokenCosine
    from eval.metrics.encoder import Encoder
    from eval.metrics.models import find_model

    names = [f"cs_{part}" for part in ("precision", "recall", "f1")]
    try:
        model = options.model or find_model()
        idf_texts = [row.target for row in run.joined.rows] if options.idf else None
        encoder = Encoder(model, prefix_space=True)
        metric = TokenCosine(model, idf_texts, encoder)
    except MetricUnavailableError as error:
        return {name: Column(None, reason=str(error)) for name in (*names, "cs_sentence")}
    columns = run.columns(lambda: metric, names)
    if options.rescale is not None and columns["cs_f1"].scores is not None:
        columns |= _rescaled(run, metric, columns, options.rescale)
    # Tokens and sentences come from one pass, unless the layer or the first word's space makes them differ.
    shared = encoder if model.layer is None and model.config.get("model_type") != "roberta" else None
    columns |= run.columns(lambda: SentenceCosine(replace(model, layer=None), shared), ["cs_sentence"])
    return columns


def _rescaled(run: _Run, metric: CaptionMetric, columns: dict[str, Column], baseline: float | str) -> dict[str, Column]:
    """The columns (x - b) / (1 - b); an empty caption's 0 becomes negative, as in bert-score."""
    rows, rng = run.joined.rows, random.Random(0)
    if baseline == "random":
        if len({row.image_id for row in rows}) < 2:
            reason = "a baseline of random pairs needs captions of two images at least."
            return {f"{name}_rescaled": Column(None, reason=reason) for name in metric.names}
        pairs: list[Item] = []
        while len(pairs) < RANDOM_PAIRS:
            one, other = rng.choice(rows), rng.choice(rows)
            if one.image_id != other.image_id:
                pairs.append((one.target, (other.target,)))
        found = run.scores(metric, pairs)
        levels = {name: float(np.mean([found[pair][name] for pair in pairs])) for name in metric.names}
        source = f"the mean of {RANDOM_PAIRS} random pairs of human captions of different images (seed 0)"
        tag = f"random{RANDOM_PAIRS},seed0"
    else:
        levels, source, tag = dict.fromkeys(metric.names, float(baseline)), "given", "given"

    def rescale(values: np.ndarray, name: str) -> np.ndarray:
        return (values - levels[name]) / (1 - levels[name])

    made = {}
    for name in metric.names:
        column = columns[name]
        assert column.scores is not None and column.human is not None and column.signature is not None
        level = f"{levels[name]:.6g}"
        made[f"{name}_rescaled"] = replace(
            column,
            scores={system: rescale(values, name) for system, values in column.scores.items()},
            human=rescale(column.human, name),
            implementation=f"{column.implementation}, rescaled",
            signature=column.signature.replace("rescale:no", f"rescale:{level}({tag})"),
            notes=f"{LABELS[name]} as (x - b) / (1 - b) with b = {level}, {source}. An empty caption scores below 0.",
        )
    return made


def _objects(run: _Run) -> dict[str, Column]:
    from eval.metrics import NamedObjects

    kinds: dict[str, Callable[[Row], tuple[str, ...]]] = {
        "attended_recall": lambda row: row.attended,
        "unattended_rate": lambda row: row.unattended if row.attended else (),
    }
    return {
        name: run.named(NamedObjects, name, objects)
        for name, objects in kinds.items()
        if any(objects(row) for row in run.joined.rows)
    }
