"""What a map does inside the model, as pictures: where the calibrator looks, and which visual tokens move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eval.report.gallery import data_uri
from llamafactory_gaze.explain import Effect, measure_effect
from llamafactory_gaze.explain.draw import LEAST, MOVED_ALPHA, attention_limit, attention_scale, moved_scale, paint_over
from llamafactory_gaze.modeling.configuration import IN_PICTURE, IN_TOWER
from llamafactory_gaze.playground.gaze import Gaze
from llamafactory_gaze.playground.models import Models
from llamafactory_gaze.playground.picture import Picture
from llamafactory_gaze.saliency.pictures import PICTURES


@dataclass(frozen=True)
class Panel:
    """One picture as a data URI, with the ends of its colour scale: ("attention" or "moved", low, high)."""

    title: str
    picture: str
    note: str = ""
    scale: tuple[str, str, str] | None = None


@dataclass(frozen=True)
class Inside:
    """What there is to see for one gaze.

    Attributes:
        panels: the attention of each calibrator, mean over its heads, and the moved tokens.
        heads: the attention of each head.
        sentence: what cannot be shown of this model, and why; or empty.
    """

    title: str
    panels: list[Panel]
    heads: list[Panel]
    sentence: str


def look_inside(models: Models, title: str, gaze: Gaze, picture: Picture) -> Inside:
    """Measure and draw what the map does in the gaze model, as far as its kind of fusion has it."""
    fusion = models.gaze.settings["gaze_fusion"]
    if fusion in IN_PICTURE:
        seen = PICTURES[fusion](picture.shown, gaze.saliency)
        sentence = (
            f"With gaze_fusion {fusion} gaze is drawn into the picture; the tower has no calibrator to look into."
        )
        return Inside(title, [Panel("The picture as the model gets it", data_uri(seen))], [], sentence)
    if fusion not in IN_TOWER:
        sentence = f"With gaze_fusion {fusion} gaze is written into the prompt; the tower gets the picture alone."
        return Inside(title, [], [], sentence)
    gazing = models.gaze
    effect = measure_effect(gazing.model, gazing.processor, picture.image, gaze.saliency, models.max_pixels)
    panels, heads = _attention(effect, picture)
    sentence = "" if panels else f"With gaze_fusion {fusion} gaze has no attention of its own that could be shown."
    return Inside(title, [*panels, _moved(effect, picture)], heads, sentence)


def _attention(effect: Effect, picture: Picture) -> tuple[list[Panel], list[Panel]]:
    """The mean of each block's heads, and each head; both kinds on one scale each."""
    blocks = {block: heads * heads[0].size for block, heads in effect.attention.items()}  # in multiples of chance
    means = {f"Attention in block {block}": heads.mean(0) for block, heads in blocks.items()}
    single = {f"block {block}, head {head}": of for block, heads in blocks.items() for head, of in enumerate(heads)}
    return _on_one_scale(means, picture), _on_one_scale(single, picture)


def _on_one_scale(maps: dict[str, np.ndarray], picture: Picture) -> list[Panel]:
    if not maps:
        return []
    limit = attention_limit(list(maps.values()))
    scale = attention_scale(limit)
    ends = ("attention", f"1/{_short(limit)}", f"{_short(limit)} times chance")
    return [
        Panel(
            title,
            data_uri(paint_over(picture.shown, times.clip(min=LEAST), scale)),
            f"red: more than chance, up to {_short(times.max())} times; blue: less",
            ends,
        )
        for title, times in maps.items()
    ]


def _moved(effect: Effect, picture: Picture) -> Panel:
    moved = effect.moved * 100
    return Panel(
        "Moved visual tokens",
        data_uri(paint_over(picture.shown, moved, moved_scale(moved), MOVED_ALPHA)),
        f"by {_short(moved.mean())} % of their norm on average",
        ("moved", "0 %", f"{_short(moved.max())} %"),
    )


def _short(value: float) -> str:
    """Two digits, or those before the point: 0.37, 4.2, 123."""
    return f"{value:.2g}" if value < 99.5 else f"{value:.0f}"
