"""How long the permutations of a report take: 10 metrics, all captions and 5 categories, 9,999 flips by image.

    python -m benchmarks permutations

Simulated differences in the paper's design, 778 captions of 30 images by 29 people, whose categories have 6 images and
so only 64 flips; and in one of 100 images, where no category is exact. Compared with scipy's `permutation_test` called
once for each test, with a loop over the flips, in the same process; p values must agree.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.stats import permutation_test

from benchmarks.frame import Result, seconds
from eval.statistics.permutation import RESAMPLES, SEED, image_flip


METRICS, CATEGORIES = 10, 5
LIMIT_S = 3  # of a report's permutations


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


def compare(n_images: int, captions: int) -> Result:
    differences, cells = made_up(n_images, captions)
    ours, p = seconds(lambda: [image_flip(differences[:, mask], images)[0] for mask, images in cells])
    loop, p_loop = seconds(
        lambda: [np.array([looped(np.bincount(images, row)) for row in differences[:, mask]]) for mask, images in cells]
    )
    apart = float(abs(np.array(p) - np.array(p_loop)).max())
    return Result(
        f"{captions} captions of {n_images} images", "s", ours, loop, "all tests at once", "scipy, flip by flip",
        shape={"metrics": METRICS, "cells": len(cells), "flips": RESAMPLES, "p_apart": apart, "limit_s": LIMIT_S},
    )  # fmt: skip


def measure() -> Iterator[Result]:
    looped(np.arange(3.0))  # imports
    yield compare(30, 778)
    yield compare(100, 2600)
