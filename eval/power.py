"""The command `python -m eval.power`: how many images and people does a study need?"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer


if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from eval.statistics.planning import Design


app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

ICC_IMAGE, ICC_PERSON, EFFECT = 0.1, 0.05, 0.2


@app.command()
def power(
    images: Annotated[str, typer.Option(metavar="N,N,...", help="Numbers of images.")] = "15,30,60,120",
    people: Annotated[str, typer.Option(metavar="N,N,...", help="Numbers of people.")] = "10,20,30,40",
    effect: Annotated[
        float | None,
        typer.Option(
            help="True difference of the mean scores, in standard deviations of the paired differences; in score units "
            f"if that deviation is known from --sd or --scores. Default: {EFFECT} standard deviations."
        ),
    ] = None,
    sd: Annotated[float | None, typer.Option(help="Standard deviation of the paired differences.")] = None,
    icc_image: Annotated[
        float | None, typer.Option(help=f"Share of the image in the variance of the differences. Default: {ICC_IMAGE}.")
    ] = None,
    icc_person: Annotated[float | None, typer.Option(help=f"Share of the person in it. Default: {ICC_PERSON}.")] = None,
    missing: Annotated[
        float | None, typer.Option(help="Share of all pairs of image and person without a caption. Default: 0.")
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(help="per_item.jsonl of a comparison: what was not given is estimated from its differences."),
    ] = None,
    metric: Annotated[str, typer.Option(help="Which metric of --scores.")] = "rougeL",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Plan a study: the power of the headline test of `eval.compare` for numbers of images and people.

    Everyone describes every image, but for the missing share; the test is two-sided at the 5% level. Shows for each
    pair of numbers the chance to find the effect, and the smallest effect that is found in 80 of 100 studies.

    python -m eval.power --images 30,60,120 --people 15,29 --effect 0.2 --icc-image 0.1 --icc-person 0.05

    python -m eval.power --scores saves/demo/report/per_item.jsonl --metric rougeL --effect 0.02
    """
    import json

    from rich.console import Console

    from eval.errors import InputError

    try:
        plan = _plan(images, people, effect, sd, icc_image, icc_person, missing, scores, metric)
    except InputError as error:
        console = Console(stderr=True)
        console.print(f"Error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(json.dumps(plan, indent=2, ensure_ascii=False))
    else:
        _show(plan, Console())


def _plan(
    images: str,
    people: str,
    effect: float | None,
    sd: float | None,
    icc_image: float | None,
    icc_person: float | None,
    missing: float | None,
    scores: Path | None,
    metric: str,
) -> dict[str, Any]:
    """Everything that the command says, as the dictionary of `--json`.

    Raises:
        InputError: an option outside its range, or scores that allow no estimate.
    """
    from eval.errors import InputError
    from eval.statistics.planning import POWER, Design, images_needed, people_needed

    rows, columns = _numbers("--images", images), _numbers("--people", people)
    found: dict[str, Any] = {"sd": None, "icc_image": ICC_IMAGE, "icc_person": ICC_PERSON, "missing": 0.0}
    if scores is not None:
        found |= _estimate(scores, metric)
    given = {"sd": sd, "icc_image": icc_image, "icc_person": icc_person, "missing": missing}
    found |= {name: value for name, value in given.items() if value is not None}
    spread, by_image, by_person, absent = found["sd"], found["icc_image"], found["icc_person"], found["missing"]
    if spread is not None and not 0 < spread < inf:
        raise InputError(f"--sd {spread} is no standard deviation: give a number above 0.")
    if not (min(by_image, by_person) >= 0 and by_image + by_person <= 1):
        raise InputError(
            f"--icc-image {by_image} and --icc-person {by_person} are no shares: 0 or more, together at most 1."
        )
    if not 0 <= absent < 1:
        raise InputError(f"--missing {absent} is no share: give a number from 0 to below 1.")
    in_sd = EFFECT if effect is None else effect / (spread or 1)
    if not 0 < in_sd < inf:
        raise InputError(f"--effect {effect} is no difference to look for: give a number above 0.")

    def design(n_images: int, n_people: int) -> Design:
        return Design(n_images, n_people, by_image, by_person, absent)

    def cell(one: Design) -> dict[str, Any]:
        return {
            "images": one.images,
            "people": one.people,
            "captions": round(one.captions),
            "df": one.df,
            "power": one.power(in_sd),
            "mde_sd": one.detectable,
            "mde": None if spread is None else one.detectable * spread,
        }

    return {
        "effect_sd": in_sd,
        "effect": None if spread is None else in_sd * spread,
        **found,
        "estimated_from": None if scores is None else {"file": str(scores), "metric": metric, "method": "moments"},
        "target_power": POWER,
        "grid": [cell(design(row, column)) for row in rows for column in columns],
        "images_needed": [{"people": n, "images": images_needed(design(2, n), in_sd)} for n in columns],
        "people_needed": [{"images": n, "people": people_needed(design(n, 2), in_sd)} for n in rows],
    }


def _numbers(option: str, text: str) -> list[int]:
    from eval.errors import InputError

    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 2 <= int(part) <= 10_000 for part in parts):
        raise InputError(f"{option} {text} is no list of numbers from 2 to 10000: write for instance {option} 30,60.")
    return sorted({int(part) for part in parts})


def _estimate(path: Path, metric: str) -> dict[str, float]:
    """Variance components and missing share of the differences between the first two systems of a per_item.jsonl."""
    import numpy as np

    from eval.errors import InputError
    from eval.results.recorded import read_recorded
    from eval.statistics.planning import variance_components

    recorded = read_recorded(path)
    scored = {name: column.scores for name, column in recorded.columns.items() if column.scores is not None}
    if metric not in scored:
        raise InputError(f"{path} has no scores {metric}: give --metric one of {', '.join(scored)}.")
    joined, scores = recorded.joined, scored[metric]
    if unknown := next((row for row in joined.rows if row.participant is None), None):
        raise InputError(
            f"{path}, row {unknown.row} names no participant: leave --scores away and give --sd and the ICCs yourself."
        )
    differences = scores[joined.compared[0]] - scores[joined.reference]
    rows = [row for row, known in zip(joined.rows, np.isfinite(differences), strict=True) if known]
    images, people = (
        np.unique(labels, return_inverse=True)[1]
        for labels in ([row.image_id for row in rows], [str(row.participant) for row in rows])
    )
    try:
        sd, by_image, by_person = variance_components(differences[np.isfinite(differences)], images, people)
    except ValueError as error:
        raise InputError(f"{path} allows no estimate: {error}.") from None
    cells = (images.max() + 1) * (people.max() + 1)
    filled = len(set(zip(images.tolist(), people.tolist(), strict=True)))
    return {"sd": sd, "icc_image": by_image, "icc_person": by_person, "missing": 1 - filled / int(cells)}


def _show(plan: dict[str, Any], console: Console) -> None:
    """Print the plan: what it assumes, both tables, and the answers in words."""
    in_scores = "" if plan["effect"] is None else f" ({plan['effect']:.3g} in scores)"
    source = plan["estimated_from"]
    for text in (
        f"Effect: {plan['effect_sd']:.3g} standard deviations of the paired differences{in_scores}.",
        f"Variance of the differences: {plan['icc_image']:.0%} by image, {plan['icc_person']:.0%} by person; "
        f"{plan['missing']:.0%} of the captions are missing.",
        source
        and f"What was not given is estimated by the method of moments from {source['metric']} in {source['file']}.",
    ):
        if text:
            console.print(text, markup=False, highlight=False)
    console.print(_table(plan, "Power of the two-way clustered test", lambda cell: f"{cell['power']:.0%}"))
    unit = "standard deviations" if plan["effect"] is None else "scores"
    title = f"Smallest effect found in 80 of 100 studies, in {unit}"
    console.print(_table(plan, title, lambda cell: f"{cell['mde_sd' if cell['mde'] is None else 'mde']:.3f}"))
    for answers, have, need in (("images_needed", "people", "images"), ("people_needed", "images", "people")):
        for answer in plan[answers]:
            count = answer[need]
            text = (
                f"With {answer[have]} {have} you need about {count} {need}."
                if count
                else f"With {answer[have]} {have} no number of {need} is enough: take more {have}."
            )
            console.print(text, markup=False, highlight=False)


def _table(plan: dict[str, Any], title: str, write: Callable[[dict[str, Any]], str]) -> Table:
    from rich import box
    from rich.table import Table

    columns = list(dict.fromkeys(cell["people"] for cell in plan["grid"]))
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Images", justify="right")
    for count in columns:
        table.add_column(f"{count} people", justify="right")
    for start in range(0, len(plan["grid"]), len(columns)):
        cells = plan["grid"][start : start + len(columns)]
        table.add_row(str(cells[0]["images"]), *(write(cell) for cell in cells))
    return table


if __name__ == "__main__":
    app()
