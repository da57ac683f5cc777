"""Captions word by word: each model answers its questions one after the other, different models at the same time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event, Thread
from time import sleep
from typing import Any

from transformers import BatchFeature, StoppingCriteria, StoppingCriteriaList, TextStreamer

from llamafactory_gaze.playground.models import Loaded


_PAUSE = 0.05  # seconds between two states: quicker than anybody reads, and a page far away is not flooded


@dataclass(frozen=True)
class Question:
    """What a model is to answer: `inputs` as `inference.gaze_inputs` makes them."""

    speaker: Loaded
    inputs: BatchFeature


@dataclass(frozen=True)
class Answer:
    """What has been said so far, and whether that is all."""

    text: str = ""
    complete: bool = False


@dataclass(frozen=True)
class _News:
    """From a model to the page: more text for a question, its end, or an error."""

    question: int
    text: str = ""
    complete: bool = False
    error: Exception | None = None


def stream_captions(questions: Sequence[Question], max_new_tokens: int = 256) -> Iterator[list[Answer]]:
    """Yield the answers, in the order of the questions, whenever there is more of them; the last ones are complete.

    Answers are greedy, and complete ones are what `inference.caption` returns. A model has one state only, so that it
    does not answer two questions at once. Where the iterator is closed before its end, the models stop.

    Raises:
        Exception: what a model raised.
    """
    news: SimpleQueue[_News] = SimpleQueue()
    stopped = Event()
    turns: dict[int, list[int]] = {}
    for number, question in enumerate(questions):
        turns.setdefault(id(question.speaker.model), []).append(number)
    threads = [
        Thread(target=_answer, args=(questions, numbers, max_new_tokens, news, stopped), daemon=True)
        for numbers in turns.values()
    ]
    answers = [Answer() for _ in questions]
    for thread in threads:
        thread.start()
    try:
        while not all(answer.complete for answer in answers):
            for item in _all_there_is(news):
                if item.error is not None:
                    raise item.error
                text = answers[item.question].text + item.text
                answers[item.question] = Answer(text.strip() if item.complete else text, item.complete)
            yield list(answers)
            sleep(_PAUSE)
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def _answer(
    questions: Sequence[Question],
    numbers: Sequence[int],
    max_new_tokens: int,
    news: SimpleQueue[_News],
    stopped: Event,
) -> None:
    """One thread: these questions, all to the same model."""
    for number in numbers:
        if stopped.is_set():
            return
        model, processor = questions[number].speaker.model, questions[number].speaker.processor
        try:
            model.generate(
                **questions[number].inputs.to(model.device),
                do_sample=False,
                num_beams=1,
                max_new_tokens=max_new_tokens,
                streamer=_Streamer(processor.tokenizer, number, news),
                stopping_criteria=StoppingCriteriaList([_Stop(stopped)]),
            )
        except Exception as error:
            news.put(_News(number, error=error))
            return
        news.put(_News(number, complete=True))


class _Streamer(TextStreamer):
    """Puts each finished word into the queue."""

    def __init__(self, tokenizer: Any, number: int, news: SimpleQueue[_News]) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self.number, self.news = number, news

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        self.news.put(_News(self.number, text))


class _Stop(StoppingCriteria):
    def __init__(self, stopped: Event) -> None:
        self.stopped = stopped

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        return input_ids.new_full((len(input_ids),), self.stopped.is_set(), dtype=bool)


def _all_there_is(news: SimpleQueue[_News]) -> Iterator[_News]:
    """Waits for one item, and takes those behind it, so that a slow page does not fall behind."""
    yield news.get()
    while True:
        try:
            yield news.get_nowait()
        except Empty:
            return
