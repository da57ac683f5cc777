"""Porter's stems, each word stemmed once: stemming takes most of the time of ROUGE and of NLTK's METEOR."""

from __future__ import annotations

from functools import lru_cache

from nltk.stem.porter import PorterStemmer


class Stemmer:
    """NLTK's stemmer, in the form in which rouge-score and NLTK's METEOR call it."""

    stem = staticmethod(lru_cache(maxsize=50_000)(PorterStemmer().stem))
