"""The part of the page in which one gaze is made: painted, replayed or loaded."""

from __future__ import annotations

import html
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from inspect import isgeneratorfunction
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image, ImageDraw

from eval.report.gallery import data_uri
from llamafactory_gaze.data.fixations import Fixations
from llamafactory_gaze.data.maps.geometry import rescale
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.inference import InferenceError
from llamafactory_gaze.playground import pages
from llamafactory_gaze.playground.gaze import (
    EVERYBODY,
    Gaze,
    Replay,
    gaze_of_replay,
    image_for,
    images_of,
    painted_map,
    people_of,
    read_map,
    read_uploaded_fixations,
    replay,
)
from llamafactory_gaze.playground.picture import Picture, PlaygroundError
from llamafactory_gaze.saliency.maps import SaliencyMapError, overlay


PAINT, FIXATIONS, MAP = "Paint", "Fixations", "Map"  # the tabs
_FRAME = 0.1  # seconds between two pictures of a replay
_STEP = 0.05  # seconds, of the slider
_QUIET: dict[str, Any] = {"show_progress": "hidden"}


def errors_as_toasts(function: Callable[..., Any]) -> Callable[..., Any]:
    """Shows an error that the user can mend as the one sentence that it is; works for generators, too."""

    def toast(error: Exception) -> gr.Error:
        return gr.Error(html.escape(str(error)), duration=20, print_exception=False, title="That does not work")

    errors = (PlaygroundError, DataError, SaliencyMapError, InferenceError)
    if isgeneratorfunction(function):

        @wraps(function)
        def generate(*values: Any) -> Iterator[Any]:
            try:
                yield from function(*values)
            except errors as error:
                raise toast(error) from error

        return generate

    @wraps(function)
    def call(*values: Any) -> Any:
        try:
            return function(*values)
        except errors as error:
            raise toast(error) from error

    return call


@dataclass(frozen=True)
class GazePanel:
    """The components of one gaze whose values say what it is; `values` are those of `gaze_of`, in its order."""

    title: str
    source: gr.State
    editor: gr.ImageEditor
    table: gr.State
    table_file: gr.File
    image: gr.Dropdown
    person: gr.Dropdown
    time: gr.Slider
    replayed: gr.HTML
    map_file: gr.File
    loaded: gr.HTML

    @property
    def values(self) -> list[Any]:
        return [self.source, self.editor, self.table, self.image, self.person, self.time, self.map_file]

    @property
    def of_a_picture(self) -> list[Any]:
        """What begins anew with a new picture; `fresh` has the values."""
        return [self.editor, self.table, self.table_file, self.replayed, self.map_file, self.loaded]


def fresh(picture: Picture | None) -> list[Any]:
    """The values of `GazePanel.of_a_picture` for a new picture."""
    painting = picture and {"background": picture.shown, "layers": [], "composite": picture.shown}
    return [painting, None, None, "", None, ""]


def gaze_of(
    picture: Picture,
    spread: float,
    source: str,
    painting: dict[str, Any] | None,
    table: Fixations | None,
    image: str | None,
    person: str,
    seconds: float,
    map_file: str | None,
) -> Gaze | None:
    """The gaze that a panel holds in its open tab; None where there is none.

    Args:
        spread: in percent of the picture's width.

    Raises:
        PlaygroundError, DataError, SaliencyMapError: it cannot be used; see `playground.gaze`.
    """
    if source == PAINT:
        saliency = painted_map(painting["layers"], spread / 100) if painting else None
        return None if saliency is None else Gaze(saliency, "painted in the page")
    if source == FIXATIONS:
        if table is None or not image:
            return None
        return gaze_of_replay(replay(table, image, person, picture), seconds * 1000, spread / 100, person)
    return None if map_file is None else read_map(Path(map_file), picture)


def make_panel(title: str, picture: gr.State, spread: gr.Slider) -> GazePanel:
    """Put a panel where the page stands, with all that happens within it."""
    gr.HTML(f'<div class="pg-title">{title}</div>', padding=False)
    source = gr.State(PAINT)
    name = title.lower().replace(" ", "-")
    with gr.Tabs():
        with gr.Tab(PAINT) as paint:
            editor = gr.ImageEditor(
                type="pil",
                image_mode="RGBA",
                format="png",
                sources=(),
                transforms=(),
                layers=False,
                brush=gr.Brush(default_size=70, colors=["rgba(255, 70, 0, 0.6)"], color_mode="fixed"),
                height=380,
                show_label=False,
                show_download_button=False,
                show_fullscreen_button=False,
                placeholder="Upload a picture, then paint where one looks",
                elem_id=f"{name}-editor",
                elem_classes="pg-editor",
            )
            clear = gr.Button("Clear the painting", size="sm", elem_id=f"{name}-clear")
        with gr.Tab(FIXATIONS) as fixations:
            table = gr.State(None)
            table_file = gr.File(
                label="Table of fixations: image, participant, x, y, duration_ms",
                file_types=[".csv", ".tsv", ".txt", ".parquet"],
                height=110,
                elem_id=f"{name}-table",
            )
            with gr.Row():
                image = gr.Dropdown(label="Image of the table", choices=[], interactive=True, min_width=120)
                person = gr.Dropdown(label="Who", choices=[EVERYBODY], value=EVERYBODY, interactive=True, min_width=120)
            seconds = gr.Slider(0, 1, value=0, step=_STEP, label="Looked until (s)", elem_id=f"{name}-time")
            with gr.Row():
                play = gr.Button("Replay", size="sm", min_width=80)
                pause = gr.Button("Pause", size="sm", min_width=80)
            replayed = gr.HTML(padding=False)
        with gr.Tab(MAP) as saliency:
            map_file = gr.File(
                label="Saliency map: greyscale, 8 or 16 bits, of the picture's shape",
                file_types=["image"],
                height=110,
                elem_id=f"{name}-map",
            )
            loaded = gr.HTML(padding=False)
    panel = GazePanel(title, source, editor, table, table_file, image, person, seconds, replayed, map_file, loaded)

    for tab, kind in ((paint, PAINT), (fixations, FIXATIONS), (saliency, MAP)):
        tab.select(lambda kind=kind: kind, outputs=source, queue=False, **_QUIET)

    clear.click(lambda picture: fresh(picture)[0], picture, editor, **_QUIET)

    viewing = [picture, spread, table, image, person]
    chosen = [seconds, replayed]
    table_file.upload(_open_table, [picture, spread, table_file], [table, image, person, *chosen], **_QUIET)
    image.input(_choose_image, [picture, spread, table, image], [person, *chosen], **_QUIET)
    person.input(_choose, viewing, chosen, **_QUIET)
    moment = [*viewing, seconds]
    playing = play.click(_play, moment, chosen, concurrency_limit=4, **_QUIET)
    seconds.input(_show_moment, moment, replayed, cancels=playing, trigger_mode="always_last", **_QUIET)
    pause.click(None, cancels=playing)
    table_file.clear(lambda: (None, ""), outputs=[table, replayed], cancels=playing, **_QUIET)

    map_file.upload(_show_map, [map_file, picture], [map_file, loaded], **_QUIET)
    map_file.clear(lambda: "", outputs=loaded, **_QUIET)
    return panel


@errors_as_toasts
def _open_table(picture: Picture | None, spread: float, file: str) -> tuple[Any, ...]:
    """A table of fixations, the choice of its images, and the values of `_choose_image`."""
    if picture is None:
        raise PlaygroundError("Upload the picture first, then the fixations on it.")
    table = read_uploaded_fixations(Path(file))
    image = image_for(table, picture)
    return table, gr.Dropdown(choices=images_of(table), value=image), *_choose_image(picture, spread, table, image)


def _choose_image(
    picture: Picture | None, spread: float, table: Fixations | None, image: str | None
) -> tuple[Any, ...]:
    """The choice of those who looked at an image, and the values of `_choose` for all of them."""
    people = people_of(table, image) if table is not None and image else []
    who = gr.Dropdown(choices=[EVERYBODY, *people], value=EVERYBODY)
    return who, *_choose(picture, spread, table, image, EVERYBODY)


@errors_as_toasts
def _choose(
    picture: Picture, spread: float, table: Fixations | None, image: str | None, person: str
) -> tuple[Any, str]:
    """The slider at the end of a viewing, and the picture of all of it."""
    if table is None or not image:
        return gr.skip(), '<p class="pg-note">Choose the image of the table that the picture is.</p>'
    viewing = replay(table, image, person, picture)
    end = _on_slider(viewing.end)
    return gr.Slider(maximum=end, value=end), _moment(picture, viewing, end * 1000, spread)


@errors_as_toasts
def _play(
    picture: Picture, spread: float, table: Fixations | None, image: str | None, person: str, seconds: float
) -> Iterator[tuple[float, str]]:
    """The viewing in its own time, from the slider on, or from the beginning where it stands at the end."""
    if table is None or not image:
        raise PlaygroundError("There is nothing to replay: load a table of fixations, and choose its image.")
    viewing = replay(table, image, person, picture)
    start = 0.0 if seconds * 1000 >= viewing.end else seconds * 1000
    began = time.monotonic()
    now = start
    while now < viewing.end:
        now = min(start + (time.monotonic() - began) * 1000, viewing.end)
        yield _on_slider(now), _moment(picture, viewing, now, spread)
        time.sleep(_FRAME)


@errors_as_toasts
def _show_moment(
    picture: Picture, spread: float, table: Fixations | None, image: str | None, person: str, seconds: float
) -> Any:
    if table is None or not image:
        return gr.skip()
    return _moment(picture, replay(table, image, person, picture), seconds * 1000, spread)


@errors_as_toasts
def _show_map(file: str, picture: Picture | None) -> tuple[Any, str]:
    if picture is None:
        raise PlaygroundError("Upload the picture first, then its map.")
    gaze = read_map(Path(file), picture)
    shown = overlay(picture.shown, gaze.saliency)
    return gr.skip(), pages.render("preview.html.j2", picture=data_uri(shown), note=gaze.origin)


def _on_slider(time_ms: float) -> float:
    """The next step of the slider, in seconds, so that its end is not before that of the viewing."""
    return round(math.ceil(time_ms / 1000 / _STEP) * _STEP, 2)


def _moment(picture: Picture, viewing: Replay, time_ms: float, spread: float) -> str:
    """The map up to a time over the picture, with a ring around what is looked at now."""
    saliency = viewing.map_at(time_ms, spread / 100)
    shown = picture.shown.copy() if saliency is None else overlay(picture.shown, saliency)
    _draw_rings(shown, viewing, time_ms)
    note = f"{int((viewing.lasted(time_ms) > 0).sum())} of {int(viewing.on_picture.sum())} fixations on the picture"
    return pages.render("preview.html.j2", picture=data_uri(shown), note=note)


def _draw_rings(shown: Image.Image, viewing: Replay, time_ms: float) -> None:
    draw = ImageDraw.Draw(shown)
    for at in viewing.now(time_ms):
        x, y = (float(rescale(np.array(at[i]), viewing.size[i], shown.size[i])) for i in (0, 1))
        for radius, colour in ((17, "black"), (15, "white"), (12, "black")):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=colour, width=3)
