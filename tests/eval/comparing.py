"""Running `eval.compare` in the test process, with the metrics that are slow to start left out or replaced."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from eval.compare import app
from eval.errors import MetricUnavailableError


def unavailable(*arguments, **options):
    raise MetricUnavailableError("not in this test")


class Letters:
    """A stand-in for a METEOR: the number of letters, in a range that tells two of them apart."""

    piece = 10  # rows are scored in several pieces

    def __init__(self, name, factor):
        self.name, self.factor = name, factor
        self.title, self.signature, self.notes = f"{name} title", f"impl:{name}", f"Notes on {name}."

    def score(self, predictions, references):
        assert all(isinstance(texts, list) for texts in references)
        return {self.name: [self.factor * len(text) for text in predictions]}


def compare(folder, *options):
    """The command's result, and the results.json in `folder`, or None."""
    done = CliRunner().invoke(app, [str(part) for part in ("--output", folder, *options)])
    results = json.loads((folder / "results.json").read_text()) if (folder / "results.json").exists() else None
    return done, results


def run(study, *options, output="report"):
    """The comparison of the study's two systems: the command's result, its folder, its results.json or None."""
    files = ("--baseline", study.file("baseline"), "--injected", study.file("injected"), "--dataset", study.dataset)
    done, results = compare(study.folder / output, *files, *options)
    return done, study.folder / output, results


def failed(done):
    """The message of a run that stopped as it should: one line on stderr."""
    assert done.exit_code == 2 and not isinstance(done.exception, (ValueError, OSError)), done.exception
    assert done.stdout == "" and len(done.stderr.strip().splitlines()) == 1
    return done.stderr.strip()
