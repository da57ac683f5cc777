"""Which objects a caption names: agreement of the words with what was looked at."""

from __future__ import annotations

import re
from functools import cache

from eval import wordnet
from eval.metrics.base import CaptionMetric, Scores, make_signature, package


class NamedObjects(CaptionMetric):
    """Share of the objects of a row that a caption names, by whole words in their basic form (WordNet's, as nouns).

    A name of several words, such as "red circle", must stand in the caption as it is, its words in order and next to
    each other; singular and plural, upper and lower case are the same. A synonym is not a match, and neither is a word
    inside another ("car" in "cartoon"). "Attended objects named" is the share of the objects that this participant
    looked at, "unattended objects named" that of the other objects of the row. Rows whose data name no such objects
    are left out.

    Raises:
        MetricUnavailableError: no WordNet on this machine.
    """

    title = "objects named, lemmatised words"
    names = ("named",)

    def __init__(self) -> None:
        super().__init__()
        self.corpus = wordnet.ensure()

    def _score(self, predictions: list[str], references: list[list[str]]) -> Scores:
        """Score `named`; in place of reference captions stand lists of names, none of them empty."""
        lemmas = cache(self._lemmas)
        return {
            "named": [
                sum(_contains(lemmas(text), lemmas(name)) for name in several) / len(several)
                for text, several in zip(predictions, references, strict=True)
            ]
        }

    @property
    def signature(self) -> str:
        return make_signature(
            impl="llamafactory-gaze",
            tok="words",
            lemma=f"wordnet-{wordnet.corpus_version(self.corpus)}-noun",
            via=package("nltk"),
            match="consecutive",
            avg="mean",
        )

    def _lemmas(self, text: str) -> list[str]:
        reader = wordnet.reader(self.corpus)
        return [reader.morphy(word, reader.NOUN) or word for word in re.findall(r"\w+", text.lower())]


def _contains(words: list[str], wanted: list[str]) -> bool:
    size = len(wanted)
    return size > 0 and any(words[i : i + size] == wanted for i in range(len(words) - size + 1))
