"""A simulated picture, and models for which it makes a difference where one looks."""

from pathlib import Path

import numpy as np
import pytest
from transformers import AutoProcessor

from llamafactory_gaze.data.maps.heatmaps import fixation_heatmap
from llamafactory_gaze.demo.run import BASE_MODEL
from llamafactory_gaze.playground.models import Models, load_models
from llamafactory_gaze.playground.picture import Picture, draw_example
from tests.explain.conftest import awaken, exported, fresh_model, make_image  # noqa: F401 - a fixture


PROMPT = "Describe the image."
PLACES = {"Gaze A": (0.25, 0.3), "Gaze B": (0.75, 0.28)}  # x and y in parts of the picture's width and height


def scene() -> Picture:
    return draw_example(3)


def look_at(place: tuple[float, float]) -> np.ndarray:
    """A map of the scene with all gaze in one place."""
    width, height = size = scene().image.size
    return fixation_heatmap(np.array([place[0] * width]), np.array([place[1] * height]), np.ones(1), size, 0.05 * width)


@pytest.fixture
def picture() -> Picture:
    """Of several windows, with some of them cut off."""
    return Picture("scene.png", make_image())


@pytest.fixture(scope="session")
def gaze_model(tmp_path_factory) -> Path:
    """A gaze model whose calibrator has large random weights: it says something else for each place of the scene."""
    folder = tmp_path_factory.mktemp("gaze_model")
    awaken(fresh_model(), std=2.0).save_pretrained(folder)
    AutoProcessor.from_pretrained(BASE_MODEL).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def models(gaze_model) -> Models:
    """The gaze model, and the stock model that it was made of as baseline."""
    return load_models(gaze_model, baseline=BASE_MODEL)


@pytest.fixture(scope="session")
def alone(gaze_model) -> Models:
    """The gaze model, compared with itself."""
    return load_models(gaze_model)
