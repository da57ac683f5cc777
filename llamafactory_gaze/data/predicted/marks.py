"""Clicks and boxes: somebody points at what is to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import ndtr
from threadpoolctl import threadpool_limits

from llamafactory_gaze.data.maps.geometry import beyond, numbers_of, rescale
from llamafactory_gaze.data.maps.heatmaps import fixation_heatmap
from llamafactory_gaze.data.maps.options import MapOptions
from llamafactory_gaze.data.maps.plan import view_of
from llamafactory_gaze.data.predicted.photograph import Photograph
from llamafactory_gaze.data.tables import DataError


Point = tuple[float, float]
Box = tuple[float, float, float, float]


class Clicks:
    """A Gaussian around each click, as `heatmaps` makes one around each fixation; all clicks count the same.

    Args:
        points: x and y in pixels of the photograph; (0, 0) is the centre of the top left one.
        sigma_px: standard deviation of the Gaussian in pixels of the photograph.
    """

    def __init__(self, points: Sequence[Point], sigma_px: float) -> None:
        self.points = list(points)
        self.sigma_px = sigma_px

    def label(self, photograph: Photograph) -> dict[str, Any]:
        clicks = [list(point) for point in self.points]
        return {"source": "click", "method": None, "library": None, "sigma_px": self.sigma_px, "clicks": clicks}

    def draw(self, photograph: Photograph, longest_side: int | None) -> np.ndarray:
        (width, height), (x, y) = photograph.size, np.array(self.points, dtype=np.float64).T
        away = np.maximum(beyond(x, width), beyond(y, height)) > 0
        if away.any():
            at = "{:g},{:g}".format(*self.points[int(away.argmax())])
            raise DataError(f"--click {at} lies beside the image {photograph.path} of {width}x{height} pixels.")
        view = view_of(photograph.name, photograph.size, MapOptions(sigma_px=self.sigma_px, longest_side=longest_side))
        with threadpool_limits(1, "blas"):  # the last bits of a product depend on the number of cores
            return fixation_heatmap(
                rescale(x, width, view.map[0]), rescale(y, height, view.map[1]), np.ones(len(x)), view.map, view.sigma
            )


class Boxes:
    """Gaze that is spread evenly over boxes, with the Gaussian of a click around each of its points.

    The edges are soft for that reason, as those of every map of fixations are, and half as high as the inside of a
    large box. Boxes add up: where two overlap, the map is higher; where two meet, there is no seam.

    Args:
        boxes: left, top, right, bottom borders in pixels of the photograph: 0, 0, W, H is the whole of it.
        sigma_px: standard deviation of the Gaussian in pixels of the photograph.
    """

    def __init__(self, boxes: Sequence[Box], sigma_px: float) -> None:
        self.boxes = list(boxes)
        self.sigma_px = sigma_px

    def label(self, photograph: Photograph) -> dict[str, Any]:
        boxes = [list(box) for box in self.boxes]
        return {"source": "box", "method": None, "library": None, "sigma_px": self.sigma_px, "boxes": boxes}

    def draw(self, photograph: Photograph, longest_side: int | None) -> np.ndarray:
        width, height = photograph.size
        view = view_of(photograph.name, photograph.size, MapOptions(sigma_px=self.sigma_px, longest_side=longest_side))
        saliency = np.zeros(view.map[::-1])
        for box in self.boxes:
            left, top, right, bottom = box
            if not (0 <= left < right <= width and 0 <= top < bottom <= height):
                raise DataError(
                    f"--box {','.join(f'{side:g}' for side in box)} is no part of the image {photograph.path} of "
                    f"{width}x{height} pixels; expected LEFT,TOP,RIGHT,BOTTOM, from 0,0 to {width},{height}."
                )
            along_x = _spread((left, right), width, view.map[0], view.sigma[0])
            along_y = _spread((top, bottom), height, view.map[1], view.sigma[1])
            saliency += along_y[:, None] * along_x
        return (saliency / saliency.max()).astype(np.float32)


def _spread(borders: tuple[float, float], side: int, of_map: int, sigma: float) -> np.ndarray:
    """The integral of the Gaussian between two borders on a side of the photograph, at each pixel of the map's side."""
    low, high = rescale(np.array(borders) - 0.5, side, of_map)
    pixels = np.arange(of_map)
    return ndtr((high - pixels) / sigma) - ndtr((low - pixels) / sigma)


def parse_click(text: str) -> Point:
    """Read `X,Y`.

    Raises:
        DataError: not understood.
    """
    numbers = numbers_of(text.split(","))
    if len(numbers) != 2:
        raise DataError(f"--click is '{text}'; expected X,Y in pixels of the image, for example 120,80.")
    return numbers[0], numbers[1]


def parse_box(text: str) -> Box:
    """Read `LEFT,TOP,RIGHT,BOTTOM`.

    Raises:
        DataError: not understood.
    """
    numbers = numbers_of(text.split(","))
    if len(numbers) != 4:
        raise DataError(
            f"--box is '{text}'; expected LEFT,TOP,RIGHT,BOTTOM in pixels of the image, for example 40,20,200,160."
        )
    return numbers[0], numbers[1], numbers[2], numbers[3]
