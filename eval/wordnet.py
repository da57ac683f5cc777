"""WordNet 3.0 for NLTK, found or built: NLTK's METEOR needs it for synonyms and pip does not bring it.

    python -m eval.wordnet

looks for the corpus in NLTK's own data folders, then in Debian's package `wordnet-base` (installed, or downloaded with
`apt-get download`, for which one need not be root), and last asks `nltk.download`, which needs the internet. A corpus
built here goes to `$NLTK_DATA` or else to `~/.cache/llamafactory-gaze/nltk_data`; a second call changes nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from eval.errors import MetricUnavailableError


DEBIAN_DICT = Path("/usr/share/wordnet")

# What NLTK's reader opens. Debian ships the other files; `lexnames` and `index.sense` are added below.
_DICT_FILES = [f"{kind}.{pos}" for kind in ("data", "index") for pos in ("adj", "adv", "noun", "verb")]
_DICT_FILES += ["adj.exc", "adv.exc", "noun.exc", "verb.exc", "cntlist.rev"]

# WordNet's lexicographer files in the order of their numbers, 00 to 44 (manual page lexnames(5WN)).
_LEXICOGRAPHER_FILES = [
    *("adj.all", "adj.pert", "adv.all"),
    *("noun.Tops", "noun.act", "noun.animal", "noun.artifact", "noun.attribute", "noun.body", "noun.cognition"),
    *("noun.communication", "noun.event", "noun.feeling", "noun.food", "noun.group", "noun.location", "noun.motive"),
    *("noun.object", "noun.person", "noun.phenomenon", "noun.plant", "noun.possession", "noun.process"),
    *("noun.quantity", "noun.relation", "noun.shape", "noun.state", "noun.substance", "noun.time"),
    *("verb.body", "verb.change", "verb.cognition", "verb.communication", "verb.competition", "verb.consumption"),
    *("verb.contact", "verb.creation", "verb.emotion", "verb.motion", "verb.perception", "verb.possession"),
    *("verb.social", "verb.stative", "verb.weather"),
    "adj.ppl",
]
_PART_OF_SPEECH = {"noun": 1, "verb": 2, "adj": 3, "adv": 4}


def cache_dir() -> Path:
    """The NLTK data folder into which a corpus is built: the first of `$NLTK_DATA`, else one in the user's cache."""
    named = [folder for folder in os.environ.get("NLTK_DATA", "").split(os.pathsep) if folder]
    if named:
        return Path(named[0]).expanduser().resolve()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return (Path(cache).expanduser() / "llamafactory-gaze" / "nltk_data").resolve()


def find() -> Any | None:
    """NLTK's path pointer to an installed WordNet corpus (a folder, or a folder inside a zip file), or None."""
    import nltk.data

    # NLTK reads only below the folders of its search path, and `$NLTK_DATA` is looked at once, when nltk is imported.
    if str(cache_dir()) not in nltk.data.path:
        nltk.data.path.append(str(cache_dir()))
    for name in ("corpora/wordnet", "corpora/wordnet.zip/wordnet/"):
        try:
            pointer = nltk.data.find(name)
            # A folder that lacks a file, such as a plain copy of Debian's, fails only deep inside NLTK's reader.
            for file in ("lexnames", "index.sense", *_DICT_FILES):
                pointer.join(file)
            return pointer
        except (LookupError, OSError):  # no such folder; no such file in it
            continue
    return None


def ensure(download: bool = False) -> Any:
    """Find WordNet, or build it.

    Args:
        download: whether apt and NLTK's own downloader may be tried. Without it only this machine's disk is used.

    Returns:
        NLTK's path pointer to the corpus.

    Raises:
        MetricUnavailableError: there is no WordNet here and none could be had.
    """
    pointer = find()
    if pointer is not None:
        return pointer
    target = cache_dir() / "corpora" / "wordnet"
    if _complete(DEBIAN_DICT):
        build(DEBIAN_DICT, target)
    elif download:
        _from_apt(target) or _from_nltk(cache_dir())
    pointer = find()
    if pointer is None:
        tried = "neither apt-get nor nltk.download could bring it" if download else "no WordNet is installed"
        raise MetricUnavailableError(
            f"NLTK's METEOR needs WordNet and {tried}: run `python -m eval.wordnet` with internet access, "
            "or install Debian's package wordnet-base."
        )
    return pointer


@cache
def reader(pointer: Any) -> Any:
    """NLTK's reader of the corpus at a path pointer; it takes seconds to load and is kept."""
    from nltk.corpus.reader.wordnet import WordNetCorpusReader

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that other languages are missing
        return WordNetCorpusReader(pointer, omw_reader=None)


def corpus_version(pointer: Any) -> str:
    """WordNet's version, such as 3.0, from the licence at the head of one of its files."""
    with pointer.join("data.adv").open() as file:
        head = file.read(4000)
    found = re.search(r"WordNet (\d+\.\d+)", head if isinstance(head, str) else head.decode("utf-8", "replace"))
    return found.group(1) if found else "unknown"


def build(dict_dir: Path, target: Path) -> None:
    """Make the NLTK corpus `target` of WordNet's dict files in `dict_dir`; it appears complete or not at all."""
    with _staged(target) as staging:
        for name in _DICT_FILES:
            shutil.copyfile(dict_dir / name, staging / name)  # copied: NLTK refuses links that leave its data folder
        lines = [
            f"{number:02d}\t{name}\t{_PART_OF_SPEECH[name.split('.')[0]]}\n"
            for number, name in enumerate(_LEXICOGRAPHER_FILES)
        ]
        (staging / "lexnames").write_text("".join(lines), encoding="ascii")
        (staging / "index.sense").touch()  # sense keys, which METEOR never asks for; the file only has to be there


def _complete(dict_dir: Path) -> bool:
    return all((dict_dir / name).is_file() for name in _DICT_FILES)


@contextmanager
def _staged(target: Path) -> Iterator[Path]:
    """A folder beside `target` that takes its place when the block ends well, and vanishes when it does not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".wordnet-", dir=target.parent))
    try:
        yield staging
        staging.chmod(0o755)
        if target.exists():  # incomplete, or `find` would have taken it
            shutil.rmtree(target)
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _from_apt(target: Path) -> bool:
    """Build from Debian's package, fetched and unpacked without installing it. False where apt is missing or fails."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return False
    with tempfile.TemporaryDirectory() as folder:
        try:
            subprocess.run(["apt-get", "download", "wordnet-base"], cwd=folder, check=True, capture_output=True)
            package = next(Path(folder).glob("wordnet-base_*.deb"))
            subprocess.run(["dpkg-deb", "-x", package.name, "."], cwd=folder, check=True, capture_output=True)
        except (subprocess.CalledProcessError, StopIteration):
            return False
        unpacked = Path(folder) / DEBIAN_DICT.relative_to("/")
        if not _complete(unpacked):
            return False
        build(unpacked, target)
    return True


def _from_nltk(data_dir: Path) -> bool:
    import nltk

    data_dir.mkdir(parents=True, exist_ok=True)
    return bool(nltk.download("wordnet", download_dir=str(data_dir), quiet=True))


def main() -> int:
    """Make WordNet available and say where it is; 1 when it cannot be had."""
    try:
        print(f"WordNet for NLTK: {ensure(download=True)}")
    except MetricUnavailableError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
