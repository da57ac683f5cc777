"""METEOR twice: two implementations whose scores differ in level and rank, and must never be taken for each other.

`JavaMeteor` is Denkowski and Lavie's METEOR 1.5 (2014) behind the PTB tokenizer, as the COCO caption evaluation runs
it: the standard of captioning. `NltkMeteor` is what `evaluate` gives: the METEOR of 2007 without paraphrases and
function-word weights. Against human judgements of captions (Flickr8k-Expert) the first reaches Kendall's tau-c 41.8,
the published figure, the second 35.9. The paper does not say which one it used.
"""

from __future__ import annotations

import re
import tempfile
from functools import cache
from pathlib import Path
from types import SimpleNamespace

from eval import wordnet
from eval.errors import MetricUnavailableError
from eval.metrics import ptb
from eval.metrics.base import PairMetric, Scores, fingerprint, make_signature, package
from eval.metrics.porter import Stemmer


class JavaMeteor(PairMetric):
    """METEOR 1.5, the Java program, on texts from the Stanford PTB tokenizer without punctuation, as COCO runs it.

    The figure is the mean over captions. METEOR's own corpus score weights long captions more and has no pairs.

    Raises:
        MetricUnavailableError: no pycocoevalcap (which brings both programs), or no Java that can run them.
    """

    title = "Java METEOR 1.5, PTB tokens"
    names = ("meteor",)
    piece = 25_000  # each start reads a table of paraphrases, for seconds

    def __init__(self) -> None:
        super().__init__()
        ptb.find_java()
        self.meteor_jar = ptb.pycocoevalcap_home() / "meteor" / "meteor-1.5.jar"

    def score_pairs(self, pairs: list[tuple[str, str]]) -> Scores:
        """Score `meteor`; see `PairMetric.score_pairs`."""
        tokens = ptb.tokenize(text for pair in pairs for text in pair)
        files = ("texts", "references")
        with tempfile.TemporaryDirectory() as folder:
            for name, lines in zip(files, (tokens[0::2], tokens[1::2]), strict=True):
                Path(folder, name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            output = ptb.run_java("-Xmx2G", "-jar", self.meteor_jar, *files, "-l", "en", "-norm", cwd=folder)
        scores = [float(value) for value in re.findall(r"^Segment \d+ score:\s*(\S+)$", output, re.MULTILINE)]
        if len(scores) != len(pairs):
            raise MetricUnavailableError(f"Java METEOR returned {len(scores)} scores for {len(pairs)} captions.")
        return {"meteor": scores}

    @property
    def signature(self) -> str:
        return make_signature(
            impl=f"java-meteor-1.5@{fingerprint([self.meteor_jar])}",
            via=package("pycocoevalcap"),
            tok=ptb.TOKENIZER,
            lang="en",
            norm="yes",
            params="0.85,0.2,0.6,0.75",
            avg="mean",
        )


class NltkMeteor(PairMetric):
    """NLTK's METEOR (exact, stem and WordNet matches; alpha .9, beta 3, gamma .5), the one in evaluate.

    Sentences and words are split by NLTK's rules. The sentence splitter runs without NLTK's trained abbreviations,
    which pip does not bring; captions hardly have abbreviations.

    Raises:
        MetricUnavailableError: no WordNet on this machine.
    """

    title = "NLTK METEOR"
    names = ("meteor_nltk",)

    def __init__(self) -> None:
        super().__init__()
        self.corpus = wordnet.ensure()

    def score_pairs(self, pairs: list[tuple[str, str]]) -> Scores:
        """Score `meteor_nltk`; see `PairMetric.score_pairs`."""
        from nltk.translate.meteor_score import single_meteor_score

        words = cache(_treebank_words)
        synonyms = SimpleNamespace(synsets=cache(wordnet.reader(self.corpus).synsets))
        return {
            "meteor_nltk": [
                single_meteor_score(words(reference), words(text), stemmer=Stemmer, wordnet=synonyms)
                for text, reference in pairs
            ]
        }

    @property
    def signature(self) -> str:
        return make_signature(
            impl=package("nltk"),
            tok="treebank",
            stem="porter",
            wordnet=wordnet.corpus_version(self.corpus),
            params="0.9,3,0.5",
            avg="mean",
        )


def _treebank_words(text: str) -> list[str]:
    from nltk.tokenize import NLTKWordTokenizer, PunktSentenceTokenizer

    sentences = PunktSentenceTokenizer().tokenize(text)
    return [word for sentence in sentences for word in NLTKWordTokenizer().tokenize(sentence)]
