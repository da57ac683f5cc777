"""Screen, image and map coordinates, and degrees of visual angle; random cases come from a fixed seed."""

import numpy as np
import pytest

from llamafactory_gaze.data.geometry import PAPER_SCREEN, Placement, Screen, map_size, parse_screen, place
from llamafactory_gaze.data.tables import DataError


def test_pixels_per_degree_of_the_paper_and_of_a_screen_at_57_cm():
    assert PAPER_SCREEN.pixels_per_degree == pytest.approx(56.77, abs=0.01)
    # At 57.29 cm one centimetre is one degree, as every vision scientist knows.
    assert Screen((1000, 800), 50.0, 57.29).pixels_per_degree == pytest.approx(20, abs=1e-2)


def test_screen_to_image_and_back_is_the_identity_and_keeps_order_and_corners():
    rng = np.random.default_rng(1)
    for _ in range(300):
        image = tuple(rng.integers(1, 3000, 2).tolist())
        placement = Placement(*rng.uniform(0, 500, 2), *rng.uniform(1, 2000, 2))
        x, y = np.sort(rng.uniform(-500, 3000, (2, 20)), axis=1)
        there = placement.to_image(x, y, image)
        np.testing.assert_allclose(placement.to_screen(*there, image), (x, y), atol=1e-6)
        assert (np.diff(there[0]) > 0).all() and (np.diff(there[1]) > 0).all()
        corners = (
            (placement.x - 0.5 + np.array([0, placement.width])),
            (placement.y - 0.5 + np.array([0, placement.height])),
        )
        expected = [[-0.5, image[0] - 0.5], [-0.5, image[1] - 0.5]]
        np.testing.assert_allclose(placement.to_image(*corners, image), expected, atol=1e-6)


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
