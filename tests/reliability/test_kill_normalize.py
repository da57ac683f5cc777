"""`llamafactory-gaze normalize`, killed at random moments, from the first question to the writing of the last file."""

import itertools
import json
import shutil
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


def test_killed_at_random_moments(built, tmp_path):
    numbers = itertools.count()
    with Job(CODE, tmp_path / "log") as job:
        whole = Path(shutil.copytree(built, tmp_path / "undisturbed"))
        job.live(whole)

        def fresh() -> Path:
            return Path(shutil.copytree(built, tmp_path / f"chain{next(numbers)}"))

        def check(folder: Path) -> None:
            assert files(folder) == files(whole) and not partial(folder)
            assert journals(folder)[0].read_bytes() == journals(whole)[0].read_bytes()

        def partial(folder: Path) -> set[str]:
            assert len(json.loads((folder / "toy" / "stage1.json").read_text())) == 12  # the old one or the new one
            return {name for name in hidden(folder) if not name.startswith(".normalize")}

        done = kill_again_and_again(job, fresh, check, partial)
        assert done.while_writing
