"""Heatmaps against a direct sum over pixels, and the round trip through the file."""

import math

import numpy as np
import pytest

from llamafactory_gaze.data.heatmaps import encode_map, fixation_heatmap
from llamafactory_gaze.saliency import read_saliency_map


def direct_sum(x, y, weight, size, sigma):
    """Pixel by pixel, without any cleverness."""
    result = np.zeros((size[1], size[0]))
    for row in range(size[1]):
        for column in range(size[0]):
            for at_x, at_y, amount in zip(x, y, weight, strict=True):
                distance = (column - at_x) ** 2 + (row - at_y) ** 2
                result[row, column] += amount * math.exp(-distance / (2 * sigma**2))
    return result / result.max()


@pytest.mark.parametrize("sigma", [1.0, 2.7, 9.0, 60.0])
def test_equals_the_direct_sum(sigma):
    rng = np.random.default_rng(4)
    size = (41, 23)
    x = np.concatenate([rng.uniform(0, 40, 6), [-0.5, 40.5, 0, 40]])  # the last four at the corners and borders
    y = np.concatenate([rng.uniform(0, 22, 6), [-0.5, 22.5, 22, 11.3]])
    weight = rng.uniform(0, 900, 10)
    heatmap = fixation_heatmap(x, y, weight, size, sigma)
    assert heatmap.shape == (23, 41) and heatmap.dtype == np.float32
    assert heatmap.max() == 1 and heatmap.min() >= 0
    assert np.abs(heatmap - direct_sum(x, y, weight, size, sigma)).max() < 1e-6


def test_the_peak_lies_on_the_fixation():
    heatmap = fixation_heatmap(np.array([30.0]), np.array([5.0]), np.array([7.0]), (64, 20), 3.0)
    assert np.unravel_index(heatmap.argmax(), heatmap.shape) == (5, 30)
    assert heatmap[5, 33] == pytest.approx(math.exp(-0.5), abs=1e-6)  # one sigma to the right
    assert heatmap[11, 30] == pytest.approx(math.exp(-2.0), abs=1e-6)  # two sigma below


def test_twice_as_long_counts_twice():
    heatmap = fixation_heatmap(np.array([10.0, 90.0]), np.array([10.0, 10.0]), np.array([200, 100]), (100, 20), 4.0)
    assert heatmap[10, 10] == 1 and heatmap[10, 90] == pytest.approx(0.5, abs=1e-6)


def test_refuses_what_has_no_map():
    one = np.array([1.0])
    with pytest.raises(ValueError, match="at least one fixation"):
        fixation_heatmap(np.array([]), np.array([]), np.array([]), (8, 8), 2.0)
    with pytest.raises(ValueError, match="at least one fixation"):
        fixation_heatmap(one, one, 0 * one, (8, 8), 2.0)
    for sigma in (0.5, 0.0, -3.0, math.nan):
        with pytest.raises(ValueError, match="at least 1 pixel"):
            fixation_heatmap(one, one, one, (8, 8), sigma)


def test_the_file_keeps_the_map_to_16_bits_and_its_bytes_are_stable():
    rng = np.random.default_rng(5)
    heatmap = fixation_heatmap(rng.uniform(0, 90, 5), rng.uniform(0, 60, 5), np.ones(5), (91, 61), 6.0)
    content = encode_map(heatmap)
    assert content == encode_map(heatmap.copy())
    assert np.abs(read_saliency_map(content) - heatmap).max() <= 0.5 / 65535 + 1e-7
    assert read_saliency_map(content).max() == 1
