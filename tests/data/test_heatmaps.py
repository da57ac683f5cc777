"""Heatmaps against a direct sum over pixels, their symmetries, and the round trip through the file."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamafactory_gaze.data.maps.geometry import map_size, rescale
from llamafactory_gaze.data.maps.heatmaps import encode_map, fixation_heatmap
from llamafactory_gaze.saliency import read_saliency_map


properties = settings(deadline=None, derandomize=True, max_examples=60)

sides = st.integers(1, 60)
sigmas = st.floats(1, 80)


@st.composite
def cases(draw, reach):
    """x, y, weight, size and sigma; a fixation lies at most `reach` standard deviations beyond the border."""
    size, sigma = (draw(sides), draw(sides)), (draw(sigmas), draw(sigmas))
    n = draw(st.integers(1, 6))

    def along(axis):
        margin = 0.5 + reach * sigma[axis]
        return np.array(draw(st.lists(st.floats(-margin, size[axis] - 1 + margin), min_size=n, max_size=n)))

    weight = np.array(draw(st.lists(st.floats(0.01, 1000), min_size=n, max_size=n)))
    return along(0), along(1), weight, size, sigma


def direct_sum(x, y, weight, size, sigma):
    """In float64, pixel by pixel and fixation by fixation; scaled before the sum, so that nothing underflows."""
    rows, columns = np.mgrid[: size[1], : size[0]]
    exponents = [
        math.log(amount) - ((columns - at_x) / sigma[0]) ** 2 / 2 - ((rows - at_y) / sigma[1]) ** 2 / 2
        for at_x, at_y, amount in zip(x, y, weight, strict=True)
    ]
    total = sum(np.exp(exponent - np.max(exponents)) for exponent in exponents)
    return total / total.max()


@properties
@given(cases(reach=0) | cases(reach=3) | cases(reach=200))
def test_equals_the_direct_sum_of_any_fixations_also_beyond_the_border(case):
    heatmap = fixation_heatmap(*case)
    assert heatmap.shape == case[3][::-1] and heatmap.dtype == np.float32
    assert heatmap.max() == 1 and heatmap.min() >= 0
    assert np.abs(heatmap - direct_sum(*case)).max() < 1e-5
    assert np.abs(read_saliency_map(encode_map(heatmap)) - direct_sum(*case)).max() < 1e-4


@properties
@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 300), st.floats(1, 60))
def test_the_middle_of_the_image_is_the_middle_of_its_map(width, height, longest_side, sigma):
    size = map_size((width, height), longest_side)
    x, y = (
        rescale(np.array([(side - 1) / 2]), side, of_map) for side, of_map in zip((width, height), size, strict=True)
    )
    heatmap = fixation_heatmap(x, y, np.ones(1), size, sigma)
    rows, columns = np.nonzero(heatmap >= 1 - 1e-6)
    # One pixel of an odd side, the two in the middle of an even one.
    assert set(columns) == {(size[0] - 1) // 2, size[0] // 2} and set(rows) == {(size[1] - 1) // 2, size[1] // 2}


@properties
@given(cases(reach=0), st.integers(0, 30), st.integers(0, 30))
def test_a_map_moves_with_its_fixations(case, right, down):
    x, y, weight, (width, height), sigma = case
    moved = fixation_heatmap(x + right, y + down, weight, (width + right, height + down), sigma)[down:, right:]
    np.testing.assert_allclose(moved / moved.max(), fixation_heatmap(*case), atol=1e-5)


@properties
@given(cases(reach=3))
def test_mirrored_and_turned_fixations_give_the_mirrored_and_turned_map(case):
    x, y, weight, (width, height), (sigma_x, sigma_y) = case
    heatmap = fixation_heatmap(*case)
    mirrored = fixation_heatmap(width - 1 - x, y, weight, (width, height), (sigma_x, sigma_y))
    np.testing.assert_allclose(mirrored, heatmap[:, ::-1], atol=1e-5)
    upside_down = fixation_heatmap(x, height - 1 - y, weight, (width, height), (sigma_x, sigma_y))
    np.testing.assert_allclose(upside_down, heatmap[::-1], atol=1e-5)
    transposed = fixation_heatmap(y, x, weight, (height, width), (sigma_y, sigma_x))
    np.testing.assert_allclose(transposed, heatmap.T, atol=1e-5)


def test_the_peak_lies_on_the_fixation():
    heatmap = fixation_heatmap(np.array([30.0]), np.array([5.0]), np.array([7.0]), (64, 20), 3.0)
    assert np.unravel_index(heatmap.argmax(), heatmap.shape) == (5, 30)
    assert heatmap[5, 33] == pytest.approx(math.exp(-0.5), abs=1e-6)  # one sigma to the right
    assert heatmap[11, 30] == pytest.approx(math.exp(-2.0), abs=1e-6)  # two sigma below


def test_more_fixations_than_go_through_memory_at_once():
    rng = np.random.default_rng(9)
    x, y, weight = rng.uniform(-5, 45, 20_001), rng.uniform(0, 30, 20_001), rng.uniform(0, 9, 20_001)
    weight[-1] = 1e3  # a part of the sum that is left out would show
    rows, columns = np.mgrid[:30, :40]
    total = sum(w * np.exp(-((columns - a) ** 2 + (rows - b) ** 2) / 8) for a, b, w in zip(x, y, weight, strict=True))
    assert np.abs(fixation_heatmap(x, y, weight, (40, 30), 2.0) - total / total.max()).max() < 1e-5


def test_twice_as_long_counts_twice():
    heatmap = fixation_heatmap(np.array([10.0, 90.0]), np.array([10.0, 10.0]), np.array([200, 100]), (100, 20), 4.0)
    assert heatmap[10, 10] == 1 and heatmap[10, 90] == pytest.approx(0.5, abs=1e-6)


def test_without_a_weight_a_fixation_is_as_if_it_were_not_there():
    alone = fixation_heatmap(np.array([3.0]), np.array([4.0]), np.array([5.0]), (20, 10), 2.0)
    both = fixation_heatmap(np.array([15.0, 3.0]), np.array([8.0, 4.0]), np.array([0.0, 5.0]), (20, 10), 2.0)
    np.testing.assert_array_equal(both, alone)


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
