"""LLaMA-Factory's inference engines, asked in batches: Hugging Face, vLLM, SGLang.

Hugging Face: LLaMA-Factory 0.9.5 answers one question at a time, in MAX_CONCURRENT threads at best. Its `chat` also
hands no `mm_token_type_ids` to the model; transformers 5 then gives the image's tokens plain 1-D positions in place of
the 3-D ones that Qwen2.5-VL was trained with. So the engine loads the model, and makes the inputs of each question (its
template, image processing and settings); here they are padded to one batch, get those types, and are generated
together. With the demo's tiny model, 24 pictures, one core: `chat` names all things right in 16 pictures, in 0.67 s one
by one and 0.96 s in 8 threads; in batches of 8, 24 pictures in 0.28 s.

vLLM makes its own batches of the requests that are open at the same time, and its own positions: `chat` is called from
one thread per question. SGLang: see `sglang.py`.

Answers are greedy: the same batch, machine and versions give the same text.
"""

from __future__ import annotations

import inspect
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.normalize.journal import Answer


Backend = Literal["huggingface", "vllm", "sglang"]

# As LLaMA-Factory 0.9.5 asks for them.
_INSTALL = {"vllm": "pip install 'vllm>=0.4.3,<=0.11.0'", "sglang": "pip install 'sglang>=0.4.5'"}
_TOKEN_PIXELS = 28 * 28  # of an image, for one token of the prompt
_TEXT_TOKENS = 2048  # room for the prompt and a long description


@dataclass(frozen=True)
class Question:
    """One image, or several, and a prompt about them."""

    prompt: str
    images: tuple[Path, ...]

    @property
    def messages(self) -> list[dict[str, str]]:
        """In LLaMA-Factory's form; a new list, since its engines write into it."""
        return [{"role": "user", "content": "<image>" * len(self.images) + self.prompt}]

    @property
    def paths(self) -> list[str]:
        return [str(path) for path in self.images]


class Engine(Protocol):
    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """One answer to each question, in their order."""

    def runtime(self) -> dict[str, str]:
        """What of the machine and of the packages the answers depend on."""


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
        return _HuggingFace(chat.engine)
    if backend == "vllm":
        return _Vllm(chat)
    from llamafactory_gaze.normalize.sglang import SGLang

    return SGLang(chat.engine, max_new_tokens)


def versions(*packages: str) -> dict[str, str]:
    """The versions of all packages that the answers depend on."""
    found = {}
    for package in ("llamafactory-gaze", "llamafactory", "transformers", "torch", "pillow", *packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return {**found, "python": platform.python_version()}


def expect(engine: Any, attributes: Iterable[str]) -> None:
    """Raises DataError unless an engine of LLaMA-Factory has the attributes that we use."""
    missing = [name for name in attributes if not hasattr(engine, name)]
    if missing:
        raise _unknown(f"{type(engine).__name__}.{missing[0]}")


def _unknown(what: str) -> DataError:
    return DataError(
        f"llamafactory-gaze normalize expects {what} in LLaMA-Factory, as in version 0.9.5; version "
        f"{version('llamafactory')} does not have it. Install llamafactory==0.9.5."
    )


def in_threads(ask: Callable[[Question], Answer], questions: Sequence[Question]) -> list[Answer]:
    """All questions at the same time: a server makes its own batches of them."""
    with ThreadPoolExecutor(len(questions)) as pool:
        return list(pool.map(ask, questions))


class _HuggingFace:
    """LLaMA-Factory's HuggingfaceEngine, with several questions in one call of `generate`."""

    _ARGUMENTS = ("messages", "system", "tools", "images", "videos", "audios", "input_kwargs")
    _STATE = ("model", "tokenizer", "processor", "template", "generating_args")
    _INPUTS = frozenset({"inputs", "attention_mask", "generation_config", "pixel_values", "image_grid_thw"})

    def __init__(self, engine: Any) -> None:
        expect(engine, ("_process_args", *self._STATE))
        known = tuple(inspect.signature(engine._process_args).parameters)
        if known != (*self._STATE, *self._ARGUMENTS):
            raise _unknown(f"HuggingfaceEngine._process_args({', '.join((*self._STATE, *self._ARGUMENTS))})")
        self.engine = engine

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        import torch

        model, tokenizer = self.engine.model, self.engine.tokenizer
        rows = [self._inputs(question) for question in questions]
        length = max(row["inputs"].shape[1] for row in rows)
        tokens = torch.full((len(rows), length), tokenizer.pad_token_id, device=model.device)
        mask = torch.zeros_like(tokens)
        for i, row in enumerate(rows):
            own = row["inputs"].shape[1]
            tokens[i, length - own :] = row["inputs"][0]
            mask[i, length - own :] = 1
        generation = rows[0]["generation_config"]
        try:
            with torch.inference_mode():
                generated = model.generate(
                    inputs=tokens,
                    attention_mask=mask,
                    pixel_values=torch.cat([row["pixel_values"] for row in rows]),
                    image_grid_thw=torch.cat([row["image_grid_thw"] for row in rows]),
                    mm_token_type_ids=(tokens == model.config.image_token_id).long(),
                    generation_config=generation,
                )[:, length:].cpu()
        except torch.OutOfMemoryError as error:
            raise DataError(
                f"The device's memory does not hold {len(rows)} questions at once; call again with a smaller "
                "--batch-size, or --image-max-pixels. What has been answered is kept."
            ) from error
        ends = torch.isin(generated, torch.tensor(generation.eos_token_id))
        answers = []
        for said, end in zip(generated, ends, strict=True):
            complete = bool(end.any())
            spoken = said[: int(end.int().argmax()) + 1] if complete else said
            text = tokenizer.decode(spoken, skip_special_tokens=True).strip()
            answers.append(Answer(text, complete, len(spoken)))
        return answers

    def _inputs(self, question: Question) -> dict[str, Any]:
        state = [getattr(self.engine, name) for name in self._STATE]
        try:
            inputs, _ = self.engine._process_args(*state, question.messages, None, None, question.paths, None, None, {})
        except OSError as error:  # PIL's, for what it cannot decode
            raise DataError(f"The image {question.paths[0]} cannot be read ({error}).") from error
        if set(inputs) != self._INPUTS:
            raise _unknown(f"{', '.join(sorted(self._INPUTS))} as the result of HuggingfaceEngine._process_args")
        return inputs

    def runtime(self) -> dict[str, str]:
        import torch

        model = self.engine.model
        device = torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else model.device.type
        return {
            "device": device,
            "dtype": str(model.dtype).removeprefix("torch."),
            "attention": str(model.config._attn_implementation),
            **versions(),
        }


class _Vllm:
    """LLaMA-Factory's VllmEngine through its own, public ChatModel."""

    def __init__(self, chat: Any) -> None:
        self.chat = chat

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        return in_threads(self._ask, questions)

    def _ask(self, question: Question) -> Answer:
        (response,) = self.chat.chat(question.messages, images=question.paths)
        return Answer(response.response_text.strip(), response.finish_reason == "stop", response.response_length)

    def runtime(self) -> dict[str, str]:
        return versions("vllm")
