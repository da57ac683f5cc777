"""`llamafactory-gaze explain`: what a model does with a map."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llamafactory_gaze.cli.common import AdapterOption, MaxPixelsOption, errors_as_sentences


def explain(
    model: Annotated[
        str,
        typer.Argument(help="Exported gaze model, or with --adapter its base model: a folder or a name on the Hub."),
    ],
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="The image.")],
    saliency_map: Annotated[Path, typer.Argument(metavar="MAP", help="Its saliency map, greyscale.")],
    output: Annotated[Path, typer.Option(help="Folder for the pictures and numbers: new, empty or of this command.")],
    adapter: AdapterOption = None,
    prompt: Annotated[str, typer.Option(help="The question that the captions answer.")] = "Describe the image.",
    max_pixels: MaxPixelsOption = None,
) -> None:
    """Show what a model does with the map of an image: where each head looks, and how far each visual token moves.

    \b
    Example:
      llamafactory-gaze explain saves/export photo.jpg map.png --output saves/explained
      llamafactory-gaze explain Qwen/Qwen2.5-VL-3B-Instruct photo.jpg map.png \\
        --adapter saves/stage1 --adapter saves/stage2 --output saves/explained
    """
    from rich.console import Console

    from eval.errors import InputError
    from llamafactory_gaze.explain.report import explain_files
    from llamafactory_gaze.inference import InferenceError
    from llamafactory_gaze.saliency.label import map_source
    from llamafactory_gaze.saliency.maps import SaliencyMapError

    with errors_as_sentences(InferenceError, InputError, SaliencyMapError):
        explained = explain_files(model, image, saliency_map, output, adapter or (), prompt, max_pixels)
        source = map_source(saliency_map)
    moved = explained.moved * 100
    said = f"The map was not recorded by an eye tracker: {source}.\n" if source is not None else ""
    Console(highlight=False).print(
        f"{said}"
        f"With the map: {explained.caption_with}\n"
        f"Without:      {explained.caption_without}\n"
        f"The visual tokens move by {moved.mean():.3g} % of their norm, at most {moved.max():.3g} %.\n"
        f"Look at {' and '.join(str(path) for path in sorted(output.glob('*.png')))}.",
        markup=False,
        soft_wrap=True,
    )
