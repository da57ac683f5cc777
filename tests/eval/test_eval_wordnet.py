"""WordNet for NLTK, made of the files that Debian ships."""

from __future__ import annotations

import pytest

from eval import wordnet
from eval.errors import MetricUnavailableError


@pytest.fixture
def debian(tmp_path, monkeypatch):
    """A machine with an (empty) Debian dictionary and no corpus; apt and NLTK's downloader must not be asked."""
    import nltk.data

    folder = tmp_path / "usr"
    folder.mkdir()
    for name in wordnet._DICT_FILES:
        (folder / name).write_text(f"text of {name}\n")
    monkeypatch.setattr(wordnet, "DEBIAN_DICT", folder)
    monkeypatch.setattr(nltk.data, "path", [])
    monkeypatch.setenv("NLTK_DATA", str(tmp_path / "nltk"))
    for name in ("_from_apt", "_from_nltk"):
        monkeypatch.setattr(wordnet, name, lambda target: pytest.fail("asked the network"))
    return folder


def test_corpus_is_built_from_debians_files(debian, tmp_path):
    pointer = wordnet.ensure()
    corpus = tmp_path / "nltk" / "corpora" / "wordnet"
    assert str(pointer) == str(corpus)
    assert (corpus / "data.noun").read_text() == "text of data.noun\n"
    assert (corpus / "index.sense").read_text() == ""
    lines = (corpus / "lexnames").read_text().splitlines()
    assert len(lines) == 45
    assert lines[0] == "00\tadj.all\t3" and lines[28] == "28\tnoun.time\t1" and lines[44] == "44\tadj.ppl\t3"
    assert [path.name for path in corpus.parent.iterdir()] == ["wordnet"]


def test_a_second_call_changes_nothing(debian, tmp_path):
    wordnet.ensure()
    corpus = tmp_path / "nltk" / "corpora" / "wordnet"
    before = {path.name: path.stat().st_mtime_ns for path in corpus.iterdir()}
    wordnet.ensure()
    assert before == {path.name: path.stat().st_mtime_ns for path in corpus.iterdir()}


def test_an_incomplete_corpus_is_replaced(debian, tmp_path):
    corpus = tmp_path / "nltk" / "corpora" / "wordnet"
    corpus.mkdir(parents=True)
    (corpus / "data.noun").touch()
    wordnet.ensure()
    assert (corpus / "lexnames").exists()


def test_a_failed_copy_leaves_nothing(debian, tmp_path, monkeypatch):
    def fail(source, target):
        raise OSError("disk full")

    monkeypatch.setattr("shutil.copyfile", fail)
    with pytest.raises(OSError, match="disk full"):
        wordnet.ensure()
    assert list((tmp_path / "nltk" / "corpora").iterdir()) == []


def test_without_any_source_the_message_says_what_to_do(debian):
    (debian / "data.noun").unlink()
    with pytest.raises(MetricUnavailableError, match=r"python -m eval\.wordnet"):
        wordnet.ensure()


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("NLTK_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert wordnet.cache_dir() == tmp_path / "llamafactory-gaze" / "nltk_data"


def test_the_command_reports_failure(monkeypatch, capsys):
    def fail(download):
        raise MetricUnavailableError("no WordNet")

    monkeypatch.setattr(wordnet, "ensure", fail)
    assert wordnet.main() == 1
    assert capsys.readouterr() == ("", "no WordNet\n")
