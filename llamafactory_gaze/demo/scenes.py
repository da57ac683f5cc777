"""SIMULATED scenes in the paper's five categories (section 3.1).

Composition   coloured shapes, spread over the picture
Object        one big thing and a few small ones beside it
Social        little people in coloured clothes
Abstraction   a quilt of patterned patches
Disrupted     a Composition, Object or Social scene in low resolution, noisy
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

from llamafactory_gaze.demo import drawing
from llamafactory_gaze.demo.drawing import SCALE, Box


CATEGORIES = ("Abstraction", "Object", "Social", "Composition", "Disrupted")
# (width, height) in pixels. More than one window of Qwen2.5-VL's tower (112 pixels) each way; multiples of 28.
SIZES = ((168, 168), (196, 168), (168, 196))
MAX_THINGS = 5


@dataclass(frozen=True)
class Thing:
    """One thing in a picture. `box` is (x0, y0, x1, y1) in pixels."""

    kind: str
    colour: str
    box: Box

    @property
    def name(self) -> str:
        """What everybody would call it: "red circle", "woman in red", "red stripes". Unique in its picture."""
        return f"{self.kind} in {self.colour}" if self.kind in drawing.PEOPLE else f"{self.colour} {self.kind}"


@dataclass(frozen=True)
class Scene:
    """A picture, its category and all things in it, in no particular order."""

    category: str
    image: Image.Image
    things: tuple[Thing, ...]


def make_scene(category: str, rng: np.random.Generator, count: int | None = None) -> Scene:
    """Draws a scene.

    Args:
        category: one of `CATEGORIES`.
        rng: everything random comes from it.
        count: number of things, 1 to `MAX_THINGS`; by default 3 to 5, mostly 4.
    """
    width, height = SIZES[rng.integers(len(SIZES))]
    count = count or int(rng.choice([3, 4, 4, 4, 5]))
    look = category
    if category == "Disrupted":
        look = str(rng.choice(["Composition", "Object", "Social"]))
    boxes, kinds = _LAYOUTS[look](width, height, count, rng)
    colours = rng.permutation(list(drawing.COLOURS))  # all different: six colours, at most five things
    things = tuple(Thing(str(k), str(c), b) for k, c, b in zip(kinds, colours, boxes, strict=False))

    canvas = _background(look, width * SCALE, height * SCALE, rng)
    for thing in sorted(things, key=lambda t: t.box[3]):  # those further down stand in front
        box = tuple(edge * SCALE for edge in thing.box)
        if look in ("Composition", "Object", "Social"):
            _shadow(canvas, thing, look)
        drawing.draw_thing(canvas, thing.kind, thing.colour, box, rng)  # type: ignore[arg-type]
    image = canvas.resize((width, height), Image.Resampling.BOX)
    if category == "Disrupted":
        image = _disrupt(image, rng)
    return Scene(category, image, things)


# --- where things stand -------------------------------------------------------------------------------------------


def _grid(width: float, height: float, count: int) -> list[Box]:
    """Cells of the coarsest grid that has room for `count` things; the longer side is cut more often."""
    columns, rows = {1: (1, 1), 2: (2, 1), 3: (2, 2), 4: (2, 2)}.get(count, (3, 2))
    if height > width:
        columns, rows = rows, columns
    w, h = width / columns, height / rows
    return [(x * w, y * h, (x + 1) * w, (y + 1) * h) for y in range(rows) for x in range(columns)]


def _place(cell: Box, width: float, height: float, rng: np.random.Generator, margin: float = 3) -> Box:
    """A box of the given size at random in `cell`, at least `margin` pixels from its edges."""
    x = rng.uniform(cell[0] + margin, max(cell[0] + margin, cell[2] - margin - width))
    y = rng.uniform(cell[1] + margin, max(cell[1] + margin, cell[3] - margin - height))
    return (x, y, x + width, y + height)


def _cells(width: float, height: float, count: int, rng: np.random.Generator) -> list[Box]:
    """`count` different cells at random."""
    cells = _grid(width, height, count)
    return [cells[i] for i in rng.permutation(len(cells))[:count]]


def _composition(width: int, height: int, count: int, rng: np.random.Generator) -> tuple[list[Box], list[str]]:
    boxes = []
    for cell in _cells(width, height, count, rng):
        room = min(cell[2] - cell[0], cell[3] - cell[1], 84) - 6
        size = room * rng.uniform(0.68, 0.92)
        boxes.append(_place(cell, size, size, rng))
    return boxes, rng.choice(list(drawing.SHAPES), count).tolist()


def _social(width: int, height: int, count: int, rng: np.random.Generator) -> tuple[list[Box], list[str]]:
    boxes = []
    for cell in _cells(width, height, count, rng):
        tall = min(cell[3] - cell[1] - 4, 88) * rng.uniform(0.86, 1.0)
        boxes.append(_place(cell, tall * 0.52, tall, rng, margin=2))
    return boxes, rng.choice(list(drawing.PEOPLE), count).tolist()


def _object(width: int, height: int, count: int, rng: np.random.Generator) -> tuple[list[Box], list[str]]:
    small = count - 1
    strip = min(width, height) * 0.32  # the small things stand in a strip along one side
    beside = bool(rng.integers(2))
    length = height if beside else width
    far = bool(rng.integers(2))
    big_cell: Box = (0, 0, width, height)
    cells: list[Box] = []
    if small:
        start = (width if beside else height) - strip if far else 0.0
        step = length / max(small, 2)
        places = rng.permutation(max(small, 2))[:small].tolist()
        if beside:
            big_cell = (0, 0, width - strip, height) if far else (strip, 0, width, height)
            cells = [(start, i * step, start + strip, (i + 1) * step) for i in places]
        else:
            big_cell = (0, 0, width, height - strip) if far else (0, strip, width, height)
            cells = [(i * step, start, (i + 1) * step, start + strip) for i in places]
    size = min(big_cell[2] - big_cell[0], big_cell[3] - big_cell[1], 120) * rng.uniform(0.84, 0.96)
    boxes = [_place(big_cell, size, size, rng)]
    for cell in cells:
        side = (min(cell[2] - cell[0], cell[3] - cell[1], 54) - 4) * rng.uniform(0.86, 1.0)
        boxes.append(_place(cell, side, side, rng, margin=2))
    return boxes, [*rng.choice(list(drawing.BIG_THINGS), 1), *rng.choice(list(drawing.SMALL_THINGS), small)]


def _abstraction(width: int, height: int, count: int, rng: np.random.Generator) -> tuple[list[Box], list[str]]:
    """Cuts the picture into `count` patches, two rows (or columns) of them."""
    wide, long = (width, height) if rng.integers(2) else (height, width)
    seam = wide * rng.uniform(0.44, 0.56)
    boxes: list[Box] = []
    rows = [(0.0, float(wide), count)] if count == 1 else [(0.0, seam, count // 2), (seam, float(wide), -(-count // 2))]
    if rng.integers(2):
        rows = [(start, end, n) for (start, end, _), (_, _, n) in zip(rows, reversed(rows), strict=True)]
    for start, end, number in rows:
        cuts = [long * (i + rng.uniform(-0.06, 0.06)) / number for i in range(1, number)]
        edges = [0.0, *cuts, float(long)]
        boxes += [(start, a, end, b) for a, b in pairwise(edges)]
    if wide != width or long != height:
        boxes = [(y0, x0, y1, x1) for x0, y0, x1, y1 in boxes]
    boxes = [(x0 + 2, y0 + 2, x1 - 2, y1 - 2) for x0, y0, x1, y1 in boxes]
    return boxes, rng.choice(list(drawing.PATTERNS), count).tolist()


_LAYOUTS = {"Composition": _composition, "Social": _social, "Object": _object, "Abstraction": _abstraction}


# --- what is behind and over them ---------------------------------------------------------------------------------


def _background(look: str, width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """An empty canvas, (width, height) in canvas pixels."""
    if look == "Abstraction":
        return Image.new("RGB", (width, height), drawing.INK)
    if look == "Social":  # sky over meadow
        canvas = drawing.vertical_gradient(width, height, (196, 224, 240), (232, 242, 244))
        horizon = round(height * rng.uniform(0.3, 0.42))
        canvas.paste(drawing.vertical_gradient(width, height - horizon, (214, 228, 190), (190, 212, 160)), (0, horizon))
        return canvas
    if look == "Object":  # wall over table
        canvas = drawing.vertical_gradient(width, height, (240, 238, 232), (228, 224, 216))
        edge = round(height * rng.uniform(0.55, 0.68))
        canvas.paste(drawing.vertical_gradient(width, height - edge, (226, 208, 184), (212, 190, 162)), (0, edge))
        return canvas
    tint = rng.integers(-6, 7, size=3)
    top = tuple(int(c) for c in np.array((246, 246, 246)) + tint)
    bottom = tuple(int(c) for c in np.array((226, 228, 234)) + tint)
    return drawing.vertical_gradient(width, height, top, bottom)  # type: ignore[arg-type]


def _shadow(canvas: Image.Image, thing: Thing, look: str) -> None:
    """A soft-looking ellipse under a thing (beneath its feet, for people)."""
    x0, _, x1, y1 = (edge * SCALE for edge in thing.box)
    thick = (x1 - x0) * (0.16 if look == "Social" else 0.1)
    ground = np.array(canvas.getpixel((int((x0 + x1) / 2), min(int(y1), canvas.height - 1))))
    dark = tuple(int(c) for c in ground * 0.88)
    ImageDraw.Draw(canvas).ellipse((x0, y1 - thick, x1, y1 + thick * 0.6), fill=dark)


def _disrupt(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Low resolution (blocks of 4 pixels), washed out, with noise."""
    width, height = image.size
    coarse = image.resize((width // 4, height // 4), Image.Resampling.BOX)
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.NEAREST), dtype=np.float64)
    pixels = pixels * 0.85 + 18 + rng.normal(0, 14, size=(height, width, 1)) + rng.normal(0, 8, size=pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8))
