"""The SGLang server that LLaMA-Factory's engine starts, asked with images.

LLaMA-Factory 0.9.5 makes the prompt with the image's place in it, but its request leaves the image itself out, and its
`chat` takes every answer for one that was cut off, since SGLang gives the reason as an object. So the server, the
tokenizer and the template are the engine's, and the request is made here: SGLang's own `/generate`, with `image_data`.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.normalize.engines.common import Question, expect, in_threads, versions
from llamafactory_gaze.normalize.journal import Answer


class SGLang:
    """LLaMA-Factory's SGLangEngine, whose server has been started."""

    def __init__(self, engine: Any, max_new_tokens: int) -> None:
        expect(engine, ("base_url", "tokenizer", "template", "processor", "model_args"))
        self.engine = engine
        self.sampling = {
            "temperature": 0.0,
            "max_new_tokens": max_new_tokens,
            "stop_token_ids": engine.template.get_stop_token_ids(engine.tokenizer),
            "skip_special_tokens": True,
        }

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        return in_threads(self._ask, questions)

    def _ask(self, question: Question) -> Answer:
        import requests

        text, images = self._prompt(question)
        request: dict[str, Any] = {"text": text, "image_data": images, "sampling_params": self.sampling}
        response = requests.post(f"{self.engine.base_url}/generate", json=request, timeout=600)
        if response.status_code != 200:
            raise DataError(f"The SGLang server refused a question ({response.status_code}: {response.text[:300]}).")
        said = response.json()
        about = said["meta_info"]
        complete = about["finish_reason"]["type"] == "stop"
        return Answer(said["text"].strip(), complete, about["completion_tokens"])

    def _prompt(self, question: Question) -> tuple[str, list[str]]:
        """The text in the model's template, with one mark for each image, and the images as data URLs."""
        engine = self.engine
        plugin = engine.template.mm_plugin
        try:
            images = plugin._regularize_images(
                question.paths,
                image_max_pixels=engine.model_args.image_max_pixels,
                image_min_pixels=engine.model_args.image_min_pixels,
            )["images"]
        except OSError as error:
            raise DataError(f"The image {question.paths[0]} cannot be read ({error}).") from error
        messages = plugin.process_messages(question.messages, images, [], [], engine.processor)
        tokens, _ = engine.template.encode_oneturn(engine.tokenizer, [*messages, {"role": "assistant", "content": ""}])
        return engine.tokenizer.decode(tokens), [_data_url(image) for image in images]

    def runtime(self) -> dict[str, str]:
        return versions("sglang")


def _data_url(image: Any) -> str:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
