"""The command `python -m eval.compare`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer


app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

_CONTROL = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]*)=(.+)", re.DOTALL)
_RESERVED = ("baseline", "injected", "dataset", "target")


@app.command()
def compare(
    baseline: Annotated[Path, typer.Option(help="Captions made without gaze: its generated_predictions.jsonl.")],
    injected: Annotated[Path, typer.Option(help="Captions made with gaze: its generated_predictions.jsonl.")],
    dataset: Annotated[Path, typer.Option(help="The data set that both were made on (.json or .jsonl).")],
    output: Annotated[Path, typer.Option(help="Folder for the four result files.")],
    control: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="One more system on the same rows, e.g. off=off.jsonl. Repeatable."),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN", help="Also report by the groups of a column of the data set, e.g. gender. Repeatable."
        ),
    ] = None,
    media_dir: Annotated[
        Path | None,
        typer.Option(help="Folder that the paths of images and maps start from. Default: that of the data set."),
    ] = None,
    examples: Annotated[
        int | None,
        typer.Option(min=0, help="How many examples the report shows. Default: one per category."),
    ] = None,
    cs_model: Annotated[
        Path | None,
        typer.Option(help="Folder of a sentence-transformers model for CS. Default: the embedded all-MiniLM-L6-v2."),
    ] = None,
    cs_preset: Annotated[
        str | None,
        typer.Option(metavar="paper", help="paper: CS with roberta-large at layer 17, as BERTScore has it."),
    ] = None,
    cs_layer: Annotated[
        int | None, typer.Option(help="Layer whose token embeddings CS compares, from 1. Default: the last.")
    ] = None,
    cs_idf: Annotated[
        bool, typer.Option("--cs-idf", help="Weigh the tokens of CS by how rare they are in the references.")
    ] = False,
    cs_rescale: Annotated[
        str | None,
        typer.Option(
            metavar="B|random",
            help="Also show CS as (x - b) / (1 - b), b being this number, or the mean of random pairs of references.",
        ),
    ] = None,
    references: Annotated[
        str,
        typer.Option(metavar="own|image", help="Compare with the person's own caption, or with all of the image's."),
    ] = "own",
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Compute every score anew, and remember none for the next run.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed for drawing the examples.")] = 0,
    title: Annotated[str, typer.Option(help="Title of the report.")] = "Captions with and without gaze",
    simulated: Annotated[
        str | None,
        typer.Option(metavar="SENTENCE", help="Say in every output that the data are simulated, in this sentence."),
    ] = None,
) -> None:
    """Compare captions made with gaze to captions made without.

    Scores both with METEOR, ROUGE and token cosine (CS) against each person's own caption, and writes the paper's
    tables 1 and 2 with p values that respect that captions share images and people: `results.json`,
    `per_item.jsonl`, `report.md` and `report.html`.

    The honest baseline is the model fine-tuned without gaze, on the same data and steps. Add other systems with
    --control: the model with gaze switched off (off) or with other images' maps (shuffle), the untuned model.

    python -m eval.compare --baseline saves/demo/baseline.jsonl --injected saves/demo/injected.jsonl
    --dataset saves/demo/test.json --control shuffle=saves/demo/shuffle.jsonl --output saves/demo/report
    """
    from rich.console import Console

    from eval.errors import InputError, MetricUnavailableError
    from eval.metrics.models import find_model
    from eval.output import check_output
    from eval.predictions import read_joined
    from eval.references import References

    errors = Console(stderr=True)
    try:
        check_output(output)
        predictions = {"baseline": baseline, "injected": injected, **_controls(control or [])}
        if cs_model is not None and not cs_model.is_dir():
            raise InputError(f"--cs-model {cs_model} is no folder: give that of a sentence-transformers model.")
        if references not in ("own", "image"):
            raise InputError(f"--references {references} is neither own nor image.")
        chosen = (cs_model, cs_layer, cs_preset)
        model = find_model(*chosen) if chosen != (None, None, None) else None
        rescale = _rescale(cs_rescale)
        joined = read_joined(dataset, predictions, by or [])
    except (InputError, MetricUnavailableError) as error:
        errors.print(f"Error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None

    with errors.status("Loading the metrics") as status:
        from eval import cache, figures, report, results, scoring, terminal

        targets = References(joined.rows, references)
        columns = scoring.score_all(
            joined,
            targets,
            scoring.CosineOptions(model, cs_idf, rescale),
            cache.ScoreCache(None if no_cache else cache.default_path()),
            lambda step: status.update(f"Scoring: {step}"),
        )
        status.update("Writing the report")
        drawn = figures.draw_rows(joined.rows, seed, examples)
        found = results.build(
            joined,
            columns,
            targets,
            files={"dataset": dataset, **predictions},
            settings={
                "seed": seed,
                "title": title,
                "examples": len(drawn),
                "cs_model": None if cs_model is None else str(cs_model),
                "cs_preset": cs_preset,
                "cs_layer": cs_layer,
                "cs_idf": cs_idf,
                "cs_rescale": rescale,
            },
            simulated=simulated,
            by=by or [],
        )
        shown = figures.make_examples(joined, drawn, media_dir or dataset.parent)
        report.write(output, found, results.per_item(joined, columns), shown, title)

    console = Console()
    terminal.show(found, console)
    console.print(f"Report: {output / 'report.html'}", markup=False, highlight=False, soft_wrap=True)


def _rescale(option: str | None) -> float | str | None:
    """Parse --cs-rescale.

    Raises:
        InputError: neither "random" nor a number from 0 to below 1.
    """
    from eval.errors import InputError

    if option is None or option == "random":
        return option
    if not re.fullmatch(r"0?\.\d+|0", option):
        raise InputError(f"--cs-rescale {option} is neither random nor a number from 0 to below 1, such as 0.83.")
    return float(option)


def _controls(options: list[str]) -> dict[str, Path]:
    """Parse NAME=FILE options.

    Raises:
        InputError: another form, a name used twice, or one that has another meaning.
    """
    from eval.errors import InputError

    controls: dict[str, Path] = {}
    for option in options:
        match = _CONTROL.fullmatch(option)
        if match is None:
            raise InputError(f"--control {option} is not NAME=FILE: write for instance --control off=off.jsonl.")
        name, path = match.groups()
        if name in controls or name in _RESERVED:
            raise InputError(f"--control {option}: the name {name} is taken, choose another one.")
        controls[name] = Path(path)
    return controls


if __name__ == "__main__":
    app()
