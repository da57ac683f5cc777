"""One question, from the click to the last picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from PIL import Image

from eval.report.gallery import data_uri
from llamafactory_gaze.inference import gaze_inputs
from llamafactory_gaze.playground.captions import Question, stream_captions
from llamafactory_gaze.playground.gaze import Gaze
from llamafactory_gaze.playground.inside import look_inside
from llamafactory_gaze.playground.models import Models
from llamafactory_gaze.playground.picture import Picture
from llamafactory_gaze.playground.session import Answered, Card, Comparison, mark_cards
from llamafactory_gaze.saliency.maps import overlay


_CARD_SIDE = 360  # pixels: the cards travel to the page with every few words


@dataclass(frozen=True)
class Progress:
    """What there is of an answer so far; `answered` is set in the last step only."""

    cards: list[Card]
    comparison: Comparison | None = None
    answered: Answered | None = None


def describe(models: Models, picture: Picture, prompt: str, gazes: Mapping[str, Gaze]) -> Iterator[Progress]:
    """Ask for the caption without gaze and for one of each gaze, mark what differs, and look inside the model.

    Args:
        gazes: one or two, by title.

    Raises:
        SaliencyMapError: a map has another shape than the picture.
    """
    plain, speaker = models.without_gaze, models.gaze
    title, origin = (
        ("Baseline", "another model, which gets no map")
        if models.baseline
        else ("Without gaze", "the same model, which then gets no map")
    )
    cards = [Card(title, origin, _small(picture.shown))]
    questions = [Question(plain, gaze_inputs(plain.processor, picture.image, None, prompt, models.max_pixels))]
    for title, gaze in gazes.items():
        cards.append(Card(title, gaze.origin, _small(overlay(picture.shown, gaze.saliency))))
        inputs = gaze_inputs(speaker.processor, picture.image, gaze.saliency, prompt, models.max_pixels)
        questions.append(Question(speaker, inputs))
    yield Progress(cards)
    for answers in stream_captions(questions):
        cards = [replace(card, text=answer.text) for card, answer in zip(cards, answers, strict=True)]
        yield Progress(cards)
    marked, comparison = mark_cards(cards)
    yield Progress(marked, comparison)
    inside = [look_inside(models, title, gaze, picture) for title, gaze in gazes.items()]
    answered = Answered(datetime.now(), picture.name, picture.image.size, prompt, marked, comparison, inside)
    yield Progress(marked, comparison, answered)


def _small(image: Image.Image) -> str:
    image = image.copy()
    image.thumbnail((_CARD_SIDE, _CARD_SIDE))
    return data_uri(image)
