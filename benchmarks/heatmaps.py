"""Time per full-HD map: ours against scipy's Gaussian filter and PIL's default PNG, on the same made-up fixations.

    python benchmarks/heatmaps.py [MAPS]

Both sides draw and encode MAPS maps (default 5) at each of two numbers of fixations, in this one process; files are not
written. Set OMP_NUM_THREADS=1 to compare single cores.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from llamafactory_gaze.data.geometry import PAPER_SCREEN
from llamafactory_gaze.data.heatmaps import encode_map, fixation_heatmap


Fixations = tuple[np.ndarray, np.ndarray, np.ndarray]  # x, y, weight
SIZE = PAPER_SCREEN.size
SIGMA = PAPER_SCREEN.pixels_per_degree


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


def seconds(draw: Callable[[Fixations], np.ndarray], recordings: list[Fixations]) -> float:
    start = time.perf_counter()
    for fixations in recordings:
        draw(fixations)
    return (time.perf_counter() - start) / len(recordings)


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    rng = np.random.default_rng(0)
    for fixations in (45, 1300):  # of one participant in 15 seconds, and of all 29
        recordings = [
            # On whole pixels: the filter has no others, and both must draw the same.
            (*(rng.integers(0, side, fixations) for side in SIZE), rng.uniform(100, 600, fixations))
            for _ in range(number)
        ]
        apart = np.abs(ours(recordings[0]) - filtered(recordings[0])).max()
        fast, slow = seconds(ours, recordings), seconds(filtered, recordings)
        print(
            f"{fixations} fixations: ours {1000 * fast:.0f} ms per map, scipy and PIL {1000 * slow:.0f} ms, "
            f"ratio {slow / fast:.1f}; they differ by {apart:.1e} of the maximum; "
            f"870 maps on one core {870 * fast:.0f} s"
        )


if __name__ == "__main__":
    main()
