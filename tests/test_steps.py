"""The runner of steps, with small commands of Python: order, failures, what is run again, what is kept."""

import io
import json
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf
from rich.console import Console

from llamafactory_gaze.steps import Step, StepFailed, as_yaml, call, llamafactory, run_steps, write_whole


# Every command begins so: it notes what it finds in its result folder, and that it began; `end()` notes that it ended.
PROLOGUE = """
import json, os, pathlib, sys, time
folder, name, result = pathlib.Path({folder!r}), {name!r}, pathlib.Path({result!r})
def note(event):
    with (folder / "events").open("a") as stream:
        stream.write(json.dumps([name, event, sorted(p.name for p in result.glob("*"))]) + "\\n")
note("began")
result.mkdir(parents=True, exist_ok=True)
{body}
note("ended")
"""


class Experiment:
    """Steps in a folder, and what happened when they were run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said = ""

    def step(self, name: str, body: str = "", needs: tuple[str, ...] = (), **fields: Any) -> Step:
        result = self.folder / "results" / name
        code = PROLOGUE.format(folder=str(self.folder), name=name, result=str(result), body=body)
        log = self.folder / "logs" / f"{name}.log"
        return Step(name, [sys.executable, "-c", code], result=result, log=log, needs=needs, **fields)

    def run(self, steps: Sequence[Step], jobs: int = 2, stop_at_failure: bool = False) -> dict[str, str]:
        (self.folder / "events").unlink(missing_ok=True)
        stream = io.StringIO()
        failures = run_steps(steps, jobs, Console(file=stream, width=500), stop_at_failure)
        self.said = stream.getvalue()
        return failures

    @property
    def events(self) -> list[tuple[str, str]]:
        """(step, "began" or "ended"), in their order."""
        return [(name, event) for name, event, _ in self._lines()]

    @property
    def began(self) -> list[str]:
        return [name for name, event in self.events if event == "began"]

    def found(self, name: str) -> list[str]:
        """What the step found in its result folder when it began."""
        return next(found for step, event, found in self._lines() if (step, event) == (name, "began"))

    def _lines(self) -> list[list[Any]]:
        file = self.folder / "events"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def experiment(tmp_path) -> Experiment:
    return Experiment(tmp_path)


def test_a_step_begins_when_those_that_it_needs_have_ended(experiment):
    steps = [
        experiment.step("a"),
        experiment.step("b", needs=("a",)),
        experiment.step("c", needs=("a", "b")),
    ]
    assert experiment.run(steps, jobs=3) == {}
    assert experiment.events == [(name, event) for name in "abc" for event in ("began", "ended")]


def test_with_one_job_steps_do_not_overlap(experiment):
    assert experiment.run([experiment.step(name) for name in "abc"], jobs=1) == {}
    assert experiment.events == [(name, event) for name in "abc" for event in ("began", "ended")]


def test_two_jobs_run_at_the_same_time(experiment):
    """Each waits until the other one has begun."""
    body = """
(folder / f"{name} is here").touch()
other, end = {"a": "b", "b": "a"}[name], time.monotonic() + 60
while not (folder / f"{other} is here").exists():
    if time.monotonic() > end:
        sys.exit("alone")
    time.sleep(0.01)
"""
    assert experiment.run([experiment.step("a", body), experiment.step("b", body)], jobs=2) == {}


def test_a_step_gets_its_variables_and_the_commands_of_our_environment(experiment):
    body = f"""
assert os.environ["GIVEN"] == "yes"
assert os.environ["PATH"].split(os.pathsep)[0] == {str(Path(sys.executable).parent)!r}
"""
    assert experiment.run([experiment.step("a", body, environment={"GIVEN": "yes"})]) == {}


def test_a_failed_step_loses_only_what_needs_it(experiment):
    steps = [
        experiment.step("bad", "sys.exit('the reason')"),
        experiment.step("child", needs=("bad",)),
        experiment.step("grandchild", needs=("child",)),
        experiment.step("other"),
        experiment.step("last", needs=("other",)),
    ]
    failures = experiment.run(steps, jobs=1)
    assert experiment.began == ["bad", "other", "last"]
    assert set(failures) == {"bad", "child", "grandchild"}
    assert failures["bad"].endswith("\nthe reason") and "ended with code 1" in failures["bad"]
    assert failures["child"] == "not run, since bad failed"
    assert failures["grandchild"] == "not run, since child failed"


def test_after_a_failure_nothing_new_begins_if_so_asked(experiment):
    steps = [experiment.step("good"), experiment.step("bad", "sys.exit(1)"), experiment.step("other")]
    failures = experiment.run(steps, jobs=1, stop_at_failure=True)
    assert experiment.began == ["good", "bad"]
    assert set(failures) == {"bad", "other"} and failures["other"] == "not run"


def test_a_failed_step_is_tried_again(experiment):
    body = "sys.exit(0 if (folder / 'flag').exists() else 1)"
    steps = [experiment.step("a"), experiment.step("bad", body, needs=("a",))]
    assert set(experiment.run(steps)) == {"bad"}
    (experiment.folder / "flag").touch()
    assert experiment.run(steps) == {}
    assert experiment.began == ["bad"]


@pytest.fixture
def read_by_a(experiment) -> tuple[Path, Path]:
    """A file and a folder."""
    file, folder = experiment.folder / "recipe.yaml", experiment.folder / "model"
    file.write_text("learning_rate: 1")
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/weights").write_text("0 1 2")
    return file, folder


def chain(experiment, inputs=(), a="", b="") -> list[Step]:
    return [
        experiment.step("a", a, inputs=tuple(inputs)),
        experiment.step("b", b, needs=("a",)),
        experiment.step("other"),
    ]


def test_a_second_call_finds_everything_done(experiment, read_by_a):
    assert experiment.run(chain(experiment, read_by_a)) == {}
    assert sorted(experiment.began) == ["a", "b", "other"]
    assert experiment.run(chain(experiment, read_by_a)) == {}
    assert experiment.began == []
    assert experiment.said.count("done before") == 3


def test_a_changed_command_is_run_again_with_what_needs_it(experiment):
    experiment.run(chain(experiment))
    experiment.run(chain(experiment, b="# another command"))
    assert experiment.began == ["b"]
    experiment.run(chain(experiment, a="# another command", b="# another command"))
    assert experiment.began == ["a", "b"]
    assert experiment.said.count("done before") == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda file, folder: file.write_text("learning_rate: 2"),
        lambda file, folder: file.unlink(),
        lambda file, folder: (folder / "deep/weights").write_text("0 1 3"),
        lambda file, folder: (folder / "deep/weights").rename(folder / "deep/renamed"),
        lambda file, folder: (folder / "more").touch(),
    ],
    ids=["file", "file gone", "file in a folder", "file in a folder renamed", "one more file in a folder"],
)
def test_a_changed_input_is_read_again(experiment, read_by_a, change):
    experiment.run(chain(experiment, read_by_a))
    change(*read_by_a)
    experiment.run(chain(experiment, read_by_a))
    assert experiment.began == ["a", "b"]


def test_an_input_written_anew_with_the_same_content_changes_nothing(experiment, read_by_a):
    experiment.run(chain(experiment, read_by_a))
    read_by_a[0].write_text(read_by_a[0].read_text())
    experiment.run(chain(experiment, read_by_a))
    assert experiment.began == []


def test_a_missing_result_is_made_again(experiment):
    experiment.run(chain(experiment))
    experiment.step("a").result.rmdir()
    experiment.run(chain(experiment))
    assert "a" in experiment.began and "other" not in experiment.began


UNFINISHED = "(result / 'half').touch(); sys.exit('killed')"
SAVED = "(result / 'checkpoint-3').mkdir(exist_ok=True); (result / 'checkpoint-3/trainer_state.json').write_text('{}')"
CHECKPOINT = f"{SAVED}; {UNFINISHED}"


def test_a_result_without_checkpoint_is_removed_before_the_new_try(experiment):
    for _ in range(2):
        assert set(experiment.run([experiment.step("a", UNFINISHED)])) == {"a"}
        assert experiment.found("a") == []
        assert "last checkpoint" not in experiment.said
    assert (experiment.step("a").result / "half").exists()


def test_a_result_with_a_checkpoint_of_the_same_command_is_kept(experiment):
    experiment.run([experiment.step("a", CHECKPOINT)])
    experiment.run([experiment.step("a", CHECKPOINT)])
    assert experiment.found("a") == ["checkpoint-3", "half"]
    assert "goes on from its last checkpoint" in experiment.said


def test_a_checkpoint_of_other_inputs_is_removed(experiment, read_by_a):
    experiment.run([experiment.step("a", CHECKPOINT, inputs=read_by_a)])
    read_by_a[0].write_text("learning_rate: 2")
    experiment.run([experiment.step("a", CHECKPOINT, inputs=read_by_a)])
    assert experiment.found("a") == []
    assert "last checkpoint" not in experiment.said


def test_the_checkpoint_of_a_finished_step_is_not_gone_on_from(experiment):
    """A training that ended well has its checkpoints in its result too; one with other values begins anew."""
    body = "(result / 'checkpoint-3').mkdir(exist_ok=True)"
    assert experiment.run([experiment.step("a", body)]) == {}
    assert experiment.run([experiment.step("a", body + "  # changed")]) == {}
    assert experiment.found("a") == []


def test_a_failing_command_shows_the_end_of_its_log(tmp_path):
    code = "print('\\n'.join(f'line {i}' for i in range(20))); raise SystemExit('what went wrong')"
    log = tmp_path / "logs/step.log"
    with pytest.raises(StepFailed) as failure:
        call([sys.executable, "-c", code], log, threading.Event(), {})
    message = str(failure.value)
    assert f"ended with code 1. The end of {log}:\nline 13\n" in message
    assert message.endswith("line 19\nwhat went wrong") and "line 12" not in message
    assert log.read_text().startswith("line 0\n")


def test_cancelling_ends_the_command(tmp_path):
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(StepFailed, match="ended with code -15"):
        call([sys.executable, "-c", "import time; time.sleep(600)"], tmp_path / "log", cancelled, {})


VALUES = [
    [7], [], list(range(64)), ["q_proj", "v_proj"], True, False, None, 300, -1, 0.5, 3e-3, 1e-5, 2.5e16, {"a": [1]},
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_values_survive_the_command_line(value):
    written = as_yaml(value)
    assert "\n" not in written
    for read in (yaml.safe_load(written), OmegaConf.to_container(OmegaConf.from_dotlist([f"key={written}"]))["key"]):
        assert read == value and type(read) is type(value)


def test_texts_and_paths_stand_as_they_are():
    assert as_yaml("late") == "late"
    assert as_yaml(Path("saves/a b")) == "saves/a b"


def test_the_stock_command(tmp_path):
    command = llamafactory(tmp_path / "stage1.yaml", {"seed": 1, "gaze_layers": [7]})
    assert Path(command[0]).name == "llamafactory-cli"
    assert command[1:] == ["train", str(tmp_path / "stage1.yaml"), "seed=1", "gaze_layers=[7]"]


def test_a_file_is_written_whole_or_stays_as_it_was(tmp_path):
    target = tmp_path / "study.md"
    write_whole(target, "größer\n")
    assert target.read_bytes() == "größer\n".encode()
    with pytest.raises(UnicodeEncodeError):
        write_whole(target, "new \ud800")  # cannot be encoded
    assert target.read_bytes() == "größer\n".encode()
    write_whole(target, "new\n")
    assert target.read_text() == "new\n" and list(tmp_path.iterdir()) == [target]
