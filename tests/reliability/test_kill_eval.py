"""`python -m eval.compare`, killed at random moments."""

import json
import re
from pathlib import Path

import pytest

from eval.output import all_or_nothing
from tests.eval.conftest import Study
from tests.killing import Job, content, hidden, kill_again_and_again


TIME = re.compile(rb"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d\+00:00| \d\d:\d\d( UTC)?)?")

CODE = """
import sys
from pathlib import Path
import numpy, scipy, statsmodels.api, jinja2, PIL.Image
from eval.compare import app
import eval.metrics.cider, eval.metrics.encoder, eval.metrics.meteor, eval.metrics.objects, eval.scoring.cache
import eval.report.gallery, eval.report.pages, eval.report.terminal, eval.results.build, eval.scoring.columns
from tests.eval.comparing import Letters, unavailable

eval.metrics.meteor.JavaMeteor = eval.metrics.cider.Cider = eval.metrics.objects.NamedObjects = unavailable
eval.metrics.encoder.Encoder = unavailable
eval.metrics.meteor.NltkMeteor = lambda: Letters("meteor_nltk", 0.002)

def job(folder):
    eval.scoring.cache.default_path = lambda: Path(folder) / "scores.sqlite"
    data = Path({data!r})
    arguments = ["--baseline", data / "baseline.jsonl", "--injected", data / "injected.jsonl"]
    arguments += ["--dataset", data / "test.json", "--output", Path(folder) / "report"]
    app([str(one) for one in arguments], standalone_mode=False)
"""


def test_killed_at_random_moments(tmp_path):
    study = Study(tmp_path / "data", images=4, participants=2)

    def report(folder: Path) -> dict[str, bytes]:
        """Without folder and time, in which two runs differ."""
        assert not hidden(folder)
        files = content(folder / "report").items()
        return {name: TIME.sub(b"TIME", text.replace(str(folder).encode(), b"FOLDER")) for name, text in files}

    def half(folder: Path) -> set[str]:
        """A report that says that all is there has all, and of one comparison."""
        if (folder / "report" / "results.json").exists():
            json.loads((folder / "report" / "results.json").read_text())
            assert set(content(folder / "report")) == set(content(tmp_path / "undisturbed" / "report"))
        return hidden(folder)

    with Job(CODE.format(data=str(study.folder)), tmp_path / "log") as job:
        done = kill_again_and_again(job, tmp_path, report, half)
        assert done.while_writing


def test_a_report_that_is_half_replaced_lacks_its_last_file(tmp_path, monkeypatch):
    """So that nobody takes the figures of one comparison for those of the scores of another."""
    names = ("per_item.jsonl", "results.json")

    def write(text: str) -> None:
        with all_or_nothing(tmp_path / "report") as staging:
            for name in names:
                (staging / name).write_text(text)

    def moves_one(path: Path, target: Path, replace=Path.replace) -> None:
        if path.name == names[1]:
            raise KeyboardInterrupt
        replace(path, target)

    write("former")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", moves_one)
        with pytest.raises(KeyboardInterrupt):
            write("new")
    assert content(tmp_path) == {"report/per_item.jsonl": b"new"}
    write("new")
    assert content(tmp_path) == {f"report/{name}": b"new" for name in names}
