"""`llamafactory-gaze normalize`, killed at random moments, from the first question to the writing of the last file."""

import json
import shutil
from functools import partial
from pathlib import Path

from llamafactory_gaze.demo.run import BASE_MODEL
from tests.killing import Job, hidden, kill_again_and_again
from tests.normalize.conftest import PROMPT, files, journals


CODE = f"""
import os, time
from pathlib import Path
from llamafactory_gaze.normalize import NormalizeOptions, normalize_dataset, run
from llamafactory_gaze.normalize.journal import Answer

class Slow:
    def answer(self, questions):
        time.sleep(0.01)
        return [Answer(question.prompt.upper(), True, 5) for question in questions]

    def runtime(self):
        return {{"device": "none"}}

def slowly(descriptor, sync=os.fsync):
    time.sleep(0.005)
    sync(descriptor)

run.load_engine = lambda *arguments: Slow()
os.fsync = slowly

def job(folder):
    normalize_dataset(NormalizeOptions(
        name="toy", dataset_dir=Path(folder), model={str(BASE_MODEL)!r}, prompt={PROMPT!r}, batch_size=1,
        max_new_tokens=20,
    ))
"""


def normalised(folder: Path) -> dict[str, bytes]:
    assert not half(folder)
    (journal,) = journals(folder)
    return {**files(folder), "journal": journal.read_bytes()}


def half(folder: Path) -> set[str]:
    assert len(json.loads((folder / "toy" / "stage1.json").read_text())) == 12  # the old one or the new one
    return {name for name in hidden(folder) if not name.startswith(".normalize")}


def test_killed_at_random_moments(built, tmp_path):
    with Job(CODE, tmp_path / "log") as job:
        done = kill_again_and_again(job, tmp_path, normalised, half, partial(shutil.copytree, built))
        assert done.while_writing
