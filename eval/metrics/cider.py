"""CIDEr-D (Vedantam et al., 2015) through pycocoevalcap, on PTB tokens as COCO computes it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property

from eval.errors import MetricUnavailableError
from eval.metrics import ptb
from eval.metrics.base import CaptionMetric, Scores, make_signature, package


class Cider(CaptionMetric):
    """CIDEr-D: cosine of TF-IDF weighted runs of one to four words, on pycocoevalcap's scale from 0 to 10.

    A run of words weighs less the more images have it in one of their human captions. These counts come from the test
    set itself, so levels of different test sets cannot be compared, and a small test set makes coarse weights. CIDEr is
    meant for several references per image, five and more: with the participant's own caption alone it is defined, but
    a weak measure.

    Args:
        documents: for each image of the test set, its human captions. None takes the references of each call, one
            document per caption, as pycocoevalcap does.

    Raises:
        MetricUnavailableError: no pycocoevalcap or no Java; fewer than two documents, which make every weight 0.
    """

    title = "CIDEr-D, PTB tokens"
    names = ("cider",)
    piece = 25_000  # each may start the tokenizer

    def __init__(self, documents: Sequence[Sequence[str]] | None = None) -> None:
        super().__init__()
        ptb.pycocoevalcap_home()
        ptb.find_java()
        self.documents = documents
        if documents is not None and len(documents) < 2:
            raise MetricUnavailableError("CIDEr weighs words by how many images have them and needs at least two.")

    def _score(self, predictions: list[str], references: list[list[str]]) -> Scores:
        from pycocoevalcap.cider.cider_scorer import CiderScorer, cook_refs, cook_test

        tokens = _tokens(predictions, *references)
        scorer = CiderScorer()
        scorer.document_frequency = _frequencies(references) if self.documents is None else self._frequencies
        # The scorer takes the number of its references for that of the documents: so many captions at a time.
        size = len(references if self.documents is None else self.documents)
        scores: list[float] = []
        for start in range(0, len(predictions), size):
            several = references[start : start + size]
            scorer.ctest = [cook_test(tokens[text]) for text in predictions[start : start + size]]
            scorer.crefs = [cook_refs([tokens[text] for text in some]) for some in several]
            scorer.crefs += [[]] * (size - len(several))
            scores += map(float, scorer.compute_cider())
        return {"cider": scores}

    @cached_property
    def _frequencies(self) -> Counter[tuple[str, ...]]:
        return _frequencies(self.documents or ())

    @property
    def signature(self) -> str:
        df = "references"
        if self.documents is not None:
            digest = hashlib.sha256(json.dumps([list(some) for some in self.documents]).encode()).hexdigest()
            df = f"testset-{len(self.documents)}images-sha256-{digest[:12]}"
        return make_signature(
            impl=package("pycocoevalcap"), variant="cider-d", tok=ptb.TOKENIZER, n=4, sigma=6, df=df, avg="mean"
        )


def _frequencies(documents: Sequence[Sequence[str]]) -> Counter[tuple[str, ...]]:
    """In how many of the documents each run of words stands; 0 for unknown ones, which asking for does not add."""
    from pycocoevalcap.cider.cider_scorer import CiderScorer, cook_refs

    tokens = _tokens(*documents)
    scorer = CiderScorer()
    scorer.document_frequency = Counter()
    for several in documents:  # one at a time: the runs of words of all of them would fill the memory
        scorer.crefs = [cook_refs([tokens[text] for text in several])]
        scorer.compute_doc_freq()
    return scorer.document_frequency


def _tokens(*texts: Iterable[str]) -> dict[str, str]:
    different = list(dict.fromkeys(text for some in texts for text in some))
    return dict(zip(different, ptb.tokenize(different), strict=True))
