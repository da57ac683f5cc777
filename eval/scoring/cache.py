"""Scores that were computed before, so that a second run on the same texts starts neither Java nor an encoder.

One SQLite file in the user's cache folder. A score is found by everything that it depends on: the metric's signature,
the code of the metrics, the caption and its references. A file that is damaged is put aside and never believed.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from eval.metrics.base import fingerprint
from eval.scoring.references import Item


Found = dict[Item, dict[str, float]]  # the scores of each item by name

_AT_ONCE = 500  # keys of a question; SQLite may allow no more than 999


def default_path() -> Path:
    """The file in `$XDG_CACHE_HOME`, else in `~/.cache`."""
    folder = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(folder).expanduser() / "llamafactory-gaze" / "scores.sqlite"


class ScoreCache:
    """The file of scores. Where it cannot be written, nothing is remembered, and no run fails for it.

    Args:
        path: of the SQLite file; None remembers nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._database: sqlite3.Connection | None = None
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._database = _open(path)
            except sqlite3.OperationalError:  # locked, or no place to write: not a matter of what is in it
                raise
            except sqlite3.DatabaseError:
                path.replace(path.with_suffix(".damaged"))
                self._database = _open(path)
        except (OSError, sqlite3.Error):
            self._database = None

    def get(self, signature: str, items: Iterable[Item]) -> Found:
        """The known scores of some items; unknown ones are not in it."""
        found: Found = {}
        if self._database is None:
            return found
        of_key = {_key(signature, item): item for item in items}
        keys = list(of_key)
        try:
            for start in range(0, len(keys), _AT_ONCE):
                some = keys[start : start + _AT_ONCE]
                places = ", ".join("?" * len(some))
                for key, text, check_sum in self._database.execute(
                    f"SELECT * FROM scores WHERE key IN ({places})", some
                ):
                    if check_sum == _check_sum(key, text):
                        found[of_key[key]] = json.loads(text)
        except sqlite3.Error:
            return {}
        return found

    def add(self, signature: str, scores: Mapping[Item, Mapping[str, float]]) -> None:
        """Remember scores, all of them or none."""
        if self._database is None:
            return
        rows = []
        for item, values in scores.items():
            key, text = _key(signature, item), json.dumps(values)
            rows.append((key, text, _check_sum(key, text)))
        try:
            with self._database:
                self._database.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?, ?)", rows)
        except sqlite3.Error:  # a full disk, or another run that holds the file: the scores are there all the same
            self._database = None


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=10)
    if database.execute("PRAGMA quick_check").fetchone()[0] != "ok":
        database.close()
        raise sqlite3.DatabaseError("damaged")
    with database:
        database.execute("CREATE TABLE IF NOT EXISTS scores (key TEXT PRIMARY KEY, scores TEXT, check_sum TEXT)")
    return database


def _key(signature: str, item: Item) -> str:
    return hashlib.sha256(json.dumps([_code(), signature, item[0], *item[1]]).encode()).hexdigest()


def _check_sum(key: str, text: str) -> str:
    return hashlib.sha256(f"{key} {text}".encode()).hexdigest()[:16]


@cache
def _code() -> str:
    """Fingerprint of the code of the metrics: after a change of it nothing that it computed before is used."""
    return fingerprint(sorted(Path(__file__).parents[1].joinpath("metrics").glob("*.py")))
