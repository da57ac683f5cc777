"""Codes of participants: the salt decides, its file is kept close, and no id is left in a folder."""

import hashlib
import hmac
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from llamafactory_gaze.data.fixations import Fixations
from llamafactory_gaze.data.tables import DataError, Table
from llamafactory_gaze.data.triples.descriptions import Description
from llamafactory_gaze.data.triples.pseudonyms import CODE, Pseudonyms, check_fields, read_salt, refuse_ids


def description(participant, **extra):
    return Description("a.png", participant, None, "A dog.", None, None, extra, "d.csv, line 2")


def test_a_code_is_an_hmac():
    code = Pseudonyms(b"salt").code("s01")
    assert code == "p" + hmac.new(b"salt", b"s01", hashlib.sha256).hexdigest()[:8] and CODE.fullmatch(code)
    assert Pseudonyms(b"pepper").code("s01") != code


def test_descriptions_and_fixations_get_the_same_codes():
    codes = Pseudonyms(b"salt")
    n = np.arange(4.0)
    (one,) = codes.of_descriptions([description("s2")])
    people = np.array(["s10", "s2", "s10", "s1"])
    table = Table(Path("f.csv"), "line", [2, 3, 4, 5], {})
    coded = codes.of_fixations(Fixations(table, n, np.full(4, "a.png"), people, None, None, n, n, n))
    assert coded.participant.tolist() == [codes.code(name) for name in ("s10", "s2", "s10", "s1")]
    assert one.participant == coded.participant[1]
    assert codes.ids == ["s1", "s10", "s2"]


def test_two_people_with_one_code_are_refused(monkeypatch):
    codes = Pseudonyms(b"salt")
    codes.code("s01")
    monkeypatch.setattr("hmac.new", lambda *_: hmac.HMAC(b"salt", b"s01", hashlib.sha256))
    with pytest.raises(DataError, match="Participants s01 and s02 have the same code p"):
        codes.code("s02")


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
def test_a_salt_is_made_once_and_for_the_owner_alone(tmp_path):
    path = tmp_path / "salt"
    salt = read_salt(path, tmp_path / "set")
    assert path.stat().st_mode & 0o777 == 0o600 and len(bytes.fromhex(salt.decode())) == 32
    assert read_salt(path, tmp_path / "set") == salt != read_salt(tmp_path / "other", tmp_path / "set")
    path.chmod(0o640)
    with pytest.raises(DataError, match="can be read by others"):
        read_salt(path, tmp_path / "set")


def test_salts_that_are_none(tmp_path):
    (tmp_path / "short").write_text("abc\n")
    (tmp_path / "short").chmod(0o600)
    with pytest.raises(DataError, match="holds 3 bytes; expected 16 or more"):
        read_salt(tmp_path / "short", tmp_path / "set")
    with pytest.raises(DataError, match="lies in the folder of the data set"):
        read_salt(tmp_path / "set/../set/salt", tmp_path / "set")
    with pytest.raises(DataError, match="cannot be made"):
        read_salt(tmp_path / "no" / "salt", tmp_path / "set")
    with pytest.raises(DataError, match="is a folder"):
        read_salt(tmp_path, tmp_path / "set")


def test_a_column_that_repeats_the_participant():
    check_fields([description("1", age="1"), description("2", age="31")])
    check_fields([description("1", age="1")])  # of one person this says nothing
    check_fields([description("1", take="21"), description("2", take="2")])
    for cells in (("1", "2"), ("take_1.wav", "take_2.wav")):
        with pytest.raises(DataError, match="The column file holds the participant"):
            check_fields([description(str(i), file=cell) for i, cell in enumerate(cells, start=1)])


@pytest.mark.parametrize(
    ("cell", "refused"),
    [
        (lambda who, row: f"VP{who}_{1001 + row}.wav", True),
        (lambda who, row: f"{row}_{who:02d}", True),  # beside images that are numbered as people are
        (lambda who, row: f"VP{who}" if row % 5 else f"vp {'abcdefghij'[who]}", True),  # not in all rows
        (lambda who, row: f"VP{who}" if row < 2 else "", True),
        (lambda who, row: f"VP{who}0", False),
        (lambda who, row: str(1 + (who * row) % 5), False),  # a rating
        (lambda who, row: f"There are {row} cups and {1 + who % 3} plates.", False),
        (lambda who, row: [{"word": "a", "start": i / 2, "end": i / 2 + 0.4} for i in range(row + 9)], False),
    ],
)
def test_numbers_that_are_the_participant_in_most_rows(cell, refused):
    rows = [description(str(who), field=cell(who, row)) for who in range(1, 10) for row in range(20)]
    if refused:
        with pytest.raises(DataError, match=r"The column field holds the participant in \d+ of \d+ rows, so --pseud"):
            check_fields(rows)
    else:
        check_fields(rows)


@pytest.mark.parametrize("column", ["image", "trial", "text", "normalized"])
def test_every_column_that_is_written_is_looked_at(column):
    rows = [replace(description(str(who)), **{column: f"VP{who}-{row}"}) for who in (1, 2, 3) for row in (7, 8)]
    with pytest.raises(
        DataError, match=r"The column (image|trial|description|normalized) holds the participant in 6 of"
    ):
        check_fields(rows)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "a.json",
            'x\n{"file": "1001_s02.wav"}',
            r"a\.json, line 2 would contain the participant's id s02 \('.*1001_s02",
        ),
        ("b/c.csv", "note\nAsk anna.", r"b/c\.csv, line 2 would contain the participant's id anna"),
        ("maps/1001_s02.png", "", r"The name maps/1001_s02\.png contains the participant's id s02"),
        ("a.md", "anna-lena", "id anna-lena"),
        ("a.json", '{"file": "S02_1001.wav"}', r"a\.json, line 1 would contain the participant's id S02"),
        ("a.md", "Asked S2 and Anna.", "id S2 "),
        ("a.md", "ANNA", "id ANNA "),
        ("a.md", "s020 s12 xs02 s02x annas 1001 7", None),
        ("a.bin", "s02", None),
    ],
)
def test_ids_in_a_folder(tmp_path, name, text, message):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    ids = ["s02", "anna", "anna-lena", "7", "1001"]
    if message is None:
        refuse_ids(tmp_path, ids)
    else:
        with pytest.raises(DataError, match=message):
            refuse_ids(tmp_path, ids)
