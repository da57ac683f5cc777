"""Gaze as a sentence: the peaks of a map, found again where they were put."""

import re

import numpy as np
import pytest

from llamafactory_gaze.saliency.points import gaze_points, gaze_sentence


WIDTH, HEIGHT = 320, 240


def blobs(*peaks: tuple[float, float, float], radius: float = 12, size=(WIDTH, HEIGHT)) -> np.ndarray:
    """A map with a round blob at each (x, y, height), in pixels."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]] + 0.5
    heat = np.zeros((size[1], size[0]))
    for px, py, peak in peaks:
        heat = np.maximum(heat, peak * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * radius**2)))
    return heat.astype(np.float32)


def in_pixels(saliency: np.ndarray) -> list[tuple[float, float]]:
    return [(x * saliency.shape[1], y * saliency.shape[0]) for x, y, _ in gaze_points(saliency)]


def assert_near(found: list[tuple[float, float]], expected: list[tuple[float, float]]) -> None:
    """Within one cell of a grid of 32 cells."""
    assert len(found) == len(expected)
    assert np.abs(np.array(found) - np.array(expected)).max() <= WIDTH / 32


PEAKS = [(60, 40, 0.5), (250, 60, 1.0), (80, 200, 0.8), (280, 210, 0.35)]


def test_every_blob_is_found_the_highest_first():
    saliency = blobs(*PEAKS)
    ordered = sorted(PEAKS, key=lambda peak: -peak[2])
    assert_near(in_pixels(saliency), [peak[:2] for peak in ordered])
    heights = [height for *_, height in gaze_points(saliency)]
    assert heights == sorted(heights, reverse=True)
    assert_near(in_pixels(saliency[::-1]), [(x, HEIGHT - y) for x, y, _ in ordered])
    assert_near(in_pixels(saliency[:, ::-1]), [(WIDTH - x, y) for x, y, _ in ordered])


def test_a_dim_map_has_the_same_peaks():
    """Heights count against the highest one."""
    np.testing.assert_allclose(in_pixels(blobs(*PEAKS) / 50), in_pixels(blobs(*PEAKS)), atol=1e-6)


def test_four_peaks_at_most_and_no_weak_ones():
    centres = [(40, 40), (160, 40), (280, 40), (40, 200), (160, 200), (280, 200)]
    heights = [0.9, 0.5, 0.6, 1.0, 0.7, 0.8]
    saliency = blobs(*[(*centre, height) for centre, height in zip(centres, heights, strict=True)])
    assert_near(in_pixels(saliency), [(40, 200), (40, 40), (280, 200), (160, 200)])
    assert_near(in_pixels(blobs((40, 40, 1.0), (280, 200, 0.15))), [(40, 40)])
    assert_near(in_pixels(blobs((40, 40, 1.0), (280, 200, 0.3))), [(40, 40), (280, 200)])


def test_a_peak_at_the_edge_is_found():
    assert_near(in_pixels(blobs((2, 238, 1.0), (318, 1, 0.7))), [(2, 238), (318, 1)])


def test_two_blobs_side_by_side_are_one_peak():
    assert len(gaze_points(blobs((150, 120, 1.0), (156, 120, 0.9), radius=8))) == 1


@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (32, 24), (12, 9), (24, 32)])
@pytest.mark.parametrize("value", [0.01, 0.4, 1.0])
def test_a_uniform_map_points_to_the_middle(size, value):
    points = gaze_points(np.full((size[1], size[0]), value, dtype=np.float32))
    assert [point[:2] for point in points] == [(0.5, 0.5)]
    assert points[0][2] == pytest.approx(value, abs=1e-6)


def test_a_flat_top_is_one_peak_in_its_middle():
    """Discs of fixations and overexposed maps: many cells are equally high."""
    saliency = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
    saliency[60:140, 40:140] = 1.0
    saliency[160:220, 200:300] = 0.6
    assert_near(in_pixels(saliency), [(90, 100), (250, 190)])


def test_a_black_map_has_no_peaks_and_no_sentence():
    black = np.zeros((24, 32), dtype=np.float32)
    assert gaze_points(black) == []
    assert gaze_sentence(black, (640, 480)) == ""


def test_the_sentence_names_pixels_of_the_given_size():
    middle = np.full((24, 32), 0.5, dtype=np.float32)
    assert gaze_sentence(middle, (200, 100)) == "People looked at (100, 50).\n"
    saliency = blobs(*PEAKS)
    for size in ((WIDTH, HEIGHT), (1280, 480)):
        sentence = gaze_sentence(saliency, size)
        assert re.fullmatch(r"People looked at \(\d+, \d+\)(, \(\d+, \d+\)){3}\.\n", sentence)
        found = [tuple(map(int, pair)) for pair in re.findall(r"\((\d+), (\d+)\)", sentence)]
        expected = [(round(x * size[0]), round(y * size[1])) for x, y, _ in gaze_points(saliency)]
        assert found == expected
        assert_near([(x * WIDTH / size[0], y * HEIGHT / size[1]) for x, y in found], in_pixels(saliency))
        assert all(0 <= x < size[0] and 0 <= y < size[1] for x, y in found)
