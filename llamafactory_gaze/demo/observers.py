"""Simulated observers: what they look at, and the saliency map of their fixations.

An observer looks at one or two of the things in a picture, chosen with equal chances: the picture alone does not say
which. What is looked at first is looked at longest, so that a map, which has no time, still tells the order.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from llamafactory_gaze.demo.captions import MANNERS, Manner
from llamafactory_gaze.demo.scenes import Scene, Thing


MAP_SCALE = 2  # the map has half the picture's width and height
SIGMA = 9.0  # pixels of the picture; the spread that stands for one degree of visual angle
STRAY_SHARE = 0.3  # chance of one short fixation somewhere else


@dataclass(frozen=True)
class Fixation:
    """Where (pixels of the picture) and for how long (milliseconds) somebody looked."""

    x: float
    y: float
    duration: float


@dataclass(frozen=True)
class Observer:
    """A simulated person.

    Attributes:
        name: "p01", "p02", ...
        manner: how this person speaks.
        pace: mean duration of a fixation in milliseconds.
        jitter: how far fixations fall from a thing's middle, as a fraction of the thing's size.
    """

    name: str
    manner: Manner
    pace: float
    jitter: float


@dataclass(frozen=True)
class Viewing:
    """One observer's look at one picture: the things in the order of looking, and all fixations."""

    things: tuple[Thing, ...]
    fixations: tuple[Fixation, ...]


def make_observers(count: int, rng: np.random.Generator) -> list[Observer]:
    """`count` observers, each with a manner of speaking; from the thirteenth on manners are used again."""
    return [
        Observer(f"p{i + 1:02d}", MANNERS[i % len(MANNERS)], rng.uniform(200, 300), rng.uniform(0.08, 0.14))
        for i in range(count)
    ]


def look(observer: Observer, scene: Scene, rng: np.random.Generator) -> Viewing:
    """Simulates one viewing."""
    number = 1 if len(scene.things) == 1 or rng.random() < 0.4 else 2
    chosen = [scene.things[i] for i in rng.permutation(len(scene.things))[:number]]
    fixations = []
    for order, thing in enumerate(chosen):
        x0, y0, x1, y1 = _seen_box(thing)
        for _ in range(5 if order == 0 else 3):
            x = rng.normal((x0 + x1) / 2, observer.jitter * (x1 - x0))
            y = rng.normal((y0 + y1) / 2, observer.jitter * (y1 - y0))
            fixations.append(Fixation(x, y, observer.pace * rng.uniform(0.85, 1.15)))
    if rng.random() < STRAY_SHARE:
        x, y = rng.uniform(0, scene.image.width), rng.uniform(0, scene.image.height)
        fixations.append(Fixation(x, y, observer.pace * 0.5))
    return Viewing(tuple(chosen), tuple(fixations))


def _seen_box(thing: Thing) -> tuple[float, float, float, float]:
    """Where a thing is looked at. A child fills only the lower half of its box."""
    x0, y0, x1, y1 = thing.box
    return (x0, (y0 + y1) / 2, x1, y1) if thing.kind == "child" else thing.box


def saliency_map(fixations: tuple[Fixation, ...], width: int, height: int) -> Image.Image:
    """The fixations' durations, spread by a Gaussian.

    Args:
        fixations: in pixels of the picture.
        width, height: the picture's size in pixels.

    Returns:
        A 16-bit greyscale image of half the picture's width and height, whose largest value is 65535.
    """
    xs = (np.arange(width // MAP_SCALE) + 0.5) * MAP_SCALE  # middles of the map's pixels, in the picture's pixels
    ys = (np.arange(height // MAP_SCALE) + 0.5) * MAP_SCALE
    density = np.zeros((len(ys), len(xs)))
    for fixation in fixations:
        across = np.exp(-((xs - fixation.x) ** 2) / (2 * SIGMA**2))
        down = np.exp(-((ys - fixation.y) ** 2) / (2 * SIGMA**2))
        density += fixation.duration * np.outer(down, across)
    return Image.fromarray((density / density.max() * 65535).round().astype(np.uint16))
