"""vLLM makes its own batches of the requests that are open at the same time, and its own positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llamafactory_gaze.normalize.engines.common import Question, in_threads, versions
from llamafactory_gaze.normalize.journal import Answer


class Vllm:
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
