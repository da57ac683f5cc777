"""`llamafactory-gaze playground`: a page to try a model on."""

from __future__ import annotations

from typing import Annotated

import typer

from llamafactory_gaze.cli.common import AdapterOption, MaxPixelsOption, errors_as_sentences


def playground(
    model: Annotated[
        str, typer.Option(help="Exported gaze model, or with --adapter its base model: a folder or a name on the Hub.")
    ],
    adapter: AdapterOption = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="Model to compare with; it gets no map, and may be a stock Qwen2.5-VL. Default: the same model, "
            "without a map."
        ),
    ] = None,
    baseline_adapter: Annotated[
        list[str] | None, typer.Option(help="Output folder of a training of the baseline. Repeatable, as --adapter.")
    ] = None,
    prompt: Annotated[str, typer.Option(help="The question to begin with.")] = "Describe the image.",
    max_pixels: MaxPixelsOption = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on. The default is this machine alone; 0.0.0.0 is everybody.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port. Default: the first free one from 7860 on.")
    ] = None,
    # A painting, which the browser uploads together with the picture under it, takes up to 1.6 MB.
    max_upload_mb: Annotated[int, typer.Option(min=2, help="Refuse larger uploads, in megabytes.")] = 20,
) -> None:
    """Open a page to try a model on: paint where one looks, or replay fixations, and read what the model says.

    \b
    Example:
      llamafactory-gaze playground --model saves/export
      llamafactory-gaze playground --model Qwen/Qwen2.5-VL-3B-Instruct --adapter saves/stage1 --adapter saves/stage2 \\
        --baseline saves/baseline
    """
    if baseline_adapter and not baseline:
        raise typer.BadParameter("--baseline-adapter needs --baseline, the model that it was trained on.")

    from llamafactory_gaze.inference import InferenceError
    from llamafactory_gaze.playground.models import load_models
    from llamafactory_gaze.playground.picture import PlaygroundError
    from llamafactory_gaze.playground.serve import serve

    with errors_as_sentences(InferenceError, PlaygroundError):
        models = load_models(model, adapter or (), baseline, baseline_adapter or (), max_pixels)
        serve(models, prompt, host, port, max_upload_mb)
