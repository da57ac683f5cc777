"""Floating-point operations: a multiplication and an addition are 2. Matrix products alone; the rest is below 1%.

Sizes: N patches, of which the language model sees N / 4 as tokens; T tokens in all; d, f: width and MLP of the tower.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.cost.shapes import Language, Shape, Tower


def linear(rows: int, *sizes: tuple[int, int]) -> int:
    """Of matrices (in, out) that `rows` vectors go through."""
    return sum(2 * rows * inside * outside for inside, outside in sizes)


def attention(queries: int, keys: int, width: int) -> int:
    """Q K^T and A V, all pairs, also where a causal mask hides half of them."""
    return 4 * queries * keys * width


def window_pairs(grid: tuple[int, int], tower: Tower) -> int:
    """Pairs of patches that share a window, in an image of (rows, columns) patches; those at its edges are smaller."""
    sides = ([tower.window] * (n // tower.window) + [n % tower.window] for n in grid)
    squares = [sum(side**2 for side in each) for each in sides]
    return squares[0] * squares[1]


def block(grid: tuple[int, int], tower: Tower, full: bool) -> int:
    """2 N (4 d^2 + 3 d f) + 4 d (N^2, or the pairs within windows)"""
    n, d, f = grid[0] * grid[1], tower.width, tower.inner
    pairs = n**2 if full else window_pairs(grid, tower)
    return linear(n, (d, 4 * d), (d, 3 * f)) + 4 * d * pairs


def calibrator(grid: tuple[int, int], tower: Tower, query: str = "patch", scope: str = "image") -> int:
    """A query for each patch: 2 N (s d + 4 d^2) + 4 d N^2, s: values of a map's patch; windows: 4 d P for 4 d N^2.

    One for an image (global): 2 (s d + 2 d^2) + 2 N 2 d^2 + 4 d N.
    """
    n, d = grid[0] * grid[1], tower.width
    asked = n if query == "patch" else 1
    pairs = window_pairs(grid, tower) if scope == "window" else asked * n
    return linear(asked, (tower.saliency, d), (d, 2 * d)) + linear(n, (d, 2 * d)) + 4 * d * pairs


def embedding(grid: tuple[int, int], tower: Tower) -> int:
    return linear(grid[0] * grid[1], (tower.colours, tower.width))


def merger(grid: tuple[int, int], tower: Tower) -> int:
    wide = tower.width * tower.merge**2
    return linear(grid[0] * grid[1] // tower.merge**2, (wide, wide), (wide, tower.out))


def stock_tower(grid: tuple[int, int], tower: Tower) -> int:
    blocks = sum(block(grid, tower, i in tower.full) for i in range(tower.depth))
    return embedding(grid, tower) + blocks + merger(grid, tower)


def layer(tokens: int, seen: int, language: Language) -> int:
    """One layer of the language model, of `tokens` new tokens that look at `seen`."""
    d, kv = language.width, language.kv_heads * language.head_width
    return linear(tokens, (d, 2 * d + 2 * kv), (d, 3 * language.inner)) + attention(tokens, seen, d)


def prefill(tokens: int, language: Language) -> int:
    """The prompt up to the first new token: the vocabulary is asked once."""
    return language.layers * layer(tokens, tokens, language) + linear(1, (language.width, language.vocabulary))


def decode(seen: int, language: Language) -> int:
    """One further token."""
    return language.layers * layer(1, seen, language) + linear(1, (language.width, language.vocabulary))


@dataclass(frozen=True)
class Step:
    """Of one row in training, forward and backward: the tower before gaze, from gaze on, and the language model."""

    image_stage: int
    gaze_stage: int
    language: int

    @property
    def total(self) -> int:
        return self.image_stage + self.gaze_stage + self.language


def step(grid: tuple[int, int], tokens: int, shape: Shape, known: bool = False, checkpointing: bool = False) -> Step:
    """Stage 1, where the language model is frozen; in stage 2 LoRA's own products come on top there.

    Those of rank 16 are 2% of the gaze stage and left out. Backward of a frozen matrix costs what its forward does (the
    gradient of its input), of a trained one twice that, and of attention twice that. Block 28's own attention lies
    before all that is trained.

    Args:
        known: whether the image stage comes out of the image cache.
        checkpointing: whether blocks and layers are run again for their backward.
    """
    tower, language = shape.tower, shape.language
    first = min(shape.calibrators)
    n, d = grid[0] * grid[1], tower.width
    before = 0 if known else embedding(grid, tower) + sum(block(grid, tower, i in tower.full) for i in range(first))
    pairs = {True: n**2, False: window_pairs(grid, tower)}
    forward = backward = 0
    for i in range(first, tower.depth):
        forward += block(grid, tower, i in tower.full)
        if i == first:
            backward += linear(n, (d, 3 * tower.inner))
            # E_sal is run again, instead of keeping what it made
            backward += 2 * linear(n, (tower.saliency, d)) + 2 * linear(n, (d, 4 * d)) + 2 * attention(n, n, d)
            forward += calibrator(grid, tower)
        else:
            backward += linear(n, (d, 4 * d), (d, 3 * tower.inner)) + 8 * d * pairs[i in tower.full]
    again = forward if checkpointing else 0
    ends = merger(grid, tower)
    seen = language.layers * layer(tokens, tokens, language)
    head = linear(tokens, (language.width, language.vocabulary))
    grown = seen + language.layers * attention(tokens, tokens, language.width)
    spoken = seen + grown + 2 * head + (seen if checkpointing else 0)
    return Step(before, forward + backward + again + 2 * ends, spoken)
