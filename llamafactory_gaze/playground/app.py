"""The page: a picture, two gazes, their captions, what happens inside the model, and the report."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import gradio as gr

from llamafactory_gaze.playground import pages
from llamafactory_gaze.playground.describe import describe
from llamafactory_gaze.playground.models import Models
from llamafactory_gaze.playground.panel import GazePanel, errors_as_toasts, fresh, gaze_of, make_panel
from llamafactory_gaze.playground.picture import Picture, PlaygroundError, draw_example, read_picture
from llamafactory_gaze.playground.session import Answered, write_report


REPORT = "gaze-session.html"
_DELETE_AFTER = (3600, 24 * 3600)  # every hour, the uploads that are older than a day; all of them when the server ends
# System fonts, so that the page fetches none.
_FONTS = ("Segoe UI", "Noto Sans", "Helvetica Neue", "DejaVu Sans", "sans-serif")

_QUIET: dict[str, Any] = {"show_progress": "hidden"}
_HOW_TO_BEGIN = (
    '<p class="pg-note">Upload a picture or draw one, say where one looks in gaze A (and, to compare, in gaze B), '
    "and press Describe.</p>"
)
_NOTHING_YET = '<p class="pg-note">Shown for each gaze when its caption is complete.</p>'


def build_page(models: Models, prompt: str, folder: Path) -> gr.Blocks:
    """The page.

    Args:
        prompt: the question, to begin with.
        folder: where reports are written.
    """
    theme = gr.themes.Default(
        primary_hue="blue",
        neutral_hue="slate",
        radius_size="sm",
        font=_FONTS,
        font_mono=("DejaVu Sans Mono", "monospace"),
    )
    with gr.Blocks(
        title="Gaze playground",
        theme=theme,
        css=pages.stylesheet(),
        analytics_enabled=False,
        delete_cache=_DELETE_AFTER,
        fill_width=True,
    ) as page:
        picture, answers = gr.State(None), gr.State([])
        gr.HTML(pages.render("header.html.j2", models=models), padding=False)
        with gr.Row():
            with gr.Column(scale=3, min_width=260, elem_classes="pg-column"):
                # A File rather than an Image, which would open the upload before we can say what is wrong with it.
                upload = gr.File(label="Picture", file_types=["image"], height=130, elem_id="picture")
                example = gr.Button("Draw a simulated picture", size="sm", elem_id="example")
                question = gr.Textbox(label="Prompt", value=prompt, lines=1, max_lines=4)
                spread = gr.Slider(
                    1,
                    10,
                    value=3,
                    step=0.5,
                    label="Spread of a fixation or stroke (% of the width)",
                    info="Standard deviation of the Gaussian; about one degree of visual angle.",
                )
            panels = []
            for title in ("Gaze A", "Gaze B"):
                with gr.Column(scale=4, min_width=300, elem_classes="pg-column"):
                    panels.append(make_panel(title, picture, spread))
        with gr.Row():
            ask = gr.Button("Describe", variant="primary", scale=4, min_width=120, elem_id="describe")
            stop = gr.Button("Stop", scale=0, min_width=90, elem_id="stop")
        captions = gr.HTML(_HOW_TO_BEGIN, padding=False, elem_id="captions")
        with gr.Accordion("Inside the model: attention of the calibrator, moved tokens", open=True):
            inside = gr.HTML(_NOTHING_YET, padding=False, elem_id="inside")
        report = gr.DownloadButton("Save the session as a report", interactive=False, elem_id="report")

        of_a_picture = [picture, *(component for panel in panels for component in panel.of_a_picture)]

        def begin_with(picture: Picture | None) -> list[Any]:
            return [picture, *(value for _ in panels for value in fresh(picture))]

        upload.upload(
            errors_as_toasts(lambda path: begin_with(read_picture(Path(path)))), upload, of_a_picture, **_QUIET
        )
        upload.clear(lambda: begin_with(None), outputs=of_a_picture, **_QUIET)
        example.click(lambda: [None, *begin_with(draw_example())], outputs=[upload, *of_a_picture], **_QUIET)

        @errors_as_toasts
        def run(picture: Picture | None, question: str, spread: float, earlier: list[Answered], *values: Any) -> Any:
            gazes = _gazes(picture, spread, panels, values)
            assert picture is not None
            yield "", _NOTHING_YET, earlier, gr.skip()
            for progress in describe(models, picture, question, gazes):
                shown = pages.render("captions.html.j2", cards=progress.cards, comparison=progress.comparison)
                if progress.answered is None:
                    yield shown, gr.skip(), gr.skip(), gr.skip()
                    continue
                session = [*earlier, progress.answered]
                target = Path(tempfile.mkdtemp(dir=folder)) / REPORT
                write_report(target, models, session)
                seen = pages.render("inside.html.j2", inside=progress.answered.inside)
                yield shown, seen, session, gr.DownloadButton(value=str(target), interactive=True)

        running = ask.click(
            run,
            [picture, question, spread, answers, *(value for panel in panels for value in panel.values)],
            [captions, inside, answers, report],
            concurrency_limit=1,
            concurrency_id="model",
            **_QUIET,
        )
        stop.click(None, cancels=running)
    return page


def _gazes(picture: Picture | None, spread: float, panels: list[GazePanel], values: tuple[Any, ...]) -> dict[str, Any]:
    """The gazes that there are, by title.

    Raises:
        PlaygroundError: no picture, or no gaze.
    """
    if picture is None:
        raise PlaygroundError("There is no picture yet: upload one, or draw a simulated one.")
    count = len(panels[0].values)
    found = {
        panel.title: gaze_of(picture, spread, *values[number * count : (number + 1) * count])
        for number, panel in enumerate(panels)
    }
    gazes = {title: gaze for title, gaze in found.items() if gaze is not None}
    if not gazes:
        raise PlaygroundError("There is no gaze yet: paint where one looks, load fixations, or load a map.")
    return gazes
