"""What every metric here has in common: scores per caption, and a signature that says how they were computed."""

from __future__ import annotations

import hashlib
import re
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

import datasets
import evaluate


Scores = dict[str, list[float]]
References = Sequence[str] | Sequence[Sequence[str]]


class CaptionMetric(evaluate.Metric):
    """A metric of one predicted caption against one or several reference captions.

    It is an ordinary `evaluate` metric: `metric.compute(predictions=[...], references=[...])` works, without the hub,
    but returns a list with one score per caption instead of an average, since statistics need the pairs. `score` is
    the same without the Arrow file that `compute` writes.

    Attributes:
        title: how the implementation is named to readers.
        names: the scores that it gives.
        piece: about how many pairs of a caption and a reference a run gives it at a time. More are faster where a call
            starts a program; fewer lose less work when a run is killed, and need less memory.
    """

    title: str
    names: ClassVar[tuple[str, ...]]
    piece: ClassVar[int] = 2_500

    def score(self, predictions: Sequence[str], references: References) -> Scores:
        """Score captions.

        Args:
            predictions: the captions of a model.
            references: for each of them, in the same order, a human caption or a list of several.

        Returns:
            for each name of the metric one list of scores, as long as `predictions`, in [0, 1] unless the class says
            otherwise. An empty caption gets 0.
        """
        lists = [[texts] if isinstance(texts, str) else list(texts) for texts in references]
        if len(lists) != len(predictions):
            raise ValueError(f"{len(predictions)} predictions but {len(lists)} references")
        return self._score(list(predictions), lists)

    @abstractmethod
    def _score(self, predictions: list[str], references: list[list[str]]) -> Scores:
        """The work of `score`."""

    @property
    @abstractmethod
    def signature(self) -> str:
        """Everything that the scores depend on but the texts, as `key:value|key:value`, after sacrebleu's manner.

        It is known without starting Java, WordNet or an encoder.
        """

    @property
    def notes(self) -> str:
        """What the numbers are, for the report: the class's docstring down to its arguments."""
        text = re.split(r"\n\s*(?:Args|Raises):", self.__doc__ or "")[0]
        return " ".join(text.split())

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=self.__doc__ or "",
            citation="",
            inputs_description="predictions: a list of texts; references: as many texts, or as many lists of texts.",
            features=[
                datasets.Features({"predictions": text, "references": text}),
                datasets.Features({"predictions": text, "references": datasets.Sequence(text)}),
            ],
        )

    def _compute(self, predictions: Sequence[str], references: References) -> Scores:
        return self.score(predictions, references)


class PairMetric(CaptionMetric):
    """A metric of pairs of texts. Of several references the best one counts, for each of its scores by itself."""

    def _score(self, predictions: list[str], references: list[list[str]]) -> Scores:
        pairs = list(
            dict.fromkeys((text, one) for text, several in zip(predictions, references, strict=True) for one in several)
        )
        scores = self.score_pairs(pairs)
        result: Scores = {}
        for name in self.names:
            of_pair = dict(zip(pairs, scores[name], strict=True))
            result[name] = [
                max(of_pair[text, one] for one in several)
                for text, several in zip(predictions, references, strict=True)
            ]
        return result

    @abstractmethod
    def score_pairs(self, pairs: list[tuple[str, str]]) -> Scores:
        """Score pairs of a caption and a reference, all of them different."""


def make_signature(**parts: object) -> str:
    """Join `key:value` parts."""
    return "|".join(f"{key}:{value}" for key, value in parts.items())


def package(name: str) -> str:
    """A package with its version, as `name-1.2.3`."""
    return f"{name}-{version(name)}"


def fingerprint(files: Iterable[Path]) -> str:
    """The first 12 digits of the SHA-256 of some files, taken as one."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return f"sha256-{digest.hexdigest()[:12]}"
