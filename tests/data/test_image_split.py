"""Splits: sizes, balance, and independence of the order, over many random data sets."""

from collections import Counter

import numpy as np
import pytest

from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.data.triples.split import hold_out


def test_balance_over_random_data_sets():
    rng = np.random.default_rng(6)
    for _ in range(200):
        sizes = rng.integers(1, 12, rng.integers(2, 6))
        categories = {f"{c}-{i}": f"c{c}" for c, size in enumerate(sizes) for i in range(size)}
        fraction = rng.uniform(0.05, 0.95)
        test = hold_out(categories, fraction, seed=1)
        total = min(max(round(len(categories) * fraction), 1), len(categories) - 1)
        assert len(test) == total and test < set(categories)
        counts = Counter(categories[image] for image in test)
        for c, size in enumerate(sizes):  # no category is further than one image from its share
            assert abs(counts[f"c{c}"] - size * total / len(categories)) < 1


def test_the_order_does_not_matter_and_the_seed_does():
    categories = {f"{i:02d}": "AB"[i % 2] for i in range(30)}
    splits = {seed: hold_out(categories, 0.3, seed) for seed in range(5)}
    assert splits[3] == hold_out(dict(reversed(categories.items())), 0.3, 3)
    assert len({frozenset(test) for test in splits.values()}) == 5


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 25, float("nan")])
def test_refuses_fractions(fraction):
    with pytest.raises(DataError, match="between 0 and 1"):
        hold_out({"a": "x", "b": "x"}, fraction, 0)


def test_refuses_a_single_image():
    with pytest.raises(DataError, match="at least two images with usable rows, found 1"):
        hold_out({"a": "x"}, 0.5, 0)
