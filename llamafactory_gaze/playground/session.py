"""What was asked and answered since the page was opened, and its report: one HTML file that needs no other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from eval.report.gallery import Words, mark_differences
from llamafactory_gaze.data.provenance import installed_versions
from llamafactory_gaze.playground import pages
from llamafactory_gaze.playground.inside import Inside
from llamafactory_gaze.playground.models import Models
from llamafactory_gaze.steps import write_whole


@dataclass(frozen=True)
class Card:
    """One caption under the picture that it is about.

    Attributes:
        title: "Without gaze", "Baseline", "Gaze A" or "Gaze B".
        origin: where the gaze, or the caption without gaze, comes from.
        picture: data URI of the picture, with the map laid over it where there is one.
        text: what has been said so far.
        words: when all cards are complete, the text as `mark_differences` splits it; else None.
    """

    title: str
    origin: str
    picture: str
    text: str = ""
    words: Words | None = None


@dataclass(frozen=True)
class Comparison:
    """The captions of two gazes, each marked where the other lacks its words."""

    titles: tuple[str, str]
    words: tuple[Words, Words]

    @property
    def same(self) -> bool:
        return not any(differs for side in self.words for _, differs in side)


@dataclass(frozen=True)
class Answered:
    """One question with its answers.

    Attributes:
        cards: without gaze first, then each gaze.
        comparison: of the two gazes, where there are two.
        inside: one for each gaze.
    """

    time: datetime
    picture: str
    size: tuple[int, int]
    prompt: str
    cards: list[Card]
    comparison: Comparison | None
    inside: list[Inside]


def mark_cards(cards: Sequence[Card]) -> tuple[list[Card], Comparison | None]:
    """Mark what differs: in each gaze's caption from the first card's, in the first from the first gaze's.

    Args:
        cards: complete; without gaze first, then one gaze or two.
    """
    plain, *gazes = cards
    marked = [replace(plain, words=mark_differences(plain.text, gazes[0].text)[0])]
    marked += [replace(card, words=mark_differences(plain.text, card.text)[1]) for card in gazes]
    if len(gazes) < 2:
        return marked, None
    first, second = gazes
    return marked, Comparison((first.title, second.title), mark_differences(first.text, second.text))


def write_report(target: Path, models: Models, answers: Sequence[Answered]) -> None:
    """Write the session, whole or not at all."""
    versions = installed_versions("llamafactory-gaze", "transformers", "peft", "torch", "gradio")
    text = pages.render("report.html.j2", models=models, answers=answers, versions=versions, made=datetime.now())
    write_whole(target, text)
