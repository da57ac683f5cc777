"""`llamafactory-gaze normalize`: the stage-1 targets, said by the frozen base model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from llamafactory_gaze.cli.common import errors_as_sentences


if TYPE_CHECKING:
    from llamafactory_gaze.normalize import Normalized


def normalize(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name given to `llamafactory-gaze dataset`.")],
    dataset_dir: Annotated[
        Path, typer.Option(help="LLaMA-Factory's dataset_dir: the folder of dataset_info.json.")
    ] = Path("data_registry"),
    model: Annotated[
        str, typer.Option(help="The frozen base model, a Qwen2.5-VL: a folder or a name on the Hugging Face Hub.")
    ] = "Qwen/Qwen2.5-VL-3B-Instruct",
    template: Annotated[str, typer.Option(help="LLaMA-Factory's template of the model, without gaze.")] = "qwen2_vl",
    backend: Annotated[
        Literal["huggingface", "vllm", "sglang"],
        typer.Option(help="LLaMA-Factory's engine; vllm and sglang have to be installed."),
    ] = "huggingface",
    prompt: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE|TEXT",
            help="rewrite: our own; describe: a stand-in for the demo's tiny model, which ignores the description; a "
            "text file; or a text. {description} stands for what the person said.",
        ),
    ] = "rewrite",
    batch_size: Annotated[int, typer.Option(min=1, help="Rows that are asked at the same time.")] = 16,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longer answers are cut off, and reported.")] = 256,
    image_max_pixels: Annotated[
        int, typer.Option(min=28 * 28, help="Scale a larger image down; `image_max_pixels` of the recipes.")
    ] = 768 * 768,
    keep_original: Annotated[
        bool,
        typer.Option("--keep-original", help="Where an answer is empty or cut off, keep the description as target."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace targets or an entry of stage 1 that others have made.")
    ] = False,
) -> None:
    """Let the frozen base model say each training description in its own style: the targets of stage 1.

    The model sees the image, without gaze, and what the person said. NAME_stage1 is written once all rows have an
    answer; the originals stay in it and in NAME_stage2. After a kill, call again: it goes on with the next batch.
    Answers are greedy.

    \b
    Example:
      llamafactory-gaze normalize mine
      llamafactory-gaze normalize mine --backend vllm --batch-size 128
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from llamafactory_gaze.data.tables import DataError
    from llamafactory_gaze.normalize import NormalizeOptions, normalize_dataset

    with errors_as_sentences(DataError):
        options = NormalizeOptions(
            name=name,
            dataset_dir=dataset_dir,
            model=model,
            template=template,
            backend=backend,
            prompt=prompt,
            batch_size=batch_size,
            max_new_tokens=max_new_tokens,
            image_max_pixels=image_max_pixels,
            keep_original=keep_original,
            overwrite=overwrite,
        )
        columns = (TextColumn("Rows answered"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task("", total=None, visible=False)
            normalized = normalize_dataset(
                options, lambda done, rows: progress.update(task, completed=done, total=rows, visible=True)
            )
    _print_summary(normalized)


def _print_summary(normalized: Normalized) -> None:
    from rich.console import Console
    from rich.markup import escape

    from llamafactory_gaze.normalize.output import mean_words, records_file

    console = Console(highlight=False)
    targets, target = normalized.targets, normalized.source.target
    if normalized.prompt.stand_in:
        console.print(
            f"[bold yellow]Note:[/] the prompt '{normalized.prompt.name}' is a stand-in: its answers do not depend on "
            "the descriptions, and are no normalisation of them.",
            soft_wrap=True,
        )
    before = mean_words([t.sample.text for t in targets])
    after = mean_words([t.text for t in targets])
    console.print(
        f"{len(targets)} rows, {normalized.asked} questions asked now; {before:.1f} words in the mean before, "
        f"{after:.1f} after.",
        soft_wrap=True,
    )
    kept = [t for t in targets if t.problem]
    if kept:
        console.print(f"[bold yellow]Note:[/] {len(kept)} rows keep the original as their target:", soft_wrap=True)
        for t in kept:
            console.print(f"  {t.sample.id}: the answer is {t.problem}", markup=False, soft_wrap=True)
    for i in sorted({0, len(targets) // 2, len(targets) - 1}):
        t = targets[i]
        console.print(
            f"[bold]{escape(t.sample.id)}[/]\n  before: {escape(t.sample.text)}\n  after:  {escape(t.text)}",
            soft_wrap=True,
        )
    if normalized.changed:
        console.print(
            f"Wrote {target}, {records_file(target).name} beside it and the data card. Read some more rows before you "
            "train: is nothing added that the person did not say, and nothing left out?",
            markup=False,
            soft_wrap=True,
        )
    else:
        console.print(f"Nothing to do: {target} holds all of this already.", markup=False, soft_wrap=True)
