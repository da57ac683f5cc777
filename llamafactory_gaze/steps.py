"""Runs an experiment as steps: stock commands that need one another, some side by side, resumable at any point.

A step that has ended well is not run again unless its command, a file that it reads, or a step before it has changed.
One that was killed begins anew, or goes on from its last checkpoint where LLaMA-Factory has saved one.
"""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from llamafactory_gaze.data.folders import hold, remove_partial_files
from llamafactory_gaze.data.registry import write_atomically
from llamafactory_gaze.integration.checkpoints import set_aside_incomplete
from llamafactory_gaze.os_errors import FULL, in_words, named


WHOLE_FILE = 64 * 2**20  # bytes; of a larger file, such as a real model's weights, size and time stand for its content

CPU = {
    "OMP_NUM_THREADS": "1",  # tiny models gain nothing from more, and steps run side by side
    "HF_HUB_OFFLINE": "1",
    "CUDA_VISIBLE_DEVICES": "",
}


@dataclass
class Step:
    """One command.

    Attributes:
        name: unique.
        command: its words.
        result: the folder that the command fills.
        log: file for what the command prints; the marks of a step begun or done stand beside it.
        needs: names of the steps that must have ended well before.
        inputs: files and folders that it reads, apart from the results of `needs`.
        environment: variables that it gets beside our own.
    """

    name: str
    command: list[str]
    result: Path
    log: Path
    needs: tuple[str, ...] = ()
    inputs: tuple[Path, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


class StepFailed(Exception):
    """A command ended with an error; the message holds the end of its log."""


def llamafactory(recipe: Path, values: dict[str, Any]) -> list[str]:
    """The stock command for a recipe with some keys set otherwise."""
    return [executable("llamafactory-cli"), "train", str(recipe), *(f"{k}={as_yaml(v)}" for k, v in values.items())]


def as_yaml(value: Any) -> str:
    """A value as it is written behind `key=` on LLaMA-Factory's command line."""
    if isinstance(value, str | Path):
        return str(value)
    # not json.dumps: YAML takes its 1e-05 for a text
    return yaml.safe_dump(value, default_flow_style=True, width=sys.maxsize).removesuffix("...\n").strip()


def executable(name: str) -> str:
    """A command of the environment that runs us, activated or not."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else name


def run_steps(steps: Sequence[Step], jobs: int, console: Console, stop_at_failure: bool) -> dict[str, str]:
    """Runs all steps, each once those that it needs have ended well.

    Args:
        jobs: commands that run at the same time.
        stop_at_failure: begin nothing new after a failure, instead of all that does not need the failed step.

    Returns:
        for each step that has not ended well a sentence that says why.
    """
    runner = _Runner(steps, console)
    waiting, failed = list(steps), runner.failed
    stopped = False
    with runner.progress, ThreadPoolExecutor(jobs) as pool:
        running: dict[Future[None], Step] = {}
        try:
            while waiting or running:
                for step in list(waiting):
                    if lost := [name for name in step.needs if name in failed]:
                        waiting.remove(step)
                        failed[step.name] = f"not run, since {lost[0]} failed"
                    elif not stopped and len(running) < jobs and runner.done.issuperset(step.needs):
                        waiting.remove(step)
                        running[pool.submit(runner.run, step)] = step
                if not running:
                    break
                for future in wait(running, timeout=1.0, return_when=FIRST_COMPLETED).done:
                    step = running.pop(future)
                    try:
                        future.result()
                        runner.done.add(step.name)
                    except StepFailed as failure:
                        failed[step.name] = str(failure)
                        stopped = stop_at_failure
                runner.show(running.values())
        except BaseException:
            runner.cancelled.set()
            raise
    return failed | {step.name: "not run" for step in waiting}


class _Runner:
    def __init__(self, steps: Sequence[Step], console: Console) -> None:
        self.console = console
        self.done: set[str] = set()
        self.failed: dict[str, str] = {}
        self.cancelled = threading.Event()
        self.keys: dict[str, str] = {}  # each changes with the step's command, what it reads, or a step before it
        content = cache(_content)  # most steps read the same files
        for step in steps:
            read = [content(path) for path in step.inputs]
            needed = [self.keys[name] for name in step.needs]
            self.keys[step.name] = hashlib.sha256("\0".join([*step.command, *read, *needed]).encode()).hexdigest()
        self.width = max((len(step.name) for step in steps), default=0)
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        self.whole = self.progress.add_task("all steps", total=len(steps))
        self.bars: dict[str, TaskID] = {}

    def run(self, step: Step) -> None:
        """One step, unless it has ended well before."""
        log = step.log
        log.parent.mkdir(parents=True, exist_ok=True)
        with named(log.parent), log.with_suffix(".lock").open("a") as lock:
            self._wait_for_others(step, lock.fileno())
            self._run_alone(step, lock.fileno())

    def _wait_for_others(self, step: Step, lock: int) -> None:
        """Until the command of an earlier call has ended, which outlives a kill of that call, or of one beside us.

        Raises:
            StepFailed: the whole call ends before.
        """
        said = False
        while not hold(lock, wait=False):
            if not said:
                self.console.print(
                    f"  {step.name:<{self.width}} waits: its command of another call, perhaps of a killed one, is "
                    f"still at work, log in {step.log}",
                    soft_wrap=True,
                )
                said = True
            if self.cancelled.wait(0.2):
                raise StepFailed("not run")

    def _run_alone(self, step: Step, lock: int) -> None:
        log, key = step.log, self.keys[step.name]
        mark, begun = log.with_suffix(".done"), log.with_suffix(".begun")
        if mark.exists() and mark.read_text() == key and step.result.exists():
            self.console.print(f"  {step.name:<{self.width}} done before")
            return
        mark.unlink(missing_ok=True)
        for said in set_aside_incomplete(step.result):
            self.console.print(f"  {step.name:<{self.width}} {said}", markup=False, soft_wrap=True)
        resumes = begun.exists() and begun.read_text() == key and any(step.result.glob("checkpoint-*"))
        if not resumes:  # LLaMA-Factory refuses a folder that a killed run has left without a checkpoint
            shutil.rmtree(step.result, ignore_errors=True)
        begun.write_text(key)
        said = "goes on from its last checkpoint" if resumes else "running"
        self.console.print(f"  {step.name:<{self.width}} {said}, log in {log}", soft_wrap=True)
        started = time.monotonic()
        call(step.command, log, self.cancelled, step.environment, (lock,))
        mark.write_text(key)
        begun.unlink()
        self.console.print(f"  {step.name:<{self.width}} {time.monotonic() - started:.0f} s")

    def show(self, running: Iterable[Step]) -> None:
        """Brings the bars up to date, from what LLaMA-Factory logs of its training steps."""
        self.progress.update(self.whole, completed=len(self.done) + len(self.failed))
        names = {step.name: step for step in running}
        for name in [name for name in self.bars if name not in names]:
            self.progress.remove_task(self.bars.pop(name))
        for name, step in names.items():
            if name not in self.bars:
                self.bars[name] = self.progress.add_task(name, total=None)
            try:
                last = json.loads((step.result / "trainer_log.jsonl").read_text().splitlines()[-1])
                self.progress.update(self.bars[name], completed=last["current_steps"], total=last["total_steps"])
            except (OSError, IndexError, KeyError, ValueError):
                continue  # no training, or none of its steps logged yet


def call(
    command: list[str],
    log: Path,
    cancelled: threading.Event,
    environment: dict[str, str],
    held: tuple[int, ...] = (),
) -> None:
    """Runs a command with its output in a log.

    Args:
        held: descriptors of locks that the command holds as long as it runs.

    Raises:
        StepFailed: it cannot be run, or ended with an error; the message holds the end of the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    variables = {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", **environment}
    with log.open("w") as stream:
        try:
            process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env=variables, pass_fds=held)
        except OSError as error:
            raise StepFailed(f"`{command[0]}` cannot be run ({error}).") from error
        while process.poll() is None:
            if cancelled.wait(0.2):
                process.terminate()
                process.wait()
    if process.returncode:
        full = shutil.disk_usage(log.parent).free < FULL
        said = f" {in_words(OSError(errno.ENOSPC, '', str(log.parent)))}" if full else ""
        end = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
        raise StepFailed(f"`{' '.join(command)}` ended with code {process.returncode}.{said} The end of {log}:\n{end}")


def write_whole(target: Path, text: str) -> None:
    """The file appears whole or not at all."""
    content = text.encode()
    remove_partial_files(target.parent, target.name)
    write_atomically(target, content)


def _content(path: Path) -> str:
    """Changes when a file does, or a file in a folder."""
    if path.is_dir():
        return " ".join(
            f"{file.relative_to(path)}:{_content(file)}" for file in sorted(path.rglob("*")) if file.is_file()
        )
    if not path.exists():
        return "missing"
    stat = path.stat()
    if stat.st_size > WHOLE_FILE:
        return f"{stat.st_size}:{stat.st_mtime_ns}"
    return hashlib.sha256(path.read_bytes()).hexdigest()
