"""What every metric here has in common: scores per caption, and a signature that says how they were computed."""

from __future__ import annotations

import hashlib
import re
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

import datasets
import evaluate


Scores = dict[str, list[float]]


class CaptionMetric(evaluate.Metric):
    """A metric of one predicted caption against one reference caption.

    It is an ordinary `evaluate` metric: `metric.compute(predictions=[...], references=[...])` works, without the hub,
    but returns a list with one score per pair instead of an average, since statistics need the pairs. `score` is the
    same without the Arrow file that `compute` writes.

    Attributes:
        title: how the implementation is named to readers.
    """

    title: str

    @abstractmethod
    def score(self, predictions: Sequence[str], references: Sequence[str]) -> Scores:
        """Score pairs of texts.

        Args:
            predictions: the captions of a model.
            references: the human captions, in the same order.

        Returns:
            for each name of the metric one list of scores in [0, 1], as long as `predictions`. An empty caption gets 0.
        """

    @property
    @abstractmethod
    def signature(self) -> str:
        """Everything that the scores depend on, as `key:value|key:value`, after sacrebleu's manner."""

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
            inputs_description="predictions and references: two lists of texts of the same length.",
            features=datasets.Features({"predictions": text, "references": text}),
        )

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> Scores:
        return self.score(predictions, references)


def make_signature(**parts: object) -> str:
    """Join `key:value` parts; every signature ends with what the captions were compared with."""
    return "|".join(f"{key}:{value}" for key, value in {**parts, "refs": "own"}.items())


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
