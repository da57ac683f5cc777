"""The command line of the project, `llamafactory-gaze`, one file per command.

To train and to predict is LLaMA-Factory's `llamafactory-cli`.
"""

import typer

from llamafactory_gaze.cli.dataset import dataset
from llamafactory_gaze.cli.demo import demo
from llamafactory_gaze.cli.explain import explain
from llamafactory_gaze.cli.fixations import fixations
from llamafactory_gaze.cli.heatmaps import heatmaps
from llamafactory_gaze.cli.normalize import normalize
from llamafactory_gaze.cli.share import share
from llamafactory_gaze.cli.study import study
from llamafactory_gaze.cli.transcribe import transcribe
from llamafactory_gaze.cli.validate import validate


app = typer.Typer(
    help="Gaze for Qwen2.5-VL in LLaMA-Factory: see it work (demo), bring your own recordings (fixations, heatmaps, "
    "dataset), say the descriptions in the model's own style (normalize), check and share the result (validate, share), "
    "compare variants (study), see what a model does with a map (explain).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
)
app.command()(demo)
for command in (fixations, heatmaps, transcribe, dataset, normalize, validate, share, study, explain):
    app.command(no_args_is_help=True)(command)


def main() -> None:
    app()
