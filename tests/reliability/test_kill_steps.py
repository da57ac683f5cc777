"""The runner of studies and of the demo, killed at random moments, with its commands or without them."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.killing import Job, content, kill_again_and_again


# Each command is a small training: it refuses to work beside another of the same, adds a line at a time to a
# checkpoint, and fails where it finds one that is half written, as LLaMA-Factory would.
CODE = """
import sys
from pathlib import Path
from rich.console import Console
from llamafactory_gaze.steps import Step, run_steps

TRAINING = '''
import fcntl, json, os, sys, time
from pathlib import Path
folder = Path(sys.argv[1]); folder.mkdir(parents=True, exist_ok=True)
lock = open(f"{folder}.one", "w"); fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
while (folder.parent / "hold").exists(): time.sleep(0.01)
begun = max((int(c.name.split("-")[1]) for c in folder.glob("checkpoint-*")), default=0)
if begun: assert (folder / f"checkpoint-{begun}/weights").read_text() == "x" * begun * 1000
for number in range(begun + 1, 4):
    time.sleep(0.01)
    new = folder / f"checkpoint-{number}"; new.mkdir(exist_ok=True)
    for part in range(number):
        with open(new / "weights", "a" if part else "w") as file: file.write("x" * 1000)
        time.sleep(0.01)
    (new / "trainer_state.json").write_text(json.dumps({"step": number}))
(folder / "model").write_text("x" * 3000)
'''

def job(folder):
    folder = Path(folder)
    def step(name, *needs):
        result = folder / "results" / name
        command = [sys.executable, "-S", "-E", "-c", TRAINING, str(result)]
        return Step(name, command, result=result, log=folder / "logs" / f"{name}.log", needs=needs)
    failed = run_steps([step("a"), step("b"), step("c", "a", "b")], 2, Console(file=sys.stdout, width=500), False)
    assert not failed, failed
"""


def result(folder: Path) -> dict[str, bytes]:
    found = {name: text for name, text in content(folder).items() if "incomplete-" not in name}
    assert len([name for name in found if name.endswith(".done")]) == 3
    return {name: text for name, text in found.items() if name.startswith("results/")}


@pytest.mark.parametrize("whole_group", [True, False], ids=["with its commands", "alone"])
def test_killed_at_random_moments(tmp_path, whole_group):
    def strike(pid: int) -> None:
        (os.killpg if whole_group else os.kill)(pid, signal.SIGKILL)

    def half(folder: Path) -> set[str]:
        """Checkpoints without their last file; a step that counts as done has all of its own."""
        for mark in folder.glob("logs/*.done"):
            if mark.read_text():
                assert (folder / "results" / mark.stem / "model").stat().st_size == 3000
        checkpoints = folder.glob("results/*/checkpoint-*")
        return {str(one) for one in checkpoints if not (one / "trainer_state.json").exists()}

    with Job(CODE, tmp_path / "log") as job:
        done = kill_again_and_again(job, tmp_path, result, half, signal_to=strike)
        assert done.while_writing or not whole_group


def test_the_next_call_waits_for_a_command_that_has_outlived_a_kill(tmp_path):
    hold = tmp_path / "killed" / "results" / "hold"
    hold.parent.mkdir(parents=True)
    hold.touch()
    with Job(CODE, tmp_path / "log") as job:
        killed = job.start(tmp_path / "killed")
        until(lambda: hold.with_name("a.one").exists() and hold.with_name("b.one").exists())
        os.kill(killed, signal.SIGKILL)
        assert job.end() == -signal.SIGKILL
        job.start(tmp_path / "killed")
        until(lambda: job.log.read_text().count("still at work") == 2)
        hold.unlink()
        assert job.end() == 0
        job.live(tmp_path / "undisturbed")
    assert result(tmp_path / "killed") == result(tmp_path / "undisturbed")


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)
