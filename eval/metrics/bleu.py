"""BLEU-4 (Papineni et al., 2002) of single captions, through the package `sacrebleu`."""

from __future__ import annotations

from importlib.util import find_spec

from eval.errors import MetricUnavailableError
from eval.metrics.base import CaptionMetric, Scores, make_signature, package


class Bleu(CaptionMetric):
    """BLEU-4 per caption by sacrebleu, lower case, smoothed, and the plain mean of it over captions.

    BLEU was made for whole corpora: a caption without a common run of four words would get 0, so orders without a match
    are smoothed exponentially, and captions of fewer than four words count the orders that they have. This mean is not
    the corpus BLEU of the captioning literature. Several references are used together, as BLEU defines it.

    Raises:
        MetricUnavailableError: sacrebleu is not installed.
    """

    title = "sacrebleu, sentence level"
    names = ("bleu4",)

    def __init__(self) -> None:
        super().__init__()
        if find_spec("sacrebleu") is None:
            raise MetricUnavailableError("sacrebleu is not installed: `pip install 'llamafactory-gaze[captioning]'`.")

    def _score(self, predictions: list[str], references: list[list[str]]) -> Scores:
        from sacrebleu.metrics import BLEU

        bleu = BLEU(lowercase=True, tokenize="13a", smooth_method="exp", effective_order=True)
        return {
            "bleu4": [
                bleu.sentence_score(text, several).score / 100
                for text, several in zip(predictions, references, strict=True)
            ]
        }

    @property
    def signature(self) -> str:
        return make_signature(
            impl=package("sacrebleu"), level="sentence", case="lc", tok="13a", smooth="exp", eff="yes", avg="mean"
        )
