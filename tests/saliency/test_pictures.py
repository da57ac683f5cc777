"""Gaze drawn into pictures, against formulas written pixel by pixel and a search over all windows."""

import numpy as np
import pytest
from PIL import Image

from llamafactory_gaze.modeling.configuration import IN_PICTURE
from llamafactory_gaze.saliency.pictures import PICTURES, crop_to_gaze, dim_unseen, draw_overlay


def random_image(size: tuple[int, int], seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values)


def random_map(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((size[1], size[0]), dtype=np.float32)


def map_of(value: float, size: tuple[int, int]) -> np.ndarray:
    return np.full((size[1], size[0]), value, dtype=np.float32)


def image_of_coordinates(size: tuple[int, int]) -> Image.Image:
    """Each pixel says where it is: red is its column, green is its row."""
    values = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    values[..., 0], values[..., 1] = np.arange(size[0]), np.arange(size[1])[:, None]
    return Image.fromarray(values)


def place_of(crop: Image.Image) -> tuple[int, int]:
    """Column and row of the upper left corner of a crop of `image_of_coordinates`, all of whose pixels agree."""
    values = np.asarray(crop).astype(int)
    left, top = values[0, 0, :2]
    assert (values[..., 0] == left + np.arange(crop.width)).all()
    assert (values[..., 1] == top + np.arange(crop.height)[:, None]).all()
    return left, top


def window_sums(heat: np.ndarray, width: int, height: int) -> dict[tuple[int, int], float]:
    """Column and row of each window's upper left corner, and the sum of the map in it."""
    return {
        (left, top): float(heat[top : top + height, left : left + width].astype(np.float64).sum())
        for top in range(heat.shape[0] - height + 1)
        for left in range(heat.shape[1] - width + 1)
    }


def test_there_is_a_picture_for_every_fusion_of_that_kind():
    assert set(PICTURES) == set(IN_PICTURE)


@pytest.mark.parametrize("fusion", IN_PICTURE)
def test_the_image_and_the_map_stay_as_they_are(fusion):
    image, saliency = random_image((20, 12)), random_map((10, 6))
    before = np.asarray(image).copy(), saliency.copy()
    PICTURES[fusion](image, saliency)
    np.testing.assert_array_equal(np.asarray(image), before[0])
    np.testing.assert_array_equal(saliency, before[1])


# Overlay


@pytest.mark.parametrize("map_size", [(20, 12), (10, 6), (40, 24)])
def test_a_black_map_overlays_nothing(map_size):
    image = random_image((20, 12))
    np.testing.assert_array_equal(np.asarray(draw_overlay(image, map_of(0, map_size))), np.asarray(image))


@pytest.mark.parametrize(
    ("heat", "colour"), [(0.165, (0, 100, 167.5)), (0.33, (0, 200, 80)), (0.66, (255, 220, 0)), (1.0, (255, 0, 0))]
)
def test_the_overlay_has_its_colour_and_opacity(heat, colour):
    """From blue over green and yellow to red; 70 % opaque at most, and quickly so."""
    image = random_image((20, 12))
    opacity = 0.7 * np.sqrt(heat)
    expected = np.asarray(image) * (1 - opacity) + np.array(colour) * opacity
    drawn = np.asarray(draw_overlay(image, map_of(heat, (20, 12)))).astype(float)
    assert np.abs(drawn - expected).max() <= 0.51  # rounded to whole values


# Dim


def test_dim_multiplies_every_pixel_by_its_light():
    image, saliency = random_image((13, 8)), random_map((13, 8))
    dimmed = dim_unseen(image, saliency)
    assert dimmed.size == image.size
    for y in range(8):
        for x in range(13):
            light = 0.15 + 0.85 * float(saliency[y, x])
            for before, after in zip(image.getpixel((x, y)), dimmed.getpixel((x, y)), strict=True):
                assert abs(before * light - after) <= 0.5001


@pytest.mark.parametrize("map_size", [(20, 12), (10, 6), (40, 24)])
def test_a_white_map_dims_nothing_and_a_black_one_everything(map_size):
    image = random_image((20, 12))
    np.testing.assert_array_equal(np.asarray(dim_unseen(image, map_of(1, map_size))), np.asarray(image))
    dark = np.asarray(dim_unseen(image, map_of(0, map_size))).astype(float)
    assert np.abs(dark - np.asarray(image) * 0.15).max() <= 0.5001  # rounded to whole values


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_images_of_any_mode_are_drawn_on_in_colour(mode):
    image = random_image((20, 12)).convert(mode)
    for draw in (draw_overlay, dim_unseen):
        drawn = draw(image, random_map((20, 12)))
        assert drawn.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(drawn), np.asarray(draw(image.convert("RGB"), random_map((20, 12)))))


# Crop


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [(12, 8), (13, 8), (12, 9), (13, 9), (15, 11), (5, 14), (7, 7), (1, 6), (3, 1)])
def test_the_crop_is_the_best_of_all_windows(size, seed):
    saliency = random_map(size, seed)
    width, height = (max(1, round(side / 2)) for side in size)
    crop = crop_to_gaze(image_of_coordinates(size), saliency)
    assert crop.size == (width, height)
    sums = window_sums(saliency, width, height)
    assert place_of(crop) == max(sums, key=sums.__getitem__)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("map_size", [(10, 6), (21, 13), (40, 24)])
def test_the_crop_of_a_map_of_another_size(map_size, seed):
    saliency = random_map(map_size, seed)
    crop = crop_to_gaze(image_of_coordinates((20, 12)), saliency)
    stretched = np.asarray(Image.fromarray(saliency).resize((20, 12), Image.Resampling.BILINEAR))
    sums = window_sums(stretched, 10, 6)
    assert place_of(crop) == max(sums, key=sums.__getitem__)


@pytest.mark.parametrize("size", [(12, 8), (13, 9), (11, 16)])
@pytest.mark.parametrize("seed", range(4))
def test_of_equal_windows_the_crop_is_the_one_nearest_to_the_middle(size, seed):
    """Maps of few black and white blocks: many windows hold equally much."""
    rng = np.random.default_rng(seed)
    saliency = np.zeros((size[1], size[0]), dtype=np.float32)
    y, x = rng.integers(0, size[1] - 1), rng.integers(0, size[0] - 1)
    saliency[y : y + 2, x : x + 2] = 1
    width, height = (round(side / 2) for side in size)
    sums = window_sums(saliency, width, height)

    def distance(corner: tuple[int, int]) -> float:
        return np.hypot(corner[0] + width / 2 - size[0] / 2, corner[1] + height / 2 - size[1] / 2)

    best = [corner for corner, total in sums.items() if total == max(sums.values())]
    assert len(best) > 1
    place = place_of(crop_to_gaze(image_of_coordinates(size), saliency))
    assert place in best
    assert distance(place) == min(map(distance, best))


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_uniform_map_crops_the_middle(value):
    assert place_of(crop_to_gaze(image_of_coordinates((12, 8)), map_of(value, (12, 8)))) == (3, 2)
    assert place_of(crop_to_gaze(image_of_coordinates((200, 120)), map_of(value, (50, 30)))) == (50, 30)


@pytest.mark.parametrize("corner", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_gaze_in_a_corner_crops_that_corner(corner):
    saliency = np.zeros((6, 10), dtype=np.float32)
    saliency[corner[1] * 5, corner[0] * 9] = 0.5
    saliency[corner[1] * 3 : corner[1] * 3 + 3, corner[0] * 5 : corner[0] * 5 + 5] += 0.5
    crop = crop_to_gaze(image_of_coordinates((100, 60)), saliency)
    assert crop.size == (50, 30)
    left, top = place_of(crop)
    assert abs(left - corner[0] * 50) <= 1 and abs(top - corner[1] * 30) <= 1
