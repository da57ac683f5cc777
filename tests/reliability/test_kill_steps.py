"""The runner of studies and of the demo, killed at random moments, with its commands or without them."""

import os
import signal
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
begun = max((int(c.name.split("-")[1]) for c in folder.glob("checkpoint-*")), default=0)
if begun: assert (folder / f"checkpoint-{begun}/weights").read_text() == "x" * begun * 1000
for number in range(begun + 1, 4):
    time.sleep(0.01)
    new = folder / f"checkpoint-{number}"; new.mkdir(exist_ok=True)
    for part in range(number):
        with open(new / "weights", "a" if part else "w") as file: file.write("x" * 1000)
        time.sleep(0.003)
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


@pytest.mark.parametrize("whole_group", [True, False], ids=["with its commands", "alone"])
def test_killed_at_random_moments(tmp_path, whole_group):
    def strike(pid: int) -> None:
        (os.killpg if whole_group else os.kill)(pid, signal.SIGKILL)

    def result(folder: Path) -> dict[str, bytes]:
        found = {name: text for name, text in content(folder).items() if "incomplete-" not in name}
        keys = [name for name in found if name.endswith(".done")]
        assert len(keys) == 3
        return {name: text for name, text in found.items() if name.startswith("results/")}

    def half(folder: Path) -> set[str]:
        """Checkpoints without their last file; a step that counts as done has all of its own."""
        for mark in folder.glob("logs/*.done"):
            if mark.read_text():
                assert (folder / "results" / mark.stem / "model").stat().st_size == 3000
        checkpoints = folder.glob("results/*/checkpoint-*")
        return {str(one) for one in checkpoints if not (one / "trainer_state.json").exists()}

    with Job(CODE, tmp_path / "log") as job:
        done = kill_again_and_again(job, tmp_path, result, half, signal_to=strike)
        if whole_group:
            assert done.while_writing
        else:
            assert "still at work" in job.log.read_text()
