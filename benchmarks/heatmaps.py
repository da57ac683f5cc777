"""Time per full-HD map of made-up fixations: ours against scipy's Gaussian filter and PIL's PNG, and the whole command.

    python benchmarks/heatmaps.py [MAPS]

First both sides draw and encode 5 maps at each of two numbers of fixations, in this one process; no file is written.
Then `llamafactory-gaze heatmaps --jobs 2` makes MAPS maps (default 870, about 1.5 GB) of 45 fixations each in a
temporary folder. Set OMP_NUM_THREADS=1 to compare single cores in the first part.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

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


def seconds(draw: Callable[[Fixations], np.ndarray], recordings: list[Fixations]) -> float:
    start = time.perf_counter()
    for fixations in recordings:
        draw(fixations)
    return (time.perf_counter() - start) / len(recordings)


def compare(rng: np.random.Generator) -> None:
    for fixations in (OF_ONE, OF_ALL):
        recordings = [recording(rng, fixations) for _ in range(5)]
        apart = np.abs(ours(recordings[0]) - filtered(recordings[0])).max()
        fast, slow = seconds(ours, recordings), seconds(filtered, recordings)
        print(
            f"{fixations} fixations: ours {1000 * fast:.0f} ms per map, scipy and PIL {1000 * slow:.0f} ms, "
            f"ratio {slow / fast:.1f}; they differ by {apart:.1e} of the maximum"
        )


def whole_command(rng: np.random.Generator, maps: int) -> None:
    """The real command, from the table of fixations to the files in their place."""
    with TemporaryDirectory() as folder:
        table, output = Path(folder, "fixations.csv"), Path(folder, "maps")
        with table.open("w", encoding="utf-8") as file:
            file.write("image,participant,x,y,duration_ms\n")
            for i in range(maps):
                for x, y, duration in zip(*recording(rng, OF_ONE), strict=True):
                    file.write(f"{i:04}.png,p1,{x},{y},{duration:.0f}\n")
        command = [sys.executable, "-c", "from llamafactory_gaze.cli import main; main()", "heatmaps", str(table)]
        start, former = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*command, "--screen", "paper", "--jobs", "2", "--output", str(output)], check=True)
        wall, used = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        assert len(list(output.glob("*.png"))) == maps
    cpu = used.ru_utime + used.ru_stime - former.ru_utime - former.ru_stime
    verdict = "below" if wall < LIMIT_S else "NOT below"
    print(
        f"{maps} maps of {OF_ONE} fixations by the command with --jobs 2: {wall:.1f} s, {verdict} {LIMIT_S} s; "
        f"{cpu:.1f} s of processor time, {1000 * cpu / maps:.0f} ms per map"
    )


def main() -> None:
    rng = np.random.default_rng(0)
    compare(rng)
    whole_command(rng, int(sys.argv[1]) if len(sys.argv) > 1 else 870)


if __name__ == "__main__":
    main()
