"""Codes instead of participant ids: the same for the same salt, and not to be led back without it."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from llamafactory_gaze.data.fixations import Fixations
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.data.triples.descriptions import Description


CODE = re.compile("p[0-9a-f]{8}")
_TEXTS = {".json", ".csv", ".md"}
_NUMBER = re.compile(r"0*(\d+)")


class Pseudonyms:
    """Participant id -> code: "p" and the first 8 hexadecimal digits of HMAC-SHA256 of the id, keyed with the salt.

    Without a salt, everyone could compute the codes of all likely ids ("s01", "s02", ...) and compare.
    """

    def __init__(self, salt: bytes):
        self._salt = salt
        self._ids: dict[str, str] = {}  # code -> id

    def code(self, participant: str) -> str:
        """The code of a participant.

        Raises:
            DataError: another participant has the same code (at 1000 people once in 10,000 salts).
        """
        code = "p" + hmac.new(self._salt, participant.encode(), hashlib.sha256).hexdigest()[:8]
        other = self._ids.setdefault(code, participant)
        if other != participant:
            raise DataError(f"Participants {other} and {participant} have the same code {code}; use another salt file.")
        return code

    @property
    def ids(self) -> list[str]:
        """All ids that were coded so far."""
        return sorted(self._ids.values())

    def of_descriptions(self, descriptions: Sequence[Description]) -> list[Description]:
        """Sorted by image and code: tables are often sorted by the ids, which their order would give away."""
        coded = [replace(one, participant=self.code(one.participant)) for one in descriptions]
        return sorted(coded, key=lambda one: (one.image, one.participant, one.trial or ""))

    def of_fixations(self, fixations: Fixations) -> Fixations:
        people, inverse = np.unique(fixations.participant, return_inverse=True)
        codes = np.array([self.code(str(one)) for one in people])
        return replace(fixations, participant=codes[inverse])


def read_salt(path: Path, folder: Path) -> bytes:
    """The salt in a file; where there is none, 32 random bytes in hexadecimal are written that only the owner can read.

    Args:
        folder: of the data set, which the file may not be in: whoever has both can lead the codes back.

    Raises:
        DataError: the file lies in the folder, can be read by others, or holds fewer than 16 characters.
    """
    if path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"The salt file {path} lies in the folder of the data set; keep it apart from {folder}.")
    if path.is_dir():
        raise DataError(f"The salt file {path} is a folder; name a file.")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    except OSError as error:
        raise DataError(f"The salt file {path} cannot be made ({error.strerror}).") from error
    else:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise DataError(f"The salt file {path} can be read by others; close it by `chmod 600`, or use another one.")
    try:
        salt = path.read_bytes().strip()
    except OSError as error:
        raise DataError(f"The salt file {path} cannot be read ({error.strerror}).") from error
    if len(salt) < 16:
        raise DataError(
            f"The salt file {path} holds {len(salt)} bytes; expected 16 or more, best made by this command."
        )
    return salt


def without_recordings(descriptions: Sequence[Description]) -> list[Description]:
    """Without the column `audio` of transcripts: names of recordings say in many ways who speaks."""
    return [
        replace(one, extra={name: cell for name, cell in one.extra.items() if name != "audio"}) for one in descriptions
    ]


def check_fields(descriptions: Sequence[Description]) -> None:
    """Refuse a column that says in most rows who it is; this also finds ids that are numbers, unlike `refuse_ids`.

    Numbers stand everywhere, so the ids of all others must stand there less than half as often in the mean.

    Raises:
        DataError: names the column.
    """
    people = {one.participant for one in descriptions}
    others = len({_plain(one) for one in people}) - 1
    if not others:
        return
    pattern = _pattern(people)
    for name in ("image", "trial", "description", "normalized", *descriptions[0].extra):
        own = foreign = filled = 0
        for one in descriptions:
            known = {"image": one.image, "trial": one.trial, "description": one.text, "normalized": one.normalized}
            cell = str((known | one.extra)[name] or "")
            found = {_plain(match[0]) for match in pattern.finditer(cell)}
            filled += bool(cell)
            own += _plain(one.participant) in found
            foreign += len(found - {_plain(one.participant)})
        if own > filled / 2 and own > 2 * foreign / others:
            raise DataError(
                f"The column {name} holds the participant in {own} of {filled} rows, so --pseudonyms would be in vain; "
                "take the ids out of it, or remove it."
            )


def refuse_ids(folder: Path, ids: Iterable[str]) -> None:
    """Refuse a folder whose texts or names of files contain one of these ids as a word of its own.

    Capitals and zeros before a number do not count: s02 is also found as S2. Ids that are plain numbers are not looked
    for: they stand everywhere.

    Raises:
        DataError: names the file, the line and the id.
    """
    words = [one for one in ids if not one.isdecimal()]
    if not words:
        return
    pattern = _pattern(words)
    advice = "so --pseudonyms would be in vain; change it there (or the id, where the same word means something else)"
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        match = pattern.search(name)
        if match:
            raise DataError(f"The name {name} contains the participant's id {match[0]}, {advice}.")
        if path.is_file() and path.suffix in _TEXTS:
            for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
                match = pattern.search(line)
                if match:
                    near = line[max(match.start() - 30, 0) : match.end() + 30].strip()
                    raise DataError(
                        f"{name}, line {number} would contain the participant's id {match[0]} ('{near}'), {advice}."
                    )


def _pattern(ids: Iterable[str]) -> re.Pattern[str]:
    """Finds these ids in any capitals and with any zeros before a number.

    An id stands for itself where no letter or digit touches it, a plain number where no digit does, as in VP2; an
    underscore parts words here, as in names of files.
    """

    def any_of(some: list[str]) -> str:
        longest_first = sorted(some, key=len, reverse=True)
        return "|".join(_NUMBER.sub(r"0*\1", re.escape(one)) for one in longest_first) or "(?!)"

    ids = list(ids)
    words = any_of([one for one in ids if not one.isdecimal()])
    numbers = any_of([one for one in ids if one.isdecimal()])
    return re.compile(rf"(?<![^\W_])(?:{words})(?![^\W_])|(?<!\d)(?:{numbers})(?!\d)", re.IGNORECASE)


def _plain(participant: str) -> str:
    """The same for all forms of an id that `_pattern` finds."""
    return _NUMBER.sub(r"\1", participant.casefold())
