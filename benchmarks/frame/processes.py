"""Clocks, and processes of their own for what must not share memory with anything else."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any


def in_child(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of a module returns in a new process, which starts without anything of this one."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def peak_mib() -> float:
    """The largest memory that this process has had, in MiB.

    (`ru_maxrss` would be inherited from a larger parent, even through `exec`.)
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """How long a call takes, and what it returns."""
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def median_seconds(works: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """The median of each of several calls, taken in turns after a first of each: a slow minute hits them all.

    With 0 repeats the first of each is all there is, for calls of minutes.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    for i in range(repeats + 1):
        for name, work in works.items():
            taken, _ = seconds(work)
            if i or not repeats:
                times[name].append(taken)
    return {name: statistics.median(taken) for name, taken in times.items()}
