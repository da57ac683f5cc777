"""Cut off anywhere, and killed with the real model; kills at random moments: `tests/reliability`."""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.demo.run import BASE_MODEL
from llamafactory_gaze.normalize import normalize_dataset
from llamafactory_gaze.normalize.journal import Answer, AnswerJournal
from tests.normalize.conftest import FakeEngine, files, journals, options


ROOT = Path(__file__).parents[2]

# A run with the real engine that kills itself while the third batch is answered.
KILLED = f"""
import os, signal, sys
from llamafactory_gaze.cli import main
from llamafactory_gaze.normalize.engines.huggingface import HuggingFace

batches = 0
def answer(self, questions, answer=HuggingFace.answer):
    global batches
    batches += 1
    said = answer(self, questions)
    if batches == 3:
        os.kill(os.getpid(), signal.{signal.SIGKILL.name})
    return said

HuggingFace.answer = answer
main()
"""


def start(script: str, *arguments: object) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)


@pytest.fixture
def undisturbed(built, tmp_path, engine) -> tuple[dict[str, bytes], bytes]:
    """The files of an undisturbed run with batches of one, and its journal."""
    folder = Path(shutil.copytree(built, tmp_path / "undisturbed"))
    normalize_dataset(options(folder, batch_size=1))
    (journal,) = journals(folder)
    return files(folder), journal.read_bytes()


def test_a_journal_that_ends_anywhere_is_gone_on_with(toy, undisturbed, engine):
    """At and around every end of a line, and at random places: what is whole is kept, and only the rest is asked."""
    expected, journal = undisturbed
    ends = [i + 1 for i, byte in enumerate(journal) if byte == ord("\n")]
    assert len(ends) == 1 + 12
    places = {0, 1, *ends, *(end - 1 for end in ends), *(end + 1 for end in ends[:-1])}
    places |= set(random.Random(1).sample(range(len(journal)), 10))
    normalize_dataset(options(toy, batch_size=1))
    (path,) = journals(toy)
    for place in sorted(places):
        path.write_bytes(journal[:place])
        engine.batches.clear()
        normalize_dataset(options(toy, batch_size=1))
        assert engine.asked == 12 - max(sum(end <= place for end in ends) - 1, 0), place
        assert path.read_bytes() == journal and files(toy) == expected


def test_the_real_model_killed_in_the_middle(built, tmp_path):
    killed, whole = (Path(shutil.copytree(built, tmp_path / name)) for name in ("killed", "whole"))
    settings = {"prompt": "describe", "batch_size": 4, "max_new_tokens": 64}
    flags = [part for key, value in settings.items() for part in (f"--{key.replace('_', '-')}", str(value))]
    before = files(killed)
    process = start(KILLED, "normalize", "toy", "--dataset-dir", killed, "--model", BASE_MODEL, *flags)
    assert normalize_dataset(options(whole, **settings)).asked == 12  # meanwhile
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert files(killed) == before
    (journal,) = journals(killed)
    assert len(journal.read_bytes().splitlines()) == 1 + 2
    assert normalize_dataset(options(killed, **settings)).asked == 4
    assert files(killed) == files(whole) and journal.read_bytes() == journals(whole)[0].read_bytes()


def test_zeros_in_place_of_the_end_are_cut_off(tmp_path):
    """As a file system leaves them after a loss of power."""
    path = tmp_path / "journal.jsonl"
    journal = AnswerJournal(path)
    journal.add({"max_new_tokens": 3}, [("a", "1", Answer("A.", True, 2))])
    journal.close()
    whole = path.read_bytes()
    for tail in (b"\0" * 40, b'{"record": "0", "ba\0\0\0\0\n'):
        path.write_bytes(whole + tail)
        journal = AnswerJournal(path)
        journal.close()
        assert path.read_bytes() == whole and list(journal.entries) == ["1"]


def test_a_line_that_somebody_damaged_is_named(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = AnswerJournal(path)
    for key in "123":
        journal.add({"max_new_tokens": 3}, [("a", key, Answer("A.", True, 2))])
    journal.close()
    lines = path.read_bytes().splitlines(keepends=True)
    for damaged, line in (([*lines[:2], b'{"record": 0}\n', *lines[3:]], 3), (lines[1:], 1)):
        path.write_bytes(b"".join(damaged))
        with pytest.raises(DataError, match=rf"journal\.jsonl, line {line} is damaged"):
            AnswerJournal(path)
        assert path.read_bytes() == b"".join(damaged)


def test_nothing_is_written_before_all_rows_have_an_answer(toy, engine):
    before = files(toy)

    class Failing(FakeEngine):
        def answer(self, questions):
            if len(engine.batches) == 2:
                raise KeyboardInterrupt
            return engine.answer(questions)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("llamafactory_gaze.normalize.run.load_engine", lambda *arguments: Failing())
        with pytest.raises(KeyboardInterrupt):
            normalize_dataset(options(toy))
    assert files(toy) == before
    assert normalize_dataset(options(toy)).asked == 2
