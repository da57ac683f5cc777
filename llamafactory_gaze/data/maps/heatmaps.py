"""Fixations to a saliency map (paper, section 3.1: "heatmaps of aggregated human gaze patterns"), and its PNG file."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import numpy as np


_AT_ONCE = 8192  # fixations; more, as the positions of a mouse are, go through memory in parts


def fixation_heatmap(
    x: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    size: tuple[int, int],
    sigma_px: float | tuple[float, float],
) -> np.ndarray:
    """Sum one Gaussian per fixation and scale the sum so that its maximum is 1.

    A two-dimensional Gaussian is the product of one along x and one along y, so the sum over all fixations is a product
    of two small matrices. It is exact at every width, between pixels and at the borders (what falls outside is lost),
    and for the numbers of fixations that people make it is faster than filtering an image.

    Args:
        x, y: (n,) positions in pixels, also beside the map; (0, 0) is the centre of the top left pixel.
        weight: (n,) not negative, for example durations, or ones.
        size: (width, height) of the map.
        sigma_px: standard deviation of the Gaussian in pixels, at least 1; a pair is one along x and one along y.

    Returns:
        (height, width) float32 in [0, 1].

    Raises:
        ValueError: no fixation has a weight, or sigma_px is below 1.
    """
    sigma_x, sigma_y = sigma_px if isinstance(sigma_px, tuple) else (sigma_px, sigma_px)
    if not (sigma_x >= 1 and sigma_y >= 1):
        raise ValueError(f"sigma_px is {sigma_px}; expected at least 1 pixel.")
    weight = np.asarray(weight, dtype=np.float64)
    if not np.sum(weight) > 0:
        raise ValueError("A heatmap needs at least one fixation with a weight above 0.")
    along_x, along_y = _Side(np.asarray(x), size[0], sigma_x), _Side(np.asarray(y), size[1], sigma_y)
    with np.errstate(divide="ignore"):
        logarithm = np.log(weight) - along_x.lost - along_y.lost
    factor = np.exp(logarithm - logarithm.max())[:, None].astype(np.float32)
    heatmap = np.zeros(size[::-1], np.float32)
    for first in range(0, len(factor), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        heatmap += (along_y.gaussians(part) * factor[part]).T @ along_x.gaussians(part)
    heatmap /= heatmap.max()
    return heatmap


class _Side:
    """The positions (n,) along one side of a map.

    Attributes:
        lost: (n,) negative logarithm of what each Gaussian has lost on its way to the map; 0 on the map. Kept apart,
            because float32 would lose the Gaussian of a fixation far beside the map altogether.
    """

    def __init__(self, position: np.ndarray, length: int, sigma: float) -> None:
        self._length, self._sigma = length, sigma
        self._nearest = np.clip(position, 0, length - 1)
        self._outside = np.abs(position - self._nearest) / sigma
        self.lost = 0.5 * self._outside**2

    def gaussians(self, part: slice) -> np.ndarray:
        """(k, length) float32, one Gaussian per position that is 1 at the point of the map next to the position.

        With d the way from the fixation to the map and s the way on to a pixel, in standard deviations,
        (d + s)^2 = d^2 + s (s + 2 d).
        """
        # Float32 is less than half the time of float64, but only after the difference: a position has more digits.
        inside = np.abs((np.arange(self._length) - self._nearest[part, None]) / self._sigma).astype(np.float32)
        twice = np.float32(2) * self._outside[part, None].astype(np.float32)
        return np.exp(np.float32(-0.5) * inside * (inside + twice))


def encode_map(saliency: np.ndarray, texts: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a 16-bit greyscale PNG of a map (H, W) in [0, 1]; equal maps and texts give equal bytes.

    `texts` stand in the file by keyword (PNG specification, section 11.3.3.4, iTXt), before the pixels, so that they
    are read without them.

    Written here rather than by PIL, which tries several filters on each line: a smooth map is nearly the line above it,
    so that filter alone (PNG specification, section 9.2, type 2) takes half the time and gives a smaller file.
    """
    values = np.round(saliency * np.float32(65535)).astype(">u2")
    height, width = values.shape
    rows = values.view(np.uint8).reshape(height, 2 * width)
    lines = np.empty((height, 1 + 2 * width), np.uint8)
    lines[:, 0] = 2  # the filter "up": the difference, modulo 256, to the byte above
    lines[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=lines[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)  # 16 bits, greyscale, not interlaced
    # The low bytes hardly compress: level 6 takes four times as long and saves a quarter.
    said = [(b"iTXt", word.encode("latin-1") + bytes(5) + text.encode()) for word, text in (texts or {}).items()]
    chunks = ((b"IHDR", header), *said, (b"IDAT", zlib.compress(lines.tobytes(), 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
