"""A disk that is full: one sentence, nothing half-written, and the same command ends well once there is space.

On a small tmpfs where this process may mount one; else, and beside it, by a limit of the size of files.
"""

import resource
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from typer.testing import CliRunner

from eval.compare import app as compare
from llamafactory_gaze.cli import app
from llamafactory_gaze.data.speech import recognition, transcription
from llamafactory_gaze.demo.run import BASE_MODEL
from llamafactory_gaze.normalize import run as normalize_run
from llamafactory_gaze.steps import Step, run_steps
from tests.eval.comparing import Letters, unavailable
from tests.eval.conftest import Study
from tests.killing import content, hidden
from tests.normalize.conftest import PROMPT, FakeEngine
from tests.reliability.disks import only


COMMANDS = {
    "heatmaps": "heatmaps {inputs}/fixations.csv --images {inputs}/images --output {folder}/maps --sigma-px 8",
    "dataset": "dataset --fixations {inputs}/fixations.csv --images {inputs}/images --descriptions "
    "{inputs}/descriptions.csv --name toy --dataset-dir {folder} --sigma-px 8",
    "predict-map": "predict-map {inputs}/images --output {folder}/maps",
    "share": "share demo --dataset-dir {inputs} --output {folder}/shared --with-personal-maps",
    "fixations": "fixations {inputs}/fixations.csv --output {folder}/fixations.csv --overwrite",
    "validate": "validate demo --dataset-dir {inputs} --json {folder}/problems.json",
    "transcribe": "transcribe {inputs}/spoken.csv --audio {inputs}/images --output {folder}/said.json",
    "compare": "--baseline {study}/baseline.jsonl --injected {study}/injected.jsonl --dataset {study}/test.json "
    "--output {folder}/report --no-cache",
}


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    return Study(tmp_path_factory.mktemp("study") / "data", images=4, participants=2).folder


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch):
    """For what needs seconds to start, or a model."""
    for name in ("cider.Cider", "objects.NamedObjects", "meteor.JavaMeteor", "encoder.Encoder"):
        monkeypatch.setattr(f"eval.metrics.{name}", unavailable)
    monkeypatch.setattr("eval.metrics.meteor.NltkMeteor", lambda: Letters("meteor_nltk", 0.002))
    said = SimpleNamespace(text="a word", words=[("word", 0.0, 1.0)], level_dbfs=-20.0)

    class Says:
        name = "nobody"

        def __init__(self, *arguments):
            pass

        def __call__(self, sound):
            return said

    monkeypatch.setattr(recognition, "Recogniser", Says)
    monkeypatch.setattr(transcription, "read_audio", lambda path: path.read_bytes())
    monkeypatch.setattr(normalize_run, "load_engine", lambda *arguments: FakeEngine())


def call(name: str, folder: Path, **folders: Path):
    words = COMMANDS[name].format(folder=folder, **folders).split()
    return CliRunner().invoke(compare if name == "compare" else app, words)


def check_refusal(done, said: str) -> None:
    """One sentence, which names a file."""
    errors = [line for line in done.stderr.splitlines() if "Error:" in line]
    assert done.exit_code == 1 and len(errors) == 1, (done.exit_code, done.output, done.exception)
    assert said in errors[0] and "run the same command again" in errors[0] and "a file" not in errors[0]
    assert "Traceback" not in done.output


def result(folder: Path) -> dict[str, bytes]:
    """All files but journals."""
    return {name: text for name, text in content(folder).items() if not name.endswith(".journal")}


@contextmanager
def largest_file(size: int):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk(name, disk, inputs, study):
    refused = 0
    for free in (0, 4096, 16384, 65536):
        with only(disk, free):
            before = result(disk)
            done = call(name, disk, inputs=inputs, study=study)
            if done.exit_code == 0:
                break
            check_refusal(done, "No space is left to write")
            refused += 1
            new = result(disk).keys() - before.keys()
            assert name == "predict-map" or not new  # which keeps the maps that are finished
            assert before.items() <= result(disk).items() and not hidden(disk)
    assert refused
    assert call(name, disk, inputs=inputs, study=study).exit_code == 0 and not hidden(disk)


@pytest.mark.parametrize("name", COMMANDS)
def test_files_that_may_not_grow(name, tmp_path, inputs, study):
    with largest_file(16):
        done = call(name, tmp_path, inputs=inputs, study=study)
    check_refusal(done, "larger than the file system")
    assert not result(tmp_path) and not hidden(tmp_path)
    assert call(name, tmp_path, inputs=inputs, study=study).exit_code == 0


def test_normalisation_on_a_full_disk(disk, built):
    folder = Path(shutil.copytree(built, disk / "registry"))
    words = ["normalize", "toy", "--dataset-dir", folder, "--model", BASE_MODEL, "--prompt", PROMPT]
    words += ["--batch-size", "4", "--max-new-tokens", "20"]
    before = (folder / "toy" / "stage1.json").read_bytes()
    for free in (0, 4096):
        with only(disk, free):
            done = CliRunner().invoke(app, [str(word) for word in words])
        check_refusal(done, "No space is left to write")
        assert (folder / "toy" / "stage1.json").read_bytes() == before
    assert CliRunner().invoke(app, [str(word) for word in words]).exit_code == 0
    assert (folder / "toy" / "stage1.json").read_bytes() != before


def test_a_step_that_meets_a_full_disk_is_not_done(disk):
    """A training whose checkpoint does not fit: it says so, and the next call runs it again."""
    result = disk / "result"
    code = f"import pathlib; r = pathlib.Path({str(result)!r}); r.mkdir(exist_ok=True); "
    code += "(r / 'model').write_bytes(b'x' * 300_000)"
    step = Step("train", [sys.executable, "-c", code], result=result, log=disk / "logs" / "train.log")
    with only(disk, 65536):
        failed = run_steps([step], 1, Console(quiet=True), stop_at_failure=True)
        assert "No space is left to write" in failed["train"]
        assert not list(disk.glob("logs/*.done"))
    assert run_steps([step], 1, Console(quiet=True), stop_at_failure=True) == {}
    assert (result / "model").stat().st_size == 300_000


@pytest.mark.parametrize("command", ["demo", "study"])
def test_experiments_say_it_too(command, disk):
    words = ["demo", "--output", disk / "out"]
    if command == "study":
        words = ["study", "yaml_recipes/studies/layers.yaml", "--output", disk / "out"]
    with only(disk, 0):
        done = CliRunner().invoke(app, [str(word) for word in words])
    check_refusal(done, "No space is left to write")
    assert content(disk) == {} and not hidden(disk)


def test_other_errors_of_the_system_are_sentences(tmp_path, inputs):
    long = tmp_path / ("x" * 300)
    done = call("heatmaps", long, inputs=inputs)
    check_refusal(done, "is too long for the file system")
