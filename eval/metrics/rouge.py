"""ROUGE-1, ROUGE-2 and ROUGE-L (Lin, 2004) through Google's package `rouge-score`."""

from __future__ import annotations

from collections.abc import Sequence

from rouge_score.rouge_scorer import RougeScorer

from eval.metrics.base import CaptionMetric, Scores, make_signature, package


class Rouge(CaptionMetric):
    """Overlap of single words, word pairs and the longest common subsequence, as F-measure, after Porter stemming.

    Stemming is on because it brings the scores closer to human judgements of captions. Only the letters a to z and
    digits are kept. The paper does not name its implementation.
    """

    title = "rouge-score, F-measure, stemmed"

    def score(self, predictions: Sequence[str], references: Sequence[str]) -> Scores:
        """Scores `rouge1`, `rouge2` and `rougeL`; see `CaptionMetric.score`."""
        names = ["rouge1", "rouge2", "rougeL"]
        scorer = RougeScorer(names, use_stemmer=True)
        pairs = [scorer.score(reference, text) for text, reference in zip(predictions, references, strict=True)]
        return {name: [float(pair[name].fmeasure) for pair in pairs] for name in names}

    @property
    def signature(self) -> str:
        return make_signature(impl=package("rouge-score"), tok="a-z0-9", stem="porter", stat="fmeasure", avg="mean")
