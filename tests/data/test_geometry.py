"""Screen, image and map coordinates, and degrees of visual angle."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llamafactory_gaze.data.maps.geometry import (
    PAPER_SCREEN,
    Placement,
    Screen,
    beyond,
    map_size,
    parse_screen,
    place,
    rescale,
)
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.saliency import check_aspect_ratio


properties = settings(deadline=None, derandomize=True, max_examples=200)

sides = st.integers(1, 4000)
sizes = st.tuples(sides, sides)
positions = st.floats(-5000, 5000, allow_subnormal=False)
placements = st.builds(Placement, positions, positions, st.floats(0.5, 4000), st.floats(0.5, 4000))


def test_pixels_per_degree_of_the_paper_and_of_a_screen_at_57_cm():
    assert PAPER_SCREEN.pixels_per_degree == pytest.approx(56.77, abs=0.01)
    # At 57.29 cm one centimetre is one degree, as every vision scientist knows.
    assert Screen((1000, 800), 50.0, 57.29).pixels_per_degree == pytest.approx(20, abs=1e-2)


@properties
@given(placements, sizes, positions, positions)
def test_screen_to_image_and_back_is_the_identity(placement, image, x, y):
    there = placement.to_image(np.array([x]), np.array([y]), image)
    np.testing.assert_allclose(placement.to_screen(*there, image), [[x], [y]], atol=1e-6)


@properties
@given(placements, sizes)
def test_the_borders_and_the_middle_of_the_place_on_the_screen_are_those_of_the_image(placement, image):
    along = np.array([0, 0.5, 1])
    x, y = placement.x - 0.5 + along * placement.width, placement.y - 0.5 + along * placement.height
    there = placement.to_image(x, y, image)
    np.testing.assert_allclose(there, [along * image[0] - 0.5, along * image[1] - 0.5], atol=1e-6 * max(image))


@properties
@given(sides, sides, positions, positions)
def test_image_to_map_keeps_borders_middle_and_proportions(side, of_map, one, other):
    np.testing.assert_allclose(
        rescale(np.array([-0.5, (side - 1) / 2, side - 0.5]), side, of_map),
        [-0.5, (of_map - 1) / 2, of_map - 0.5],
        atol=1e-9 * of_map,
    )
    a, b = rescale(np.array([one, other]), side, of_map)
    assert a - b == pytest.approx((one - other) * of_map / side, abs=1e-6 * of_map)


@properties
@given(placements, sizes, sizes, positions)
def test_by_way_of_the_image_or_directly_to_the_map_is_the_same(placement, image, of_map, x):
    in_image, _ = placement.to_image(np.array([x]), np.array([0.0]), image)
    directly, _ = placement.to_image(np.array([x]), np.array([0.0]), of_map)
    np.testing.assert_allclose(rescale(in_image, image[0], of_map[0]), directly, rtol=1e-9, atol=1e-6)


@properties
@given(sides, positions)
@example(80, -0.5)
@example(80, 79.5)
def test_beyond_is_the_way_to_the_nearest_point_of_the_image(side, position):
    nearest = min(max(position, -0.5), side - 0.5)
    assert beyond(np.array([position]), side)[0] == pytest.approx(abs(position - nearest), abs=1e-9)
    assert (beyond(np.array([position]), side)[0] == 0) == (-0.5 <= position <= side - 0.5)


@properties
@given(sizes, sizes)
def test_fill_and_center_are_centred_and_keep_the_shape(image, screen):
    filled = place("fill", image, Screen(screen, 50.0, 60.0))
    assert filled.width / filled.height == pytest.approx(image[0] / image[1])
    assert filled.width == pytest.approx(screen[0]) or filled.height == pytest.approx(screen[1])
    assert filled.x + filled.width / 2 == pytest.approx(screen[0] / 2)
    assert filled.y + filled.height / 2 == pytest.approx(screen[1] / 2)
    if image[0] > screen[0] or image[1] > screen[1]:
        with pytest.raises(DataError, match="beyond the screen"):
            place("center", image, Screen(screen, 50.0, 60.0))
    else:
        centred = place("center", image, Screen(screen, 50.0, 60.0))
        assert centred == Placement((screen[0] - image[0]) / 2, (screen[1] - image[1]) / 2, *image)


@properties
@given(sizes, st.integers(1, 4000))
def test_a_map_of_any_longer_side_is_taken_for_one_of_its_image(image, longest_side):
    size = map_size(image, longest_side)
    assert max(size) == longest_side
    check_aspect_ratio(size, image)


def test_center_and_fill():
    screen = parse_screen("1920x1080,53.1,90")
    assert place("center", (800, 600), screen) == Placement(560, 240, 800, 600)
    assert place("fill", (800, 600), screen) == Placement(240, 0, 1440, 1080)
    assert place("10,20,400,300", (800, 600), screen) == Placement(10, 20, 400, 300)
    assert map_size((800, 600), 133) == (133, 100) and map_size((8, 6), None) == (8, 6)


@pytest.mark.parametrize("text", ["papers", "1920x1080", "1920x1080,53", "1920x1080,0,90", "0x9,5,9", "9x9,nan,9"])
def test_a_screen_that_is_not_understood_is_refused(text):
    with pytest.raises(DataError, match="--screen is"):
        parse_screen(text)


@pytest.mark.parametrize("text", ["middle", "1,2,3", "1,2,0,4", "1,2,3,x", "-1,0,5,5", "1900,0,40,40"])
def test_a_placement_that_is_not_on_the_screen_is_refused(text):
    with pytest.raises(DataError, match="--placement"):
        place(text, (800, 600), PAPER_SCREEN)
