"""A journal survives being cut off at any byte."""

import pytest

from llamafactory_gaze.journal import Journal


def test_what_was_added_is_there_when_it_is_opened_again(tmp_path):
    with Journal(tmp_path / "new" / "j") as journal:
        journal.add("a", {"text": "one\ntwo ü"})
        journal.add("b", 2)
        journal.add("a", 3)
    with Journal(tmp_path / "new" / "j") as journal:
        assert (len(journal), journal["a"], journal["b"], "c" in journal) == (2, 3, 2, False)
        journal.remove()
    assert not any((tmp_path / "new").iterdir())


def test_a_journal_that_was_cut_anywhere_keeps_all_whole_lines_and_goes_on(tmp_path):
    path = tmp_path / "j"
    with Journal(path) as journal:
        for i in range(3):
            journal.add(f"key{i}", f"välue {i}")
    whole = path.read_bytes()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        kept = whole[:length].count(b"\n")
        with Journal(path) as journal:
            assert len(journal) == kept
            for i in range(kept, 3):
                assert f"key{i}" not in journal
                journal.add(f"key{i}", f"välue {i}")
        assert path.read_bytes() == whole


def test_a_file_that_is_no_journal_is_left_alone(tmp_path):
    (tmp_path / "j").write_text("somebody's notes\n")
    with pytest.raises(ValueError):
        Journal(tmp_path / "j")
    assert (tmp_path / "j").read_text() == "somebody's notes\n"
