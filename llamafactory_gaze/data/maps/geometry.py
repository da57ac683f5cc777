"""Where an image stood on the screen, and how large it looked: screen, image and map coordinates, visual angle.

All coordinates are pixels, x to the right and y down, and (0, 0) is the centre of the top left pixel, so that a picture
of width w reaches from -0.5 to w - 0.5. Sizes are (width, height).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from llamafactory_gaze.data.tables import DataError


Size = tuple[int, int]


@dataclass(frozen=True)
class Screen:
    """A flat screen with square pixels, looked at straight on."""

    size: Size  # pixels
    width_cm: float  # of the picture area, not of the case
    distance_cm: float  # from the eye to the screen

    @property
    def pixels_per_degree(self) -> float:
        """Pixels that one degree of visual angle takes in the middle of the screen.

        A length s that is centred on the line of sight, at the distance d, subtends 2 atan(s / 2d); so one degree is
        2 d tan(0.5 deg) long. Away from the middle of a flat screen a degree is longer; the usual Gaussian of one
        width everywhere leaves that out, and so does this.
        """
        return 2 * self.distance_cm * math.tan(math.radians(0.5)) * self.size[0] / self.width_cm


# Paper, appendix A.1.2: 24-inch monitor, 1920x1080, 90 cm away. The width follows from the diagonal and 16:9.
PAPER_SCREEN = Screen((1920, 1080), 24 * 2.54 * 16 / math.hypot(16, 9), 90.0)


@dataclass(frozen=True)
class Placement:
    """The part of the screen that shows an image: its first pixel column and row, its width and height there."""

    x: float
    y: float
    width: float
    height: float

    def to_image(self, x: np.ndarray, y: np.ndarray, image: Size) -> tuple[np.ndarray, np.ndarray]:
        """Screen pixels to pixels of an image of size `image`; a fixation beside the image stays outside of it."""
        return rescale(x - self.x, self.width, image[0]), rescale(y - self.y, self.height, image[1])

    def to_screen(self, x: np.ndarray, y: np.ndarray, image: Size) -> tuple[np.ndarray, np.ndarray]:
        """The inverse of `to_image`."""
        return rescale(x, image[0], self.width) + self.x, rescale(y, image[1], self.height) + self.y


def rescale(position: np.ndarray, size: float, new_size: float) -> np.ndarray:
    """Positions along a side of `size` pixels, when it is stretched to `new_size`: border on border, not centre on
    centre of the outermost pixels."""
    return (np.asarray(position, dtype=np.float64) + 0.5) * (new_size / size) - 0.5


def beyond(position: np.ndarray, size: int) -> np.ndarray:
    """How far positions along a side of `size` pixels lie beyond its borders, in pixels; 0 on the image."""
    return np.maximum(np.maximum(-0.5 - position, position - (size - 0.5)), 0.0)


def map_size(image: Size, longest_side: int | None) -> Size:
    """The size of the map of an image: the image's own, or with the given longer side and the same aspect ratio."""
    if longest_side is None:
        return image
    scale = longest_side / max(image)
    return max(1, round(image[0] * scale)), max(1, round(image[1] * scale))


def parse_size(text: str, option: str) -> Size:
    """Read `800x600`.

    Raises:
        DataError: names the option.
    """
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise DataError(f"{option} is '{text}'; expected WIDTHxHEIGHT in pixels, for example 800x600.")
    return int(parts[0]), int(parts[1])


def parse_screen(text: str) -> Screen:
    """Read `paper`, or pixels, width and distance in cm: `1920x1080,53.1,90`.

    Raises:
        DataError: not understood, or no positive number.
    """
    if text == "paper":
        return PAPER_SCREEN
    size, *lengths = text.split(",")
    numbers = numbers_of(lengths)
    if len(numbers) != 2 or not min(numbers) > 0:
        raise DataError(
            f"--screen is '{text}'; expected paper, or WIDTHxHEIGHT,CM_WIDE,CM_AWAY, for example 1920x1080,53.1,90."
        )
    return Screen(parse_size(size, "--screen"), *numbers)


def place(text: str, image: Size, screen: Screen) -> Placement:
    """Where an image stands: `center` (its own size), `fill` (as large as its shape allows, centred) or `X,Y,W,H`.

    Raises:
        DataError: not understood, or the image would reach beyond the screen.
    """
    width, height = screen.size
    if text in ("center", "fill"):
        scale = min(width / image[0], height / image[1]) if text == "fill" else 1.0
        shown = image[0] * scale, image[1] * scale
        placement = Placement((width - shown[0]) / 2, (height - shown[1]) / 2, *shown)
    else:
        numbers = numbers_of(text.split(","))
        if len(numbers) != 4 or not min(numbers[2:]) > 0:
            raise DataError(f"--placement is '{text}'; expected center, fill, or X,Y,WIDTH,HEIGHT in screen pixels.")
        placement = Placement(*numbers)
    beyond = max(-placement.x, -placement.y, placement.x + placement.width - width)
    if max(beyond, placement.y + placement.height - height) > 1e-6:
        raise DataError(
            f"--placement {text} puts an image of {image[0]}x{image[1]} pixels partly beyond the screen of "
            f"{width}x{height}; expected all of it on the screen."
        )
    return placement


def numbers_of(texts: list[str]) -> list[float]:
    """The finite numbers among the texts, so that a text that is none shows as one too few."""
    numbers = []
    for text in texts:
        try:
            numbers.append(float(text))
        except ValueError:
            continue
    return [number for number in numbers if math.isfinite(number)] if len(numbers) == len(texts) else []
