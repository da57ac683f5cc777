"""Memory and time of `llamafactory-gaze fixations --detect ivt` on simulated gaze at 1000 Hz.

    python -m benchmarks samples [--minutes 10 --minutes 60]

Each length (default 10 and 60 minutes) is written to a table without trials, hence the longest trial there is, and
read by the command in a process of its own, whose largest memory is taken. The peer is a script with the same steps of
pymovements, which has the whole table in memory at once. It takes about 2 minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.frame import Result
from llamafactory_gaze.data.maps.geometry import PAPER_SCREEN


COMMAND = "from llamafactory_gaze.cli import main; main()"
PEER = """
import sys, pandas
from pymovements.events import ivt
from pymovements.transforms.numpy import pix2deg, pos2vel
table = pandas.read_csv(sys.argv[1])
wide, high, wide_cm, away_cm = map(float, sys.argv[3:])
places = table[["x", "y"]].to_numpy()
degrees = pix2deg(places, (wide, high), (wide_cm, wide_cm * high / wide), away_cm, "upper left")
velocity = pos2vel(degrees, 1000, "savitzky_golay", window_length=11, polyorder=2)
ivt(velocity, minimum_duration=59, velocity_threshold=30.0).frame.write_csv(sys.argv[2])
"""


def write_gaze(path: Path, minutes: int) -> None:
    """Three fixations per second, at places spread over the screen of the paper, with a tracker's noise."""
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        file.write("time,image,participant,x,y\n")
        for second in range(60 * minutes):
            x, y = (np.repeat(rng.uniform(200, high, 4), 250) + rng.normal(0, 0.3, 1000) for high in (1700, 900))
            file.writelines(f"{1000 * second + i},i.png,p1,{x[i]:.1f},{y[i]:.1f}\n" for i in range(1000))


def run(code: str, arguments: list[str]) -> tuple[float, float]:
    """Seconds and MiB of a program."""
    begin = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"the command failed with {status}")
    return time.perf_counter() - begin, usage.ru_maxrss / 1024


def measure(
    minutes: Annotated[list[int], typer.Option(help="lengths of the longest trial")] = [10, 60],  # noqa: B006
) -> Iterator[Result]:
    screen = [*PAPER_SCREEN.size, PAPER_SCREEN.width_cm, PAPER_SCREEN.distance_cm]
    for length in minutes:
        with tempfile.TemporaryDirectory() as folder:
            gaze, output, simple = (Path(folder, name) for name in ("gaze.csv", "fixations.csv", "simple.csv"))
            write_gaze(gaze, length)
            arguments = ["fixations", str(gaze), "--output", str(output), "--detect", "ivt", "--screen", "paper"]
            ours = run(COMMAND, arguments)
            peer = run(PEER, [str(gaze), str(simple), *map(str, screen)])
            shape = {
                "samples": 60_000 * length,
                "fixations": sum(1 for _ in output.open()) - 1,
                "fixations_of_peer": sum(1 for _ in simple.open()) - 1,
            }
        named = ("llamafactory-gaze fixations --detect ivt", "pandas and pymovements, the whole table in memory")
        for what, unit, mine, other in zip(("time", "largest memory"), ("s", "MiB"), ours, peer, strict=True):
            yield Result(f"{what}, {length} minutes at 1000 Hz", unit, mine, other, *named, shape=shape)
