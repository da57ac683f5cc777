"""Which engine a run asks for, and its settings."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.normalize.engines.common import Engine
from llamafactory_gaze.normalize.engines.huggingface import HuggingFace
from llamafactory_gaze.normalize.engines.sglang import SGLang
from llamafactory_gaze.normalize.engines.vllm import Vllm


Backend = Literal["huggingface", "vllm", "sglang"]

# As LLaMA-Factory 0.9.5 asks for them.
_INSTALL = {"vllm": "pip install 'vllm>=0.4.3,<=0.11.0'", "sglang": "pip install 'sglang>=0.4.5'"}
_TOKEN_PIXELS = 28 * 28  # of an image, for one token of the prompt
_TEXT_TOKENS = 2048  # room for the prompt and a long description


def check_backend(backend: Backend) -> None:
    """Raises DataError, saying what to install, where a package is missing or of an untested version."""
    if backend in _INSTALL and find_spec(backend) is None:
        raise DataError(
            f"--backend {backend} needs the package {backend}, which is not installed here: {_INSTALL[backend]}, best "
            "in an environment of its own, since it brings its own torch; or leave --backend out, for Hugging Face."
        )
    if backend == "huggingface":  # the others live with what their own package needs
        from llamafactory_gaze.versions import check_versions

        try:
            check_versions()
        except RuntimeError as error:
            raise DataError(str(error)) from error


def load_engine(
    backend: Backend, model: Path, template: str, max_new_tokens: int, image_max_pixels: int, images: int
) -> Engine:
    """Load the frozen model into one of LLaMA-Factory's engines.

    Args:
        model: a folder.
        template: LLaMA-Factory's; a stock one, without gaze.
        max_new_tokens: at which an answer is cut off.
        image_max_pixels: a larger image is scaled down.
        images: how many stand in one question at most.

    Raises:
        DataError: LLaMA-Factory refuses the settings, or is not as we know it.
    """
    os.environ.setdefault("LLAMAFACTORY_VERBOSITY", "WARN")  # else it prints the whole configuration of the model
    from llamafactory.chat import ChatModel

    room = images * image_max_pixels // _TOKEN_PIXELS + _TEXT_TOKENS + max_new_tokens
    settings = {
        "model_name_or_path": str(model),
        "template": template,
        "infer_backend": backend,
        "image_max_pixels": image_max_pixels,
        "do_sample": False,
        "temperature": 0.0,
        "top_p": 1.0,
        "max_new_tokens": max_new_tokens,
        "vllm_maxlen": room,
        "sglang_maxlen": room,
    }
    try:
        chat = ChatModel(settings)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"LLaMA-Factory cannot load the model with {backend}: {reason}") from error
    if backend == "huggingface":
        return HuggingFace(chat.engine)
    if backend == "vllm":
        return Vllm(chat)
    return SGLang(chat.engine, max_new_tokens)
