"""How long the permutations of a report take: 10 metrics, all captions and 5 categories, 9,999 flips by image.

    python benchmarks/permutations.py

Simulated differences in the paper's design, 778 captions of 30 images by 29 people, whose categories have 6 images and
so only 64 flips; and in one of 100 images, where no category is exact. Compared with scipy's `permutation_test` called
once for each test, with a loop over the flips, in the same process; p values must agree.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from scipy.stats import permutation_test

from eval.statistics.permutation import RESAMPLES, SEED, image_flip


METRICS, CATEGORIES, LIMIT_S = 10, 5, 3


def made_up(n_images: int, captions: int) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """Differences (metrics, rows), and for all captions and each category the rows and the numbers of their images."""
    rng = np.random.default_rng(0)
    image = np.sort(rng.choice(n_images * 29, captions, replace=False)) // 29
    of_image = 0.3 * rng.normal(size=(METRICS, n_images))[:, image]
    differences = 0.02 + 0.1 * (of_image + rng.normal(size=(METRICS, captions)))
    masks = [np.ones(captions, bool), *(image % CATEGORIES == category for category in range(CATEGORIES))]
    return differences, [(mask, np.unique(image[mask], return_inverse=True)[1]) for mask in masks]


def looped(values: np.ndarray) -> float:
    """scipy's test of one sample, flip by flip."""
    return permutation_test(
        (values,),
        np.sum,
        permutation_type="samples",
        vectorized=False,
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(SEED),
    ).pvalue


def seconds(work: Callable[[], list[np.ndarray]]) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, np.array(found)


def compare(n_images: int, captions: int) -> None:
    differences, cells = made_up(n_images, captions)
    ours, p = seconds(lambda: [image_flip(differences[:, mask], images)[0] for mask, images in cells])
    loop, p_loop = seconds(
        lambda: [np.array([looped(np.bincount(images, row)) for row in differences[:, mask]]) for mask, images in cells]
    )
    verdict = "below" if ours < LIMIT_S else "NOT below"
    print(
        f"{captions} captions of {n_images} images, {METRICS} metrics x {len(cells)} cells x {RESAMPLES:,} flips: "
        f"{ours:.2f} s, {verdict} {LIMIT_S} s; scipy flip by flip {loop:.2f} s, ratio {loop / ours:.1f}; "
        f"p apart by at most {abs(p - p_loop).max():.1e}"
    )


def main() -> None:
    looped(np.arange(3.0))  # imports
    compare(30, 778)
    compare(100, 2600)


if __name__ == "__main__":
    main()
