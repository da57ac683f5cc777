"""Maps that tell nothing of an image: uniform, and the usual bias to the middle."""

import math

import numpy as np
import pytest

from llamafactory_gaze.saliency.controls import CONTROLS, center, uniform


def random_map(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return 0.8 * np.random.default_rng(seed).random((size[1], size[0]), dtype=np.float32)


@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_is_a_map_of_the_same_kind(control):
    saliency = random_map((9, 7))
    before = saliency.copy()
    changed = CONTROLS[control](saliency)
    assert changed.shape == saliency.shape and changed.dtype == saliency.dtype
    assert changed.min() >= 0 and changed.max() <= 1
    np.testing.assert_array_equal(saliency, before)
    assert not CONTROLS[control](np.zeros((4, 6), dtype=np.float32)).any()  # a black map stays black


def test_uniform_is_the_mean_everywhere():
    saliency = np.array([[0.0, 0.25], [0.25, 0.5]], dtype=np.float32)
    np.testing.assert_array_equal(uniform(saliency), np.full((2, 2), 0.25, dtype=np.float32))


@pytest.mark.parametrize("size", [(9, 7), (8, 12), (5, 5)])
def test_center_is_the_gaussian_of_clarke_and_tatler(size):
    """Variance 0.22 in half-widths of the image; vertically 0.45 of it."""
    width, height = size
    saliency = random_map(size)
    bias = {}
    for row in range(height):
        for column in range(width):
            x = (column + 0.5 - width / 2) / (width / 2)
            y = (row + 0.5 - height / 2) / (width / 2)  # in half-widths, too
            bias[row, column] = math.exp(-(x * x) / 0.44 - y * y / (2 * 0.22 * 0.45))
    scale = float(saliency.max()) / max(bias.values())
    found = center(saliency)
    for (row, column), value in bias.items():
        assert found[row, column] == pytest.approx(value * scale, abs=1e-6)


@pytest.mark.parametrize("size", [(9, 7), (8, 12), (101, 51)])
def test_center_peaks_in_the_middle_and_keeps_the_maximum(size):
    width, height = size
    saliency = random_map(size)
    found = center(saliency)
    assert found.max() == pytest.approx(saliency.max())
    rows, columns = np.nonzero(found == found.max())
    assert set(rows) == {(height - 1) // 2, height // 2} and set(columns) == {(width - 1) // 2, width // 2}
    np.testing.assert_allclose(found, found[::-1, ::-1], atol=1e-6)


def test_center_depends_on_nothing_but_the_maximum():
    first, second = random_map((9, 7), 0), random_map((9, 7), 1)
    second *= first.max() / second.max()
    np.testing.assert_allclose(center(first), center(second), atol=1e-6)
