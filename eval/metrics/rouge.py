"""ROUGE-1, ROUGE-2 and ROUGE-L (Lin, 2004) through Google's package `rouge-score`."""

from __future__ import annotations

from functools import cache, partial
from types import SimpleNamespace

from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenize import tokenize

from eval.metrics.base import PairMetric, Scores, make_signature, package
from eval.metrics.porter import Stemmer


class Rouge(PairMetric):
    """Overlap of single words, word pairs and the longest common subsequence, as F-measure, after Porter stemming.

    Stemming is on because it brings the scores closer to human judgements of captions. Only the letters a to z and
    digits are kept. The paper does not name its implementation.
    """

    title = "rouge-score, F-measure, stemmed"
    names = ("rouge1", "rouge2", "rougeL")

    def score_pairs(self, pairs: list[tuple[str, str]]) -> Scores:
        """Scores `rouge1`, `rouge2` and `rougeL`; see `PairMetric.score_pairs`."""
        # The package's own tokenizer, but each text and each word once: a caption stands in dozens of pairs.
        words = SimpleNamespace(tokenize=cache(partial(tokenize, stemmer=Stemmer)))
        scorer = RougeScorer(list(self.names), tokenizer=words)
        found = [scorer.score(reference, text) for text, reference in pairs]
        return {name: [float(pair[name].fmeasure) for pair in found] for name in self.names}

    @property
    def signature(self) -> str:
        return make_signature(impl=package("rouge-score"), tok="a-z0-9", stem="porter", stat="fmeasure", avg="mean")
