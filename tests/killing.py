"""Kills a job at random moments, again and again, until it has ended; what it leaves is then what nobody disturbed.

The job runs in forks of a process of its own that has done the imports, with one thread, so that a life costs little.
What is not whole yet keeps its name for a moment longer than it would, so that kills meet it on a fast disk too.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


ROOT = Path(__file__).parents[1]
KILLS = int(os.environ.get("GAZE_KILLS", "20"))  # of each job

# A line with arguments for each life; answered by the process id, and by the status once the life has ended.
_LIVES = """
import json, os, sys, time
sys.addaudithook(lambda event, _: time.sleep(0.001) if event == "os.rename" else None)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setsid()
            os.dup2(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
            os.dup2(1, 2)
            job(*json.loads(line))
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


class Job:
    """A function `job(*arguments)` of a piece of Python, to be run in lives that may end early."""

    def __init__(self, code: str, log: Path) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "CUDA_VISIBLE_DEVICES": "",
        }
        self.log = log
        self._process = subprocess.Popen(
            [sys.executable, "-c", code + _LIVES, str(log)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("w"),
            text=True,
            env=environment,
            cwd=ROOT,
        )

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def start(self, *arguments: object) -> int:
        """Begins a life; its process id, which is also that of its group."""
        self._process.stdin.write(json.dumps([str(one) for one in arguments]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, self.log.read_text()[-3000:]
        return int(line)

    def end(self) -> int:
        """Waits for the end of the life: 0, or what it ended by as `subprocess` counts."""
        return os.waitstatus_to_exitcode(int(self._process.stdout.readline()))

    def live(self, *arguments: object) -> float:
        """A life that nobody disturbs, which has to end well; how many seconds it took."""
        self.start(*arguments)  # waits for the imports before the first one
        begun = time.monotonic()
        assert self.end() == 0, self.log.read_text()[-3000:]
        return time.monotonic() - begun


@dataclass
class Killed:
    """What was done to a job.

    Attributes:
        kills: lives that ended by a kill.
        while_writing: of them, those that left something half-written.
        resumed: chains of lives that ended well, each compared with the undisturbed one.
    """

    kills: int = 0
    while_writing: int = 0
    resumed: int = 0


def kill_again_and_again(
    job: Job,
    below: Path,
    result: Callable[[Path], Mapping[str, object]],
    half: Callable[[Path], set[str]],
    begin: Callable[[Path], object] = Path.mkdir,
    arguments: Sequence[object] = (),
    signal_to: Callable[[int], None] = lambda pid: os.killpg(pid, signal.SIGKILL),
) -> Killed:
    """Kill lives at random moments, going on where the last one was.

    Until `KILLS` have been, and one of them has met something half-written: for that, up to five times as many lives. A
    chain of lives that has ended well has to have the result of the life in `below / "undisturbed"`, which nobody
    kills. Every other kill waits for a random change of the folder instead of a random time, so that writing is met.

    Args:
        below: where each chain gets a folder; `job(folder, *arguments)` works in it.
        result: what a life that has ended well leaves in a folder; asserts that nothing else is there.
        half: the half-written things that are in a folder now.
        begin: makes the folder of a chain.
    """
    rng = random.Random(0)
    done = Killed()

    def fresh() -> Path:
        folder = below / f"chain{done.resumed}"
        begin(folder)
        return folder

    def check(folder: Path) -> None:
        found = result(folder)
        assert found.keys() == expected.keys(), found.keys() ^ expected.keys()
        assert [name for name in found if found[name] != expected[name]] == []
        done.resumed += 1

    begin(below / "undisturbed")
    seconds = job.live(below / "undisturbed", *arguments)
    expected = result(below / "undisturbed")
    assert expected
    folder, tries, changes = fresh(), 0, 1
    while done.kills < KILLS or (not done.while_writing and tries < 5 * KILLS):
        assert tries < 20 * KILLS, "the job ends before it can be killed"
        tries += 1
        before = _snapshot(folder)
        pid = job.start(folder, *arguments)
        if tries % 2:
            time.sleep(rng.uniform(0, seconds))
        else:
            changes = _wait_for_changes(pid, folder, before, rng.randint(1, max(changes, 1)), seconds * 3)
        with suppress(ProcessLookupError):
            signal_to(pid)
        status = job.end()
        if status == -signal.SIGKILL:
            done.kills += 1
            done.while_writing += bool(half(folder))
            continue
        assert status == 0, job.log.read_text()[-3000:]
        check(folder)
        folder = fresh()
    job.live(folder, *arguments)
    check(folder)
    print(done)
    return done


def _wait_for_changes(pid: int, folder: Path, before: object, wanted: int, seconds: float) -> int:
    """Until the folder has changed so often, or the time is over; how often the next wait may hope for."""
    seen, end = 0, time.monotonic() + seconds
    while seen < wanted and time.monotonic() < end and Path(f"/proc/{pid}").exists():
        now = _snapshot(folder)
        if now != before:
            seen, before = seen + 1, now
        time.sleep(0.0005)  # the job needs the processor
    return wanted + 5 if seen == wanted else max(seen, 1)


def _snapshot(folder: Path) -> dict[str, int]:
    found = {}
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(parent, name)
            try:
                found[path] = os.stat(path).st_size
            except OSError:
                found[path] = -1
    return found


def content(folder: Path) -> dict[str, bytes]:
    """All files below a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def hidden(folder: Path) -> set[str]:
    """What stands beside its place while it is written: `.NAME.building-…`, `.NAME.former-…`, `.NAME.<32 digits>`."""
    return {
        str(path.relative_to(folder)) for path in folder.rglob(".*") if path.suffix not in (".journal", ".normalize")
    }


def whole(folder: Path) -> dict[str, bytes]:
    """All files below a folder in which nothing is left half-written."""
    assert not hidden(folder)
    return content(folder)
