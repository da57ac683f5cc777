"""Gaze written into the prompt: `gaze_fusion: text`.

A map holds no single fixations: what it tells of them are its peaks, where they gather. The sentence names the peaks in
pixels of the image as the model sees it, which is how Qwen2.5-VL was taught to point.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import center_of_mass, gaussian_filter, label, maximum_filter

from llamafactory_gaze.saliency.maps import resize_map


MAX_POINTS = 4
LOWEST = 0.2  # a peak lower than this part of the highest one is left out
GRID = 32  # the longer side on which peaks are looked for: two peaks within one cell in 32 are one


def gaze_points(saliency: np.ndarray) -> list[tuple[float, float, float]]:
    """The peaks of a map, the highest first.

    Args:
        saliency: (H, W) in [0, 1].

    Returns:
        at most `MAX_POINTS` of (x, y, height), x and y in [0, 1] of the image's width and height; none of a black map,
        and one in the middle of a uniform one.
    """
    height, width = saliency.shape
    scale = GRID / max(height, width)
    coarse = resize_map(saliency, (max(1, round(width * scale)), max(1, round(height * scale))))
    smooth = gaussian_filter(coarse.astype(np.float64), 0.7, mode="nearest")
    if smooth.max() <= 0:
        return []
    smooth = (smooth / smooth.max()).round(6) * smooth.max()  # equally high is equal, whatever the filters' rounding
    peak = (smooth == maximum_filter(smooth, size=5, mode="nearest")) & (smooth >= LOWEST * smooth.max())
    tops, count = label(peak, np.ones((3, 3)))  # cells side by side are one peak, and what is uniform is one, too
    places = center_of_mass(peak, tops, range(1, count + 1))
    heights = [float(smooth[tops == top].max()) for top in range(1, count + 1)]
    order = np.argsort(-np.array(heights), kind="stable")[:MAX_POINTS]
    rows, columns = smooth.shape
    return [(float(places[i][1] + 0.5) / columns, float(places[i][0] + 0.5) / rows, heights[i]) for i in order]


def gaze_sentence(saliency: np.ndarray, size: tuple[int, int]) -> str:
    """The peaks in words; empty for a black map.

    Args:
        saliency: (H, W) in [0, 1].
        size: (width, height) of the image as the model sees it, in whose pixels the peaks are given.

    Returns:
        for instance "People looked at (84, 30), (20, 112)." and the end of the line.
    """
    points = [f"({round(x * size[0])}, {round(y * size[1])})" for x, y, _ in gaze_points(saliency)]
    return f"People looked at {', '.join(points)}.\n" if points else ""
