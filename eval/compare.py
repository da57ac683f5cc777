"""The command `python -m eval.compare`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer


if TYPE_CHECKING:
    from rich.console import Console

    from eval.inputs.joining import Joined
    from eval.progress import Progress
    from eval.scoring.column import Column

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

_NAMED_FILE = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]*)=(.+)", re.DOTALL)
_RESERVED = ("dataset", "scores", "people")  # have another meaning in the outputs

FAILED, BAD_INPUT, CONDITION_HOLDS = 1, 2, 3  # exit codes

TITLE = "Captions with and without gaze"
SYSTEMS, SCORES, CS, OUTPUT = "What to compare", "Scores", "Token cosine (CS)", "Output"


@app.command(no_args_is_help=True)
def compare(
    context: typer.Context,
    output: Annotated[Path, typer.Option(help="Folder for the result files.", rich_help_panel=OUTPUT)],
    systems: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME=FILE", help="Systems by name, each with its predictions, e.g. zero-shot=untuned.jsonl."
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(help="Captions made without gaze; short for baseline=FILE.", rich_help_panel=SYSTEMS),
    ] = None,
    injected: Annotated[
        Path | None, typer.Option(help="Captions made with gaze; short for injected=FILE.", rich_help_panel=SYSTEMS)
    ] = None,
    control: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="A system that checks a claim and makes none, e.g. shuffle=shuffle.jsonl: it is compared with the "
            "reference and with the first of the other systems. Repeatable.",
            rich_help_panel=SYSTEMS,
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The system that all others are compared with. Default: the first.",
            rich_help_panel=SYSTEMS,
        ),
    ] = None,
    dataset: Annotated[
        Path | None,
        typer.Option(help="The data set that all were made on (.json or .jsonl).", rich_help_panel=SYSTEMS),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            metavar="PER_ITEM.JSONL",
            help="In place of all these: the scores of an earlier comparison. All statistics are computed anew.",
            rich_help_panel=SYSTEMS,
        ),
    ] = None,
    allow_partial: Annotated[
        bool,
        typer.Option(
            "--allow-partial",
            help="Go on without the rows that a system has no prediction for.",
            rich_help_panel=SYSTEMS,
        ),
    ] = False,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Also report by the groups of a column of the data set, e.g. gender. Repeatable.",
            rich_help_panel=SYSTEMS,
        ),
    ] = None,
    references: Annotated[
        str | None,
        typer.Option(
            metavar="own|image",
            help="Compare with the person's own caption, or with all of the image's. Default: own.",
            rich_help_panel=SCORES,
        ),
    ] = None,
    no_cache: Annotated[
        bool,
        typer.Option(
            "--no-cache",
            help="Compute every score anew, and remember none for the next run.",
            rich_help_panel=SCORES,
        ),
    ] = False,
    cs_model: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a sentence-transformers model. Default: the embedded all-MiniLM-L6-v2.", rich_help_panel=CS
        ),
    ] = None,
    cs_preset: Annotated[
        str | None,
        typer.Option(
            metavar="paper", help="paper: roberta-large at layer 17, as BERTScore has it.", rich_help_panel=CS
        ),
    ] = None,
    cs_layer: Annotated[
        int | None,
        typer.Option(
            min=1, help="Layer whose token embeddings are compared, from 1. Default: the last.", rich_help_panel=CS
        ),
    ] = None,
    cs_idf: Annotated[
        bool,
        typer.Option("--cs-idf", help="Weigh tokens by how rare they are in the references.", rich_help_panel=CS),
    ] = False,
    cs_rescale: Annotated[
        str | None,
        typer.Option(
            metavar="B|random",
            help="Also show CS as (x - b) / (1 - b), b being this number, or the mean of random pairs of references.",
            rich_help_panel=CS,
        ),
    ] = None,
    media_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder that the paths of images and maps start from. Default: that of the data set.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    examples: Annotated[
        int, typer.Option(min=0, help="How many examples the report shows.", rich_help_panel=OUTPUT)
    ] = 24,
    seed: Annotated[int, typer.Option(help="Seed for drawing the examples.", rich_help_panel=OUTPUT)] = 0,
    title: Annotated[
        str | None, typer.Option(help=f"Title of the report. Default: {TITLE}.", rich_help_panel=OUTPUT)
    ] = None,
    simulated: Annotated[
        str | None,
        typer.Option(
            metavar="SENTENCE",
            help="Say in every output that the data are simulated, in this sentence.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help="Exit with 3 if it holds, after writing everything: [SYSTEM:]METRIC.FIELD, one of < <= > >=, and a "
            "number, e.g. 'cs_f1.p_holm > 0.05' or 'rougeL.ci95.low <= 0'. Repeatable.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
) -> None:
    """Compare the captions of several systems with what people really said.

    Scores them with METEOR, ROUGE and token cosine (CS) against each person's own caption, and writes the paper's
    tables 1 and 2 with p values that respect that captions share images and people: `report.html`, `report.md`,
    `tables.tex`, `results.json` and `per_item.jsonl`.

    The honest baseline is the model fine-tuned without gaze, on the same data and steps. Add controls with --control:
    the model with gaze switched off (off) or with other images' maps (shuffle).

    python -m eval.compare --baseline saves/demo/baseline.jsonl --injected saves/demo/injected.jsonl
    --dataset saves/demo/test.json --control shuffle=saves/demo/shuffle.jsonl --output saves/demo/report

    Any number of systems, all against one of them:

    python -m eval.compare tuned=saves/demo/baseline.jsonl gaze=saves/demo/injected.jsonl
    untuned=saves/demo/untuned.jsonl --reference tuned --dataset saves/demo/test.json --output saves/demo/systems

    Other statistics of the same scores, without scoring again:

    python -m eval.compare --scores saves/demo/systems/per_item.jsonl --reference untuned --output saves/demo/untuned

    Predictions are LLaMA-Factory's generated_predictions.jsonl, or JSON lines, JSON or CSV with a caption and an id.

    Exit codes: 0 done, 1 a file could not be written or read, 2 bad input, 3 a condition of --fail-if holds.
    """
    from rich.console import Console

    from eval.errors import InputError, MetricUnavailableError
    from llamafactory_gaze.os_errors import in_words

    errors = Console(stderr=True)
    try:
        broken = _compare(context.params, errors)
    except (InputError, MetricUnavailableError) as error:
        errors.print(f"Error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(BAD_INPUT) from None
    except OSError as error:
        if error.errno is None:
            raise
        errors.print(f"Error: {in_words(error)}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(FAILED) from None
    for text in broken:
        errors.print(text, style="red", markup=False, highlight=False, soft_wrap=True)
    if broken:
        raise typer.Exit(CONDITION_HOLDS)


@dataclass(frozen=True)
class _Source:
    """What is compared, and where it comes from.

    Attributes:
        files: see `results.provenance.files`.
        settings: what the figures depend on beside the files.
        media: folder of the images and maps, or None if not known.
        score: makes the columns.
    """

    joined: Joined
    files: dict[str, dict[str, str]]
    settings: dict[str, Any]
    media: Path | None
    score: Callable[[Progress], dict[str, Column]]


def _compare(options: dict[str, Any], errors: Console) -> list[str]:
    """The whole command.

    Returns:
        a sentence for each condition of --fail-if that holds.

    Raises:
        InputError, MetricUnavailableError: what the user can mend; nothing is written then.
    """
    from rich.console import Console

    from eval.conditions import Condition
    from eval.output import check_output
    from eval.progress import progress_bar

    check_output(options["output"])
    source = _from_scores(options) if options["scores"] else _from_captions(options)
    joined, by = source.joined, options["by"] or []
    title = {"title": options["title"]} if options["title"] else {}
    conditions = [Condition.parse(text, joined.compared) for text in options["fail_if"] or []]
    with progress_bar(errors) as progress:
        columns = source.score(progress)
        progress("Statistics and report")
        from eval.report import gallery, pages, terminal
        from eval.results.build import build

        results = build(
            joined,
            columns,
            source.files,
            arguments={name: _plain(value) for name, value in options.items() if value or value == 0},
            settings={"title": TITLE, **source.settings, "seed": options["seed"], **title},
            simulated=options["simulated"],
            by=by,
        )
        drawn = gallery.draw_rows(joined.rows, options["seed"], options["examples"])
        examples = gallery.make_examples(joined, columns, drawn, source.media)
        pages.write(options["output"], results, joined, columns, examples)

    console = Console()
    terminal.show(results, console)
    console.print(f"Report: {options['output'] / 'report.html'}", markup=False, highlight=False, soft_wrap=True)
    return [text for condition in conditions if (text := condition.holds(results))]


def _from_captions(options: dict[str, Any]) -> _Source:
    """Predictions on a data set, still to be scored."""
    from eval.errors import InputError
    from eval.inputs.joining import read_joined
    from eval.metrics.models import find_model
    from eval.scoring.references import References

    systems, controls = _systems(options), _named_files("--control", options["control"] or [])
    if twice := systems.keys() & controls.keys():
        raise InputError(f"--control {min(twice)}=…: the name {min(twice)} is taken, choose another one.")
    dataset, kind = options["dataset"], options["references"] or "own"
    if dataset is None:
        raise InputError("--dataset is missing: give the data set that the captions were made on.")
    if options["cs_model"] is not None and not options["cs_model"].is_dir():
        raise InputError(f"--cs-model {options['cs_model']} is no folder: give that of a sentence-transformers model.")
    if kind not in ("own", "image"):
        raise InputError(f"--references {kind} is neither own nor image.")
    chosen = (options["cs_model"], options["cs_layer"], options["cs_preset"])
    model = find_model(*chosen) if chosen != (None, None, None) else None
    rescale = _rescale(options["cs_rescale"])
    joined = read_joined(dataset, systems, controls, options["by"] or [], options["allow_partial"])
    targets = References(joined.rows, kind, joined.everyone)

    def score(progress: Progress) -> dict[str, Column]:
        progress("Loading the metrics")
        from eval.scoring import cache, columns

        kept = cache.ScoreCache(None if options["no_cache"] else cache.default_path())
        return columns.score_all(
            joined, targets, columns.CosineOptions(model, options["cs_idf"], rescale), kept, progress
        )

    from eval.results import provenance

    return _Source(
        joined,
        provenance.files({"dataset": dataset, **systems, **controls}),
        {
            "references": kind,
            "reference": targets.text,
            "people": targets.human_text,
            "cs_model": None if options["cs_model"] is None else str(options["cs_model"]),
            **{name: options[name] for name in ("cs_preset", "cs_layer", "cs_idf")},
            "cs_rescale": rescale,
        },
        options["media_dir"] or dataset.parent,
        score,
    )


def _from_scores(options: dict[str, Any]) -> _Source:
    """The scores of an earlier comparison."""
    from eval.errors import InputError
    from eval.results import provenance
    from eval.results.recorded import UNSIGNED, read_recorded

    replaced = ("systems", "baseline", "injected", "control", "dataset", "allow_partial", "references", "no_cache")
    for name in (*replaced, "cs_model", "cs_preset", "cs_layer", "cs_idf", "cs_rescale"):
        if options[name]:
            what = "NAME=FILE" if name == "systems" else f"--{name.replace('_', '-')}"
            raise InputError(f"--scores stands in place of {what}: the scores say what was compared. Leave one away.")
    recorded = read_recorded(options["scores"], options["reference"], options["by"] or [])
    settings = {"references": "unknown", "reference": UNSIGNED}
    media, files = options["media_dir"], {}
    if recorded.results:
        settings, files = recorded.results["settings"], recorded.results["data"]["files"]
        if media is None and "dataset" in files:  # unknown where those scores were unsigned, too
            media = Path(files["dataset"]["path"]).parent
    return _Source(
        recorded.joined,
        {**files, **provenance.files({"scores": options["scores"]})},
        settings,
        media,
        lambda progress: recorded.columns,
    )


def _systems(options: dict[str, Any]) -> dict[str, Path]:
    """The systems but for the controls, the reference first.

    Raises:
        InputError: fewer than two, both forms at once, or an unknown reference.
    """
    from eval.errors import InputError

    systems = _named_files("", options["systems"] or [])
    pair = {name: options[name] for name in ("baseline", "injected")}
    if any(pair.values()):
        if systems or not all(pair.values()):
            raise InputError("Give either --baseline FILE and --injected FILE, or all systems as NAME=FILE.")
        systems = pair
    if len(systems) < 2:
        raise InputError(
            "Nothing to compare: give --baseline FILE and --injected FILE, or two or more systems as NAME=FILE."
        )
    reference = options["reference"] or next(iter(systems))
    if reference not in systems:
        raise InputError(f"--reference {reference} is none of the systems, which are {', '.join(systems)}.")
    return {reference: systems[reference], **systems}


def _named_files(option: str, texts: Sequence[str]) -> dict[str, Path]:
    """Parse NAME=FILE.

    Raises:
        InputError: another form, a name used twice, or one that has another meaning.
    """
    from eval.errors import InputError

    files: dict[str, Path] = {}
    for text in texts:
        what = f"{option} {text}".strip()
        match = _NAMED_FILE.fullmatch(text)
        if match is None:
            raise InputError(f"{what} is not NAME=FILE: write for instance {option} off=off.jsonl.".replace("  ", " "))
        name, path = match.groups()
        if name in files or name in _RESERVED:
            raise InputError(f"{what}: the name {name} is taken, choose another one.")
        files[name] = Path(path)
    return files


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


def _plain(value: Any) -> Any:
    """An option's value for JSON."""
    return str(value) if isinstance(value, Path) else value


if __name__ == "__main__":
    app()
