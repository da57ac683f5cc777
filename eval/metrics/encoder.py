"""Texts to embeddings, each different text once, for the metrics of `cosine`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from eval.errors import MetricUnavailableError
from eval.metrics.models import CosineModel
from eval.metrics.recent import Recent


if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer


MEMORY = 2**26  # numbers in the embeddings that are kept, 256 MiB: some 5,000 captions of MiniLM's


@dataclass(frozen=True)
class Embedded:
    """One text.

    Attributes:
        ids: (tokens,) numbers of its tokens, one special token at either end.
        tokens: (tokens, width) unit vectors. sentence: (width,) unit vector.
    """

    ids: list[int]
    tokens: torch.Tensor
    sentence: torch.Tensor


class Encoder:
    """A model on the CPU, started at the first text, that remembers what it has lately encoded, up to `MEMORY`.

    Args:
        model: a model whose tokenizer puts one special token before the text and one after it (BERT, RoBERTa, MPNet).
        prefix_space: whether a byte-level tokenizer treats the first word as one within a text, as bert-score asks
            for it (under transformers 5 its request is ignored, and its RoBERTa scores differ from its published ones).
    """

    def __init__(self, model: CosineModel, prefix_space: bool = False) -> None:
        self.model, self.prefix_space = model, prefix_space
        self._recent: Recent[Embedded] = Recent(MEMORY, size=lambda one: one.tokens.numel())

    def embed(self, texts: Iterable[str]) -> dict[str, Embedded]:
        """Embed texts; equal ones are encoded once, also over several calls unless much else came in between.

        Raises:
            MetricUnavailableError: a model with other special tokens.
        """
        return self._recent.get(texts, self._embed)

    def token_ids(self, texts: Iterable[str]) -> list[list[int]]:
        """The numbers of the tokens of each text, cut where the model cuts, without running the model."""
        tokenizer, limit = self._encoder.tokenizer, self._encoder.max_seq_length
        return [tokenizer(text.strip(), truncation=True, max_length=limit)["input_ids"] for text in texts]

    def _embed(self, texts: list[str]) -> Iterator[Embedded]:
        from torch.nn.functional import normalize

        features: Any = self._encoder.encode(
            [text.strip() for text in texts], output_value=None, batch_size=64, show_progress_bar=False
        )
        for one in features:
            real = one["attention_mask"].bool()  # the rest is padding
            yield Embedded(
                one["input_ids"][real].tolist(),
                tokens=normalize(one["token_embeddings"][real], dim=-1),
                sentence=normalize(one["sentence_embedding"], dim=-1),
            )

    @cached_property
    def _encoder(self) -> SentenceTransformer:
        from sentence_transformers import SentenceTransformer
        from torch.nn import ModuleList

        path, layer = self.model.path, self.model.layer
        with _quiet_transformers():
            try:
                encoder = SentenceTransformer(
                    str(path), device="cpu", local_files_only=True, model_kwargs={"use_safetensors": True}
                )
            except OSError as error:
                reason = str(error).strip().partition("\n")[0]
                raise MetricUnavailableError(
                    f"the model in {path} cannot be loaded; expected weights as safetensors ({reason})"
                ) from error
        pre_tokenizer = encoder.tokenizer.backend_tokenizer.pre_tokenizer
        if self.prefix_space and hasattr(pre_tokenizer, "add_prefix_space"):
            pre_tokenizer.add_prefix_space = True
        frame, special = encoder.tokenizer("")["input_ids"], encoder.tokenizer.all_special_ids
        if len(frame) != 2 or not set(frame) <= set(special):
            raise MetricUnavailableError(
                f"the tokenizer of {path} does not put exactly one special token before a text and one after it: "
                "choose a model of the BERT, RoBERTa or MPNet kind."
            )
        if layer is not None:
            stack: Any = getattr(encoder[0].auto_model, "encoder", None)
            if not isinstance(getattr(stack, "layer", None), ModuleList):
                raise MetricUnavailableError(
                    f"a layer cannot be chosen in {path}: choose a model of the BERT, RoBERTa or MPNet kind."
                )
            stack.layer = stack.layer[:layer]
        return encoder


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
