"""Draws the things of the simulated scenes.

Every function draws one kind of thing into a box (x0, y0, x1, y1) of a canvas. Canvases are `SCALE` times larger than
the picture they become, so that edges are smooth; boxes are in canvas pixels.
"""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw


Box = tuple[float, float, float, float]
Colour = tuple[int, int, int]

SCALE = 3  # canvas pixels for one pixel of the picture

COLOURS: dict[str, Colour] = {
    "red": (214, 40, 46),
    "orange": (245, 140, 22),
    "yellow": (250, 214, 50),
    "green": (46, 150, 72),
    "blue": (36, 98, 206),
    "purple": (126, 56, 166),
}
INK: Colour = (44, 44, 56)
CREAM: Colour = (250, 245, 233)
SKINS: tuple[Colour, ...] = ((246, 212, 184), (224, 172, 130), (160, 108, 72), (108, 72, 50))
HAIRS: tuple[Colour, ...] = ((40, 32, 30), (96, 62, 36), (66, 54, 50))


def shade(colour: Colour, factor: float) -> Colour:
    """Darker (factor < 1) or lighter (factor > 1, towards white; 2 is white)."""
    if factor <= 1:
        return (round(colour[0] * factor), round(colour[1] * factor), round(colour[2] * factor))
    mixed = [round(channel + (255 - channel) * (factor - 1)) for channel in colour]
    return (mixed[0], mixed[1], mixed[2])


def vertical_gradient(width: int, height: int, top: Colour, bottom: Colour) -> Image.Image:
    """A canvas that goes from `top` to `bottom`."""
    ramp = np.linspace(np.array(top), np.array(bottom), height)[:, None, :]  # (height, 1, 3)
    return Image.fromarray(np.broadcast_to(ramp, (height, width, 3)).round().astype(np.uint8))


class Pen:
    """Draws in the unit square of one box: (0, 0) is its upper left corner, (1, 1) its lower right one."""

    def __init__(self, draw: ImageDraw.ImageDraw, box: Box) -> None:
        self.draw, self.x, self.y = draw, box[0], box[1]
        self.width, self.height = box[2] - box[0], box[3] - box[1]

    def at(self, x: float, y: float) -> tuple[float, float]:
        return self.x + x * self.width, self.y + y * self.height

    def ellipse(self, x0: float, y0: float, x1: float, y1: float, fill: Colour | None, **kwargs: object) -> None:
        self.draw.ellipse((*self.at(x0, y0), *self.at(x1, y1)), fill=fill, **kwargs)  # type: ignore[arg-type]

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, fill: Colour, radius: float = 0) -> None:
        """`radius` of the corners is a fraction of the box's width."""
        self.draw.rounded_rectangle((*self.at(x0, y0), *self.at(x1, y1)), radius * self.width, fill=fill)

    def polygon(self, points: list[tuple[float, float]], fill: Colour) -> None:
        self.draw.polygon([self.at(x, y) for x, y in points], fill=fill)

    def line(self, points: list[tuple[float, float]], fill: Colour, width: float) -> None:
        """`width` is a fraction of the box's width."""
        self.draw.line([self.at(x, y) for x, y in points], fill=fill, width=round(width * self.width), joint="curve")


# --- Composition: flat shapes -------------------------------------------------------------------------------------


def circle(pen: Pen, colour: Colour) -> None:
    pen.ellipse(0.02, 0.02, 0.98, 0.98, colour)


def square(pen: Pen, colour: Colour) -> None:
    pen.rectangle(0.07, 0.07, 0.93, 0.93, colour, radius=0.04)


def triangle(pen: Pen, colour: Colour) -> None:
    pen.polygon([(0.5, 0.02), (1.0, 0.95), (0.0, 0.95)], colour)


def star(pen: Pen, colour: Colour) -> None:
    angles = [math.pi * (step / 5 - 0.5) for step in range(10)]
    radii = [0.53 if step % 2 == 0 else 0.22 for step in range(10)]
    pen.polygon([(0.5 + r * math.cos(a), 0.53 + r * math.sin(a)) for a, r in zip(angles, radii, strict=True)], colour)


def heart(pen: Pen, colour: Colour) -> None:
    turns = np.linspace(0, 2 * math.pi, 60)
    x = 16 * np.sin(turns) ** 3
    y = 13 * np.cos(turns) - 5 * np.cos(2 * turns) - 2 * np.cos(3 * turns) - np.cos(4 * turns)
    pen.polygon([(0.5 + px / 33, 0.45 - py / 32) for px, py in zip(x.tolist(), y.tolist(), strict=True)], colour)


def cross(pen: Pen, colour: Colour) -> None:
    pen.rectangle(0.34, 0.02, 0.66, 0.98, colour, radius=0.04)
    pen.rectangle(0.02, 0.34, 0.98, 0.66, colour, radius=0.04)


# --- Object: one big thing, and small ones beside it --------------------------------------------------------------


def house(pen: Pen, colour: Colour) -> None:
    pen.rectangle(0.12, 0.42, 0.88, 0.97, colour)
    pen.polygon([(0.5, 0.02), (1.0, 0.46), (0.0, 0.46)], shade(colour, 0.6))
    pen.rectangle(0.42, 0.64, 0.6, 0.97, CREAM)
    pen.rectangle(0.2, 0.54, 0.34, 0.7, CREAM)
    pen.rectangle(0.68, 0.54, 0.82, 0.7, CREAM)


def car(pen: Pen, colour: Colour) -> None:
    pen.polygon([(0.22, 0.5), (0.34, 0.24), (0.7, 0.24), (0.84, 0.5)], colour)
    pen.polygon([(0.3, 0.48), (0.38, 0.3), (0.5, 0.3), (0.5, 0.48)], CREAM)
    pen.polygon([(0.55, 0.48), (0.55, 0.3), (0.67, 0.3), (0.76, 0.48)], CREAM)
    pen.rectangle(0.0, 0.46, 1.0, 0.76, colour, radius=0.08)
    for x in (0.24, 0.76):
        pen.ellipse(x - 0.13, 0.62, x + 0.13, 0.88, INK)
        pen.ellipse(x - 0.06, 0.69, x + 0.06, 0.81, CREAM)


def boat(pen: Pen, colour: Colour) -> None:
    pen.rectangle(0.47, 0.04, 0.52, 0.68, INK)
    pen.polygon([(0.55, 0.06), (0.95, 0.62), (0.55, 0.62)], colour)
    pen.polygon([(0.44, 0.16), (0.44, 0.62), (0.1, 0.62)], shade(colour, 1.3))
    pen.polygon([(0.02, 0.68), (0.98, 0.68), (0.82, 0.95), (0.18, 0.95)], shade(colour, 0.75))


def cup(pen: Pen, colour: Colour) -> None:
    ring = round(pen.width * 0.09)
    pen.ellipse(0.58, 0.3, 1.0, 0.74, None, outline=shade(colour, 0.8), width=ring)
    pen.polygon([(0.08, 0.18), (0.8, 0.18), (0.72, 0.94), (0.16, 0.94)], colour)
    pen.ellipse(0.08, 0.09, 0.8, 0.29, shade(colour, 0.7))
    pen.ellipse(0.14, 0.12, 0.74, 0.26, INK)


def fish(pen: Pen, colour: Colour) -> None:
    pen.polygon([(0.66, 0.5), (1.0, 0.2), (0.94, 0.5), (1.0, 0.8)], shade(colour, 0.7))
    pen.ellipse(0.0, 0.22, 0.8, 0.78, colour)
    pen.polygon([(0.34, 0.5), (0.54, 0.38), (0.54, 0.62)], shade(colour, 0.7))
    pen.ellipse(0.12, 0.36, 0.24, 0.48, CREAM)
    pen.ellipse(0.16, 0.39, 0.22, 0.45, INK)


def flower(pen: Pen, colour: Colour) -> None:
    for step in range(6):
        x, y = 0.5 + 0.3 * math.cos(step * math.pi / 3), 0.5 + 0.3 * math.sin(step * math.pi / 3)
        pen.ellipse(x - 0.19, y - 0.19, x + 0.19, y + 0.19, colour)
    pen.ellipse(0.34, 0.34, 0.66, 0.66, CREAM)


def book(pen: Pen, colour: Colour) -> None:
    pen.rectangle(0.12, 0.04, 0.88, 0.96, shade(colour, 0.6), radius=0.05)
    pen.rectangle(0.26, 0.04, 0.88, 0.88, colour, radius=0.05)
    pen.rectangle(0.4, 0.22, 0.76, 0.36, CREAM)


def ball(pen: Pen, colour: Colour) -> None:
    pen.ellipse(0.04, 0.04, 0.96, 0.96, colour)
    pen.polygon([(0.07, 0.38), (0.93, 0.38), (0.95, 0.6), (0.05, 0.6)], CREAM)


# --- Social: little people ----------------------------------------------------------------------------------------


def _head(pen: Pen, y: float, radius: float, skin: Colour) -> None:
    aspect = pen.width / pen.height
    pen.ellipse(0.5 - radius, y - radius * aspect, 0.5 + radius, y + radius * aspect, skin)


def man(pen: Pen, colour: Colour, skin: Colour, hair: Colour) -> None:
    pen.rectangle(0.32, 0.58, 0.47, 0.98, INK)
    pen.rectangle(0.53, 0.58, 0.68, 0.98, INK)
    pen.rectangle(0.08, 0.34, 0.22, 0.62, skin, radius=0.07)
    pen.rectangle(0.78, 0.34, 0.92, 0.62, skin, radius=0.07)
    pen.rectangle(0.1, 0.31, 0.9, 0.45, colour, radius=0.12)
    pen.rectangle(0.24, 0.31, 0.76, 0.66, colour, radius=0.08)
    _head(pen, 0.13, 0.25, hair)
    _head(pen, 0.17, 0.23, skin)


def woman(pen: Pen, colour: Colour, skin: Colour, hair: Colour) -> None:
    pen.rectangle(0.38, 0.8, 0.46, 0.98, skin)
    pen.rectangle(0.54, 0.8, 0.62, 0.98, skin)
    pen.rectangle(0.22, 0.06, 0.78, 0.4, hair, radius=0.24)
    pen.polygon([(0.5, 0.28), (0.66, 0.34), (1.0, 0.84), (0.0, 0.84), (0.34, 0.34)], colour)
    _head(pen, 0.17, 0.2, skin)


def child(pen: Pen, colour: Colour, skin: Colour, hair: Colour) -> None:
    """Half as tall as its box, arms up: a child stands at the box's lower edge."""
    pen.line([(0.3, 0.74), (0.08, 0.56)], skin, 0.12)
    pen.line([(0.7, 0.74), (0.92, 0.56)], skin, 0.12)
    pen.rectangle(0.33, 0.88, 0.45, 0.99, INK)
    pen.rectangle(0.55, 0.88, 0.67, 0.99, INK)
    pen.rectangle(0.26, 0.66, 0.74, 0.92, colour, radius=0.16)
    _head(pen, 0.53, 0.29, hair)
    _head(pen, 0.56, 0.26, skin)


# --- Abstraction: patterned patches -------------------------------------------------------------------------------


def stripes(pen: Pen, colour: Colour, rng: np.random.Generator) -> None:
    step = SCALE * rng.uniform(11, 14)
    start = rng.uniform(0, step)
    for offset in np.arange(start - step, pen.width + pen.height, step).tolist():
        x = pen.x + offset
        corners = [(x, pen.y), (x + step / 2, pen.y), (x + step / 2 - pen.height, pen.y + pen.height)]
        pen.draw.polygon([*corners, (x - pen.height, pen.y + pen.height)], fill=colour)


def dots(pen: Pen, colour: Colour, rng: np.random.Generator) -> None:
    step = SCALE * rng.uniform(14, 17)
    radius = step * 0.32
    for row, y in enumerate(np.arange(pen.y + step / 2, pen.y + pen.height + step, step).tolist()):
        for x in np.arange(pen.x + step / 2 * (1 - row % 2), pen.x + pen.width + step, step).tolist():
            pen.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def checks(pen: Pen, colour: Colour, rng: np.random.Generator) -> None:
    step = SCALE * rng.uniform(11, 14)
    for row, y in enumerate(np.arange(pen.y, pen.y + pen.height, step).tolist()):
        for x in np.arange(pen.x + step * (row % 2), pen.x + pen.width, 2 * step).tolist():
            pen.draw.rectangle((x, y, x + step, y + step), fill=colour)


def zigzags(pen: Pen, colour: Colour, rng: np.random.Generator) -> None:
    step = SCALE * rng.uniform(16, 19)
    xs = np.arange(pen.x - step, pen.x + pen.width + step, step / 2)
    for y in np.arange(pen.y, pen.y + pen.height + step, step).tolist():
        points = [(x, y + (step / 2 if turn % 2 else 0)) for turn, x in enumerate(xs.tolist())]
        pen.draw.line(points, fill=colour, width=round(step * 0.32), joint="curve")


def rings(pen: Pen, colour: Colour, rng: np.random.Generator) -> None:
    step = SCALE * rng.uniform(12, 15)
    x, y = pen.at(*rng.uniform(0.4, 0.6, size=2).tolist())
    for radius in np.arange(step * 0.6, max(pen.width, pen.height), step).tolist():
        pen.draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=colour, width=round(step * 0.45))


Drawer = Callable[[Pen, Colour], None]
PersonDrawer = Callable[[Pen, Colour, Colour, Colour], None]
PatternDrawer = Callable[[Pen, Colour, np.random.Generator], None]

SHAPES: dict[str, Drawer] = {f.__name__: f for f in (circle, square, triangle, star, heart, cross)}
BIG_THINGS: dict[str, Drawer] = {f.__name__: f for f in (house, car, boat, cup, fish)}
SMALL_THINGS: dict[str, Drawer] = {f.__name__: f for f in (flower, book, ball)}
PEOPLE: dict[str, PersonDrawer] = {f.__name__: f for f in (man, woman, child)}
PATTERNS: dict[str, PatternDrawer] = {f.__name__: f for f in (stripes, dots, checks, zigzags, rings)}


def draw_thing(canvas: Image.Image, kind: str, colour: str, box: Box, rng: np.random.Generator) -> None:
    """Draws a thing into `box` (canvas pixels) of `canvas`, in place."""
    paint = COLOURS[colour]
    if kind in PATTERNS:  # a pattern is cut at its patch's edges
        patch = Image.new("RGB", (round(box[2] - box[0]), round(box[3] - box[1])), CREAM)
        PATTERNS[kind](Pen(ImageDraw.Draw(patch), (0, 0, patch.width, patch.height)), paint, rng)
        canvas.paste(patch, (round(box[0]), round(box[1])))
        return
    pen = Pen(ImageDraw.Draw(canvas), box)
    if kind in PEOPLE:
        skin, hair = SKINS[rng.integers(len(SKINS))], HAIRS[rng.integers(len(HAIRS))]
        PEOPLE[kind](pen, paint, skin, hair)
    else:
        {**SHAPES, **BIG_THINGS, **SMALL_THINGS}[kind](pen, paint)
