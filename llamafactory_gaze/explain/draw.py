"""An explanation as pictures: the heads' attention and the moved visual tokens, each laid over the image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from PIL import Image

from llamafactory_gaze.explain.measure import Explanation
from llamafactory_gaze.saliency.maps import overlay


_PANEL = 2.7  # width of a head's panel in inches
_COLUMNS = 4  # panels in a line
_LEAST_RANGE = 2.0  # times chance; differences that are smaller than this are not to fill the colour scale
_LONGER_SIDE = 1200  # pixels to which a larger image is scaled down before it is drawn
MOVED_ALPHA = 0.75  # opacity of the moved tokens over the image
# Zero has no logarithm and would be left out, which would look like chance; it has the colour of the least.
LEAST = 1e-9


def draw_attention(explanation: Explanation, image: Image.Image, saliency: np.ndarray, target: Path) -> None:
    """Draw where each head of each calibrator looks, one panel per head, all on one colour scale.

    The scale is logarithmic around chance, an attention of 1 / patches: the image shows through where a head looks as
    much as chance would, red is more and blue is less.

    Args:
        explanation: with attention.
        image: the image that was explained, any mode and size.
        saliency: its map, (H, W) in [0, 1].
        target: PNG file.
    """
    image = _small(image)
    heads = [
        (f"block {block}, head {head}", values * values.size)
        for block, attention in explanation.attention.items()
        for head, values in enumerate(attention)
    ]
    limit = attention_limit([times for _, times in heads])
    scale = attention_scale(limit)

    lines = -(-len(heads) // _COLUMNS)
    columns = min(_COLUMNS, max(len(heads), 3))
    height = _PANEL * image.height / image.width + 0.5
    figure = Figure(figsize=(columns * _PANEL, (lines + 1) * height + 1.2), layout="constrained")
    rows = figure.add_gridspec(lines + 2, columns, height_ratios=[*[height] * (lines + 1), 0.2])
    _show(figure.add_subplot(rows[0, 0]), image, "image")
    _show(figure.add_subplot(rows[0, 1]), overlay(image, saliency), "image with its map")
    grey = _pale_grey(image)
    for number, (name, times) in enumerate(heads):
        axis = figure.add_subplot(rows[1 + number // columns, number % columns])
        _show(axis, grey, f"{name}\nup to {times.max():.3g} x chance")
        _lay_over(axis, times.clip(min=LEAST), scale, image)
    bar = figure.colorbar(scale, cax=figure.add_subplot(rows[-1, :]), orientation="horizontal", extend="min")
    ticks = _ticks(limit)
    bar.set_ticks(ticks, labels=[f"{tick:.3g}" if tick >= 1 else f"1/{1 / tick:.3g}" for tick in ticks])
    bar.minorticks_off()
    bar.ax.axvline(1, color="black", linewidth=2)
    chance = f"chance, 1/{heads[0][1].size}"
    bar.set_label(f"attention in multiples of chance, one scale for all heads; black line: {chance}")
    figure.suptitle("Where the calibrator looks on behalf of the looked-at patches", fontsize=13)
    figure.savefig(target, dpi=120, format="png")


def draw_moved(explanation: Explanation, image: Image.Image, saliency: np.ndarray, target: Path) -> None:
    """Draw how far the map moves each visual token, in percent of the token's norm, and the captions below.

    Arguments as for `draw_attention`.
    """
    image = _small(image)
    moved = explanation.moved * 100
    scale = moved_scale(moved)
    captions = [
        *wrap(f"With the map: {explanation.caption_with}", 130),
        *wrap(f"Without: {explanation.caption_without}", 130),
    ]
    height = 3.9 * image.height / image.width + 0.6
    figure = Figure(figsize=(12.6, height + 0.2 * len(captions) + 0.3), layout="constrained")
    axes = figure.subplots(1, 3)
    _show(axes[0], image, "image")
    _show(axes[1], overlay(image, saliency), "image with its map")
    _show(axes[2], _pale_grey(image), f"how far the visual tokens move\nmean {moved.mean():.3g} %")
    _lay_over(axes[2], moved, scale, image, alpha=MOVED_ALPHA)
    figure.colorbar(scale, ax=axes[2], label="change in percent of the token's norm", shrink=0.9)
    text = "\n".join(captions).replace("$", r"\$")
    figure.supxlabel(text, x=0.01, ha="left", fontsize=10, linespacing=1.4)
    figure.savefig(target, dpi=120, format="png")


def attention_limit(heads: Sequence[np.ndarray]) -> float:
    """The end of a scale that holds all these attentions, in multiples of chance."""
    return max(_LEAST_RANGE, *(float(times.max()) for times in heads))


def attention_scale(limit: float) -> ScalarMappable:
    """The logarithmic scale around chance from 1 / limit to limit, in multiples of chance."""
    return ScalarMappable(LogNorm(1 / limit, limit), _fading(colormaps["RdBu_r"]))


def moved_scale(moved: np.ndarray) -> ScalarMappable:
    """The scale of moved tokens, from 0 to the largest of these."""
    return ScalarMappable(Normalize(0, float(moved.max()) or 1.0), colormaps["viridis"])


def paint_over(image: Image.Image, values: np.ndarray, scale: ScalarMappable, alpha: float = 1.0) -> Image.Image:
    """The image in pale grey under one rectangle of colour per value, as an RGB image of the same size.

    Args:
        values: (rows, columns), a grid that covers the whole image; above 0 where the scale is logarithmic.
        alpha: opacity; a colour that the scale makes transparent stays as it makes it.
    """
    colours = scale.to_rgba(values)
    opacity = colours[..., 3] if alpha == 1 else np.full(values.shape, alpha)
    rgba = np.dstack([colours[..., :3], opacity])
    layer = Image.fromarray((rgba * 255).round().astype(np.uint8)).resize(image.size, Image.Resampling.NEAREST)
    return Image.alpha_composite(Image.fromarray(_pale_grey(image)).convert("RGBA"), layer).convert("RGB")


def _show(axis: Any, image: Image.Image | np.ndarray, title: str) -> None:
    axis.imshow(image)
    axis.set_title(title, fontsize=10)
    axis.set_axis_off()


def _lay_over(axis: Any, values: np.ndarray, scale: ScalarMappable, image: Image.Image, **options: Any) -> None:
    """One rectangle of colour per value; the grid covers the whole image, whatever its size in pixels."""
    extent = (-0.5, image.width - 0.5, image.height - 0.5, -0.5)
    axis.imshow(values, cmap=scale.cmap, norm=scale.norm, extent=extent, interpolation="nearest", **options)


def _small(image: Image.Image) -> Image.Image:
    image = image.convert("RGB")
    image.thumbnail((_LONGER_SIDE, _LONGER_SIDE))
    return image


def _pale_grey(image: Image.Image) -> np.ndarray:
    """(height, width, 3) uint8, with little contrast, so that colours laid over it keep their meaning."""
    grey = np.asarray(image.convert("L"), dtype=np.float32)
    return np.repeat((90 + grey * 0.6)[..., None], 3, axis=2).astype(np.uint8)


def _fading(colours: Colormap) -> ListedColormap:
    """The same colours, transparent in the middle of the scale."""
    table = colours(np.linspace(0, 1, 256))
    table[:, 3] = np.minimum(np.abs(np.linspace(-1, 1, 256)) * 1.8, 0.85)
    return ListedColormap(table)


def _ticks(limit: float) -> list[float]:
    """Powers of two, or of four, eight, ... where those would be too many, from 1 / limit to limit."""
    powers = int(np.log2(limit))
    step = -(-powers // 4)
    return [2.0**power for power in range(-(powers // step) * step, powers + 1, step)]
