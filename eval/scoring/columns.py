"""Every metric for every system and for people, in pieces of some rows.

The captions of one image are scored one after the other, as they share references and words, which the metrics remember
for a while. The scores of a piece go into the cache at once: a run that was killed goes on where it was.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

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
        progress: is told the name of each step, and how many of the rows are done.

    Returns:
        columns in the order of `LABELS`. `meteor` is the Java program where it runs, else NLTK's, and says which;
        `meteor_nltk` is there only as a second opinion, beside the Java one. The columns of objects are there if the
        data set names objects, the rescaled ones if they are asked for.
    """
    from eval.metrics import Bleu, Cider, JavaMeteor, NltkMeteor, Rouge

    run = _Run(joined, references, cache or ScoreCache(None), progress)
    columns = run.columns("ROUGE", (Rouge, ["rouge1", "rouge2", "rougeL"]))
    nltk = run.columns("METEOR (NLTK)", (NltkMeteor, ["meteor_nltk"]))["meteor_nltk"]
    java = run.columns("METEOR (Java)", (JavaMeteor, ["meteor"]))["meteor"]
    columns |= run.columns("BLEU", (Bleu, ["bleu4"]))
    columns |= run.columns("CIDEr", (lambda: Cider(references.documents), ["cider"]))
    columns |= _cosine(run, cosine or CosineOptions())
    columns |= _objects(run)

    if java.scores is not None:
        columns |= {"meteor": java, "meteor_nltk": nltk}
    elif nltk.scores is not None:
        columns["meteor"] = replace(nltk, reason=f"Java METEOR cannot run: {java.reason}")
    else:
        columns["meteor"] = Column(None, reason=f"Java METEOR cannot run: {java.reason} NLTK's neither: {nltk.reason}")
    return {name: columns[name] for name in LABELS if name in columns}


Maker = tuple[Callable[[], CaptionMetric], Sequence[str]]  # makes a metric; its scores that become columns
ItemsOf = Callable[[int], list[list[Item]]]  # from the number of a row to its items, by system and last for people


class _Run:
    """The captions to be scored, and the scores of earlier runs."""

    def __init__(self, joined: Joined, references: References, cache: ScoreCache, progress: Progress) -> None:
        self.rows, self.captions = joined.rows, joined.captions
        self.references, self.cache, self.progress = references, cache, progress
        self.order = sorted(range(len(self.rows)), key=lambda i: self.rows[i].image_id)

    def columns(self, step: str, *makers: Maker) -> dict[str, Column]:
        """The columns of metrics against the rows' references. Several metrics take turns, piece by piece."""
        tables = [_Table(make, {name: name for name in names}, self.references.tag) for make, names in makers]
        return self._fill(step, tables, self._against_references)

    def named(
        self, make: Callable[[], CaptionMetric], column: str, objects: Callable[[Row], tuple[str, ...]]
    ) -> Column:
        """A column of `NamedObjects`; the human score is that of the row's own caption."""

        def items_of(i: int) -> list[list[Item]]:
            names = objects(self.rows[i])
            texts = (*(captions[i] for captions in self.captions.values()), self.rows[i].target)
            return [[(text, names)] if names else [] for text in texts]

        return self._fill("Objects named", [_Table(make, {column: "named"}, "refs:objects")], items_of)[column]

    def scores(self, metric: CaptionMetric, signature: str, items: Sequence[Item]) -> dict[Item, dict[str, float]]:
        """The scores of items; equal ones, and those that are known from earlier runs, are not computed."""
        wanted = list(dict.fromkeys(items))
        found = self.cache.get(signature, wanted)
        fresh = [item for item in wanted if item not in found]
        if fresh:
            values = metric.score([text for text, _ in fresh], [list(references) for _, references in fresh])
            new = {item: {name: float(of[i]) for name, of in values.items()} for i, item in enumerate(fresh)}
            self.cache.add(signature, new)
            found |= new
        return found

    def _against_references(self, i: int) -> list[list[Item]]:
        row = self.rows[i]
        references = self.references.of(row)
        return [*([(captions[i], references)] for captions in self.captions.values()), self.references.human(row)]

    def _fill(self, step: str, tables: Sequence[_Table], items_of: ItemsOf) -> dict[str, Column]:
        """The columns of metrics; a row's score is the mean over its items."""
        shape = (len(self.captions) + 1, len(self.rows))
        values = {name: np.full(shape, np.nan) for table in tables for name in table.names}
        done = 0
        self.progress(step, done, len(self.rows))
        for piece in self._pieces(items_of, min(table.piece for table in tables)):
            items = [item for row in piece.values() for some in row for item in some]
            for table in tables:
                if table.metric is None:
                    continue
                try:
                    found = self.scores(table.metric, table.signature, items)
                except MetricUnavailableError as error:
                    table.metric, table.reason = None, str(error)
                    continue
                for i, row in piece.items():
                    for column, name in table.names.items():
                        for who, some in enumerate(row):
                            if some:
                                values[column][who, i] = np.mean([found[item][name] for item in some])
            done += len(piece)
            self.progress(step, done, len(self.rows))
        return {
            name: table.column(dict(zip(self.captions, values[name], strict=False)), values[name][-1])
            for table in tables
            for name in table.names
        }

    def _pieces(self, items_of: ItemsOf, size: int) -> Iterator[dict[int, list[list[Item]]]]:
        """The items of all rows by the row's number, in pieces of about `size` pairs of a caption and a reference."""
        piece: dict[int, list[list[Item]]] = {}
        pairs = 0
        for i in self.order:
            piece[i] = items_of(i)
            pairs += sum(len(references) for some in piece[i] for _, references in some)
            if pairs >= size:
                yield piece
                piece, pairs = {}, 0
        if piece:
            yield piece


class _Table:
    """A metric whose columns (name -> the metric's name for it) are being filled; None where it cannot run."""

    def __init__(self, make: Callable[[], CaptionMetric], names: dict[str, str], tag: str) -> None:
        self.names, self.tag = names, tag
        self.metric: CaptionMetric | None = None
        self.reason: str | None = None
        try:
            metric = make()
            self.signature, self.piece = metric.signature, metric.piece  # hashes the files of a model: once
            self.metric = metric
        except MetricUnavailableError as error:
            self.reason, self.piece = str(error), CaptionMetric.piece

    def column(self, scores: dict[str, np.ndarray], human: np.ndarray) -> Column:
        if self.metric is None:
            return Column(None, reason=self.reason)
        return Column(
            scores,
            human,
            implementation=self.metric.title,
            signature=f"{self.signature}|{self.tag}",
            notes=self.metric.notes,
        )


def _cosine(run: _Run, options: CosineOptions) -> dict[str, Column]:
    from eval.metrics import SentenceCosine, TokenCosine
    from eval.metrics.encoder import Encoder
    from eval.metrics.models import find_model

    names = [f"cs_{part}" for part in ("precision", "recall", "f1")]
    try:
        model = options.model or find_model()
        idf_texts = [row.target for row in run.rows] if options.idf else None
        encoder = Encoder(model, prefix_space=True)
        metric = TokenCosine(model, idf_texts, encoder)
    except MetricUnavailableError as error:
        return {name: Column(None, reason=str(error)) for name in (*names, "cs_sentence")}
    # Tokens and sentences come from one pass, unless the layer or the first word's space makes them differ.
    shared = encoder if model.layer is None and model.config.get("model_type") != "roberta" else None
    columns = run.columns(
        "CS (sentence encoder)",
        (lambda: metric, names),
        (lambda: SentenceCosine(replace(model, layer=None), shared), ["cs_sentence"]),
    )
    if options.rescale is not None and columns["cs_f1"].scores is not None:
        columns |= _rescaled(run, metric, columns, options.rescale)
    return columns


def _rescaled(run: _Run, metric: CaptionMetric, columns: dict[str, Column], baseline: float | str) -> dict[str, Column]:
    """The columns (x - b) / (1 - b); an empty caption's 0 becomes negative, as in bert-score."""
    rows, rng = run.rows, random.Random(0)
    if baseline == "random":
        if len({row.image_id for row in rows}) < 2:
            reason = "a baseline of random pairs needs captions of two images at least."
            return {f"{name}_rescaled": Column(None, reason=reason) for name in metric.names}
        pairs: list[Item] = []
        while len(pairs) < RANDOM_PAIRS:
            one, other = rng.choice(rows), rng.choice(rows)
            if one.image_id != other.image_id:
                pairs.append((one.target, (other.target,)))
        found = run.scores(metric, metric.signature, pairs)
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
        if any(objects(row) for row in run.rows)
    }
