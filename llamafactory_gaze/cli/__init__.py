"""The command line of the project, `llamafactory-gaze`, one file per command.

To train and to predict is LLaMA-Factory's `llamafactory-cli`.
"""

import typer

from llamafactory_gaze.cli.common import Commands
from llamafactory_gaze.cli.dataset import dataset
from llamafactory_gaze.cli.demo import demo
from llamafactory_gaze.cli.explain import explain
from llamafactory_gaze.cli.fixations import fixations
from llamafactory_gaze.cli.heatmaps import heatmaps
from llamafactory_gaze.cli.normalize import normalize
from llamafactory_gaze.cli.playground import playground
from llamafactory_gaze.cli.predict_map import predict_map
from llamafactory_gaze.cli.share import share
from llamafactory_gaze.cli.study import study
from llamafactory_gaze.cli.transcribe import transcribe
from llamafactory_gaze.cli.validate import validate


app = typer.Typer(
    cls=Commands,
    help="Gaze for Qwen2.5-VL in LLaMA-Factory: what stands around `llamafactory-cli train`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
)

EXPERIMENTS, DATA = "Experiments", "From the eye tracker to the data set"
app.command(rich_help_panel=EXPERIMENTS)(demo)
app.command(no_args_is_help=True, rich_help_panel=EXPERIMENTS)(study)
app.command(no_args_is_help=True, rich_help_panel=EXPERIMENTS)(explain)
app.command(no_args_is_help=True, rich_help_panel=EXPERIMENTS)(playground)
for command in (fixations, heatmaps, predict_map, transcribe, dataset, normalize, validate, share):
    app.command(no_args_is_help=True, rich_help_panel=DATA)(command)


def main() -> None:
    app()
