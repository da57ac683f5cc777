"""Sizes of Qwen2.5-VL-3B-Instruct and 7B-Instruct, from their config.json."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Tower:
    """The visual tower, which is the same in both but for its last layer (`out`)."""

    out: int
    depth: int = 32
    full: tuple[int, ...] = (7, 15, 23, 31)  # blocks whose attention sees the whole image
    width: int = 1280
    inner: int = 3420
    heads: int = 16
    window: int = 8  # patches on a side
    merge: int = 2
    colours: int = 3 * 2 * 14 * 14
    saliency: int = 2 * 14 * 14


@dataclass(frozen=True)
class Language:
    width: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool
    head_width: int = 128


@dataclass(frozen=True)
class Shape:
    name: str
    tower: Tower
    language: Language
    calibrators: tuple[int, ...] = field(default=(28,))


SHAPES = {
    "3B": Shape("3B", Tower(2048), Language(2048, 11008, 36, 16, 2, 151936, tied=True)),
    "7B": Shape("7B", Tower(3584), Language(3584, 18944, 28, 28, 4, 152064, tied=False)),
}
