"""Memory and time of `llamafactory-gaze fixations --detect ivt` on simulated gaze at 1000 Hz.

    python benchmarks/samples.py [MINUTES ...]

Each length (default 10 and 60 minutes) is written to a table without trials, hence the longest trial there is, and
read by the command in a process of its own, whose largest memory is shown. It takes about 2 minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np


COMMAND = "from llamafactory_gaze.cli import main; main()"


def write_gaze(path: Path, minutes: int) -> None:
    """Three fixations per second, at places spread over the screen of the paper, with a tracker's noise."""
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        file.write("time,image,participant,x,y\n")
        for second in range(60 * minutes):
            x, y = (np.repeat(rng.uniform(200, high, 4), 250) + rng.normal(0, 0.3, 1000) for high in (1700, 900))
            file.writelines(f"{1000 * second + i},i.png,p1,{x[i]:.1f},{y[i]:.1f}\n" for i in range(1000))


def main() -> None:
    for minutes in [int(argument) for argument in sys.argv[1:]] or [10, 60]:
        with tempfile.TemporaryDirectory() as folder:
            gaze, output = Path(folder) / "gaze.csv", Path(folder) / "fixations.csv"
            write_gaze(gaze, minutes)
            arguments = ["fixations", str(gaze), "--output", str(output), "--detect", "ivt", "--screen", "paper"]
            begin = time.perf_counter()
            process = subprocess.Popen([sys.executable, "-c", COMMAND, *arguments], stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - begin
            if status:
                sys.exit(f"the command failed with {status}")
            count = sum(1 for _ in output.open()) - 1
            size = gaze.stat().st_size / 1e6
        print(
            f"{minutes:3} minutes, {60_000 * minutes:9,} samples, {size:5.0f} MB: {count:6} fixations, "
            f"{seconds:5.1f} s, largest memory {usage.ru_maxrss / 1024:.0f} MiB"
        )


if __name__ == "__main__":
    main()
