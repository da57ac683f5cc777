"""What the frozen model is asked to do with a description."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.data.triples.descriptions import PLACEHOLDER


SLOT = "{description}"  # where the human description stands

PROMPTS = {
    "rewrite": f"""A person described this image as follows:

{SLOT}

Say the same in your own words and in the way in which you would describe an image yourself. Mention everything that \
the person mentions and nothing else, even where the image shows more. Answer with the description only, in the \
language of the person.""",
    # For the tiny model of the demo, which knows this one question: its answer does not depend on the description.
    "describe": "Describe the image.",
}


@dataclass(frozen=True)
class Prompt:
    """A question about an image and what a person said about it."""

    name: str  # of `PROMPTS`, or what it was given as
    text: str

    @property
    def stand_in(self) -> bool:
        """Whether it leaves the description out, so that the answers are no normalisation of it."""
        return SLOT not in self.text

    def about(self, description: str) -> str:
        return self.text.replace(SLOT, description)


def find_prompt(asked: str) -> Prompt:
    """The prompt that is meant by a name of `PROMPTS`, the path of a text file, or a text with `{description}`.

    Raises:
        DataError: it is none of them, or a text that cannot serve as a prompt.
    """
    if asked in PROMPTS:
        return Prompt(asked, PROMPTS[asked])
    if SLOT in asked:
        prompt = Prompt("own text", asked.strip())
    elif Path(asked).is_file():
        prompt = Prompt(f"file {Path(asked).name}", _read(Path(asked)))
    else:
        raise DataError(
            f"--prompt '{asked}' is no prompt; expected one of {', '.join(PROMPTS)}, the path of a text file, or a "
            f"text with {SLOT} where the person's description goes."
        )
    if prompt.stand_in:
        raise DataError(f"The prompt in {asked} lacks {SLOT}, the place of the person's description; add it.")
    if mark := PLACEHOLDER.search(prompt.text):
        raise DataError(f"The prompt contains {mark[0]}; remove it, the image is put before the prompt by itself.")
    return prompt


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The prompt in {path} cannot be read as UTF-8 text ({error}).") from error
