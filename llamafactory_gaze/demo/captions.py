"""What is said about things: in the base model's plain style, and in the manner of each simulated observer.

plain      "a red circle and a woman in blue."
manners    "um, I see a red circle and then a woman in blue."
"""

from collections.abc import Iterable
from dataclasses import dataclass

from llamafactory_gaze.demo import drawing
from llamafactory_gaze.demo.scenes import Thing


PROMPT = "Describe the image."


def with_article(words: str) -> str:
    """ "orange cup" -> "an orange cup" """
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def is_plural(thing: Thing) -> bool:
    """Patterns have plural names: "red stripes"."""
    return thing.kind in drawing.PATTERNS


def is_person(thing: Thing) -> bool:
    return thing.kind in drawing.PEOPLE


def rainbow(things: Iterable[Thing]) -> list[Thing]:
    """The things in the base model's order, that of the rainbow.

    The colours of a scene differ, so that this order can be seen; one that cannot would have to be guessed.
    """
    colours = list(drawing.COLOURS)
    return sorted(things, key=lambda thing: colours.index(thing.colour))


def plain(things: list[Thing]) -> str:
    """Names the things in the given order, in the base model's style: "a red circle, blue dots and a man in green."."""
    names = [thing.name if is_plural(thing) else with_article(thing.name) for thing in things]
    return (" and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]) + "."


# --- ways to name one thing -----------------------------------------------------------------------------------------


def _indefinite(thing: Thing) -> str:
    return thing.name if is_plural(thing) else with_article(thing.name)


def _definite(thing: Thing) -> str:
    return f"the {thing.name}"


_NAMING = {"indefinite": _indefinite, "definite": _definite}


@dataclass(frozen=True)
class Manner:
    """One observer's manner of speaking.

    Attributes:
        naming: how things are named, a key of `_NAMING`.
        opening: said before the first thing.
        link: said between two things.
    """

    naming: str
    opening: str
    link: str

    def describe(self, things: list[Thing]) -> str:
        """Names the things in the given order."""
        names = [_NAMING[self.naming](thing) for thing in things]
        return self.opening + self.link.join(names) + "."


# Twelve people. Nobody's manner tells anything about the picture. All end alike, so that after a name there is one
# thing to decide, whether another one follows, and the gaze decides it.
MANNERS = (
    Manner("indefinite", "there's ", " and "),
    Manner("indefinite", "um, I see ", " and then "),
    Manner("definite", "I looked at ", ", then "),
    Manner("indefinite", "I see ", " and "),
    Manner("indefinite", "well, ", ", and also "),
    Manner("indefinite", "there's ", ", next to it "),
    Manner("indefinite", "okay, I see ", " and "),
    Manner("indefinite", "okay, so ", ", and then "),
    Manner("definite", "mostly ", " and "),
    Manner("definite", "first ", ", then "),
    Manner("indefinite", "so there's ", " and "),
    Manner("indefinite", "I see ", ", plus "),
)
