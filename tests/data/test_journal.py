"""A journal survives being cut off at any byte."""

import pytest

from llamafactory_gaze.data.journal import Journal
from llamafactory_gaze.data.tables import DataError


def test_what_was_added_is_there_when_it_is_opened_again(tmp_path):
    with Journal(tmp_path / "new" / "j") as journal:
        journal.add({"text": "one\ntwo ü"})
        journal.add([2, None])
    with Journal(tmp_path / "new" / "j") as journal:
        assert journal.lines == [{"text": "one\ntwo ü"}, [2, None]]


def test_a_journal_that_was_cut_anywhere_keeps_all_whole_lines_and_goes_on(tmp_path):
    path = tmp_path / "j"
    lines = [f"välue {i}" for i in range(3)]
    with Journal(path) as journal:
        for line in lines:
            journal.add(line)
    whole = path.read_bytes()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        kept = whole[:length].count(b"\n")
        with Journal(path) as journal:
            assert journal.lines == lines[:kept]
            for line in lines[kept:]:
                journal.add(line)
        assert path.read_bytes() == whole


def test_zeros_at_the_end_are_cut_off_and_damage_before_it_is_named(tmp_path):
    path = tmp_path / "j"
    path.write_bytes(b'"a"\n\0\0\0\n')
    with Journal(path) as journal:
        assert journal.lines == ["a"]
    assert path.read_bytes() == b'"a"\n'
    path.write_bytes(b'"a"\nsomebody\'s notes\n"b"\n')
    with pytest.raises(DataError, match="line 2 is damaged"):
        Journal(path)
    assert path.read_bytes() == b'"a"\nsomebody\'s notes\n"b"\n'
