"""Time per full-HD map of made-up fixations: ours against scipy's Gaussian filter and PIL's PNG, and the whole command.

    python -m benchmarks heatmaps [--maps 870]

First both sides draw and encode 5 maps at each of two numbers of fixations, in this one process; no file is written.
Then `llamafactory-gaze heatmaps --jobs 2` makes 870 maps (about 1.5 GB) of 45 fixations each in a
temporary folder. Set OMP_NUM_THREADS=1 to compare single cores in the first part.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from scipy.ndimage import gaussian_filter

from benchmarks.frame import Result, seconds
from llamafactory_gaze.data.maps.geometry import PAPER_SCREEN
from llamafactory_gaze.data.maps.heatmaps import encode_map, fixation_heatmap


Fixations = tuple[np.ndarray, np.ndarray, np.ndarray]  # x, y, weight
SIZE = PAPER_SCREEN.size
SIGMA = PAPER_SCREEN.pixels_per_degree
OF_ONE, OF_ALL = 45, 1300  # fixations of one participant in 15 seconds, and of all 29
LIMIT_S = 60  # for 870 maps on 2 cores


def ours(fixations: Fixations) -> np.ndarray:
    saliency = fixation_heatmap(*fixations, SIZE, SIGMA)
    encode_map(saliency)
    return saliency


def filtered(fixations: Fixations) -> np.ndarray:
    x, y, weight = fixations
    counts = np.zeros(SIZE[::-1])
    np.add.at(counts, (y.astype(int), x.astype(int)), weight)
    saliency = gaussian_filter(counts, SIGMA, mode="constant")
    saliency /= saliency.max()
    Image.fromarray(np.round(saliency * 65535).astype(np.uint16)).save(BytesIO(), "PNG")
    return saliency


def recording(rng: np.random.Generator, fixations: int) -> Fixations:
    # On whole pixels: the filter has no others, and both must draw the same.
    return *(rng.integers(0, side, fixations) for side in SIZE), rng.uniform(100, 600, fixations)


def per_map(draw: Callable[[Fixations], np.ndarray], recordings: list[Fixations]) -> float:
    return seconds(lambda: [draw(fixations) for fixations in recordings])[0] / len(recordings)


def whole_command(rng: np.random.Generator, maps: int) -> float:
    """Seconds of the real command, from the table of fixations to the files in their place."""
    with TemporaryDirectory() as folder:
        table, output = Path(folder, "fixations.csv"), Path(folder, "maps")
        with table.open("w", encoding="utf-8") as file:
            file.write("image,participant,x,y,duration_ms\n")
            for i in range(maps):
                for x, y, duration in zip(*recording(rng, OF_ONE), strict=True):
                    file.write(f"{i:04}.png,p1,{x},{y},{duration:.0f}\n")
        command = [sys.executable, "-c", "from llamafactory_gaze.cli import main; main()", "heatmaps", str(table)]
        command += ["--screen", "paper", "--jobs", "2", "--output", str(output)]
        taken, _ = seconds(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))
        assert len(list(output.glob("*.png"))) == maps
    return taken


def measure(maps: Annotated[int, typer.Option(help="of the whole command")] = 870) -> Iterator[Result]:
    rng = np.random.default_rng(0)
    peer: dict[int, float] = {}
    for fixations in (OF_ONE, OF_ALL):
        recordings = [recording(rng, fixations) for _ in range(5)]
        apart = float(np.abs(ours(recordings[0]) - filtered(recordings[0])).max())
        peer[fixations] = per_map(filtered, recordings)
        yield Result(
            f"a map of {fixations} fixations", "ms", 1000 * per_map(ours, recordings), 1000 * peer[fixations],
            "one map in memory", "scipy's Gaussian filter and PIL's PNG", shape={"apart": apart},
        )  # fmt: skip
    wall = whole_command(rng, maps)
    yield Result(
        f"the whole command, a map of {OF_ONE} fixations", "ms", 1000 * wall / maps, 1000 * peer[OF_ONE],
        "llamafactory-gaze heatmaps --jobs 2", "scipy's Gaussian filter and PIL's PNG, in one thread, no file",
        shape={"seconds": round(wall, 1), "limit_s_for_870": LIMIT_S},
    )  # fmt: skip
