"""The report, as a page and as Markdown from the same figures (templates beside this file), and the result files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from eval.inputs.joining import Joined
from eval.metrics import HEADLINE, LABELS, UNORDERED
from eval.output import all_or_nothing
from eval.report import formatting
from eval.report.charts import CategoryBars, Distributions, ForestPlot, ImageDifferences
from eval.report.clustering import allowance, headline_test
from eval.report.gallery import Example
from eval.report.latex import latex_tables
from eval.report.methods import methods_paragraph
from eval.results.items import per_item
from eval.scoring.column import Column
from llamafactory_gaze.data.provenance import file_sha256


BASELINE_NOTE = (
    "The honest baseline is the same model fine-tuned without gaze, on the same data for the same number of steps. "
    "Against a model that was not tuned, part of a difference is the style of the captions; against weights that were "
    "trained with gaze and lost it at test time, part of it is damage. Neither is gaze."
)

OTHER_TESTS_NOTE = (
    "The first p is that of table 1; the next two ask how much depends on the choice of a test. The image flip allows "
    "for images only, the mixed model assumes normal effects of images and people. The naive tests take captions for "
    "independent, which captions of one image or one person are not: with no effect at all they find one in 20 to 55% "
    "of studies like the paper's. They stand here so that the gap can be seen, not to be cited. d_z: difference in "
    "standard deviations of the differences. Win rate: share of captions that got better, ties as half. Detectable: "
    "the smallest true difference of scores that a study like this one would find in 80 of 100 cases."
)


def people_note(settings: dict[str, Any]) -> str:
    """What the human ceiling is."""
    return " ".join(filter(None, (PEOPLE_NOTES[settings["references"]], settings.get("people"))))


def methods_note(results: dict[str, Any]) -> str:
    """How the other tests were computed."""
    flips = [entry["flip"] for entry in results["metrics"].values() if entry["flip"]]
    settings = results["settings"]
    how = "could not be made, with one image"
    if flips and flips[0]["exact"]:
        how = f"is exact: all {flips[0]['resamples']:,} flips were gone through"
    elif flips:
        how = f"draws {flips[0]['resamples']:,} flips (seed {settings['flip_seed']}), so no p is below 2e-4"
    mixed = ""
    if any(entry["p_mixed"] is not None for entry in results["metrics"].values()):
        mixed = (
            "The mixed model has a mean and random effects of image and participant, is fitted by restricted maximum "
            "likelihood and tested by z. "
        )
    return (
        "The image flip gives the summed differences of each image a random sign, whole images at a time; over all "
        f"captions it {how}, within a category it is exact up to 13 images. {mixed}"
        "Wilcoxon's test is the signed-rank test on captions. The detectable difference follows from the "
        "clustered standard error and the noncentral t distribution, at the 5% level, two-sided."
    )


# By the kind of references.
COMPARED_WITH = {
    "own": "what the same person said",
    "image": "all captions of the image",
    "unknown": "human captions (it is not recorded which)",
}
PEOPLE_NOTES = {
    "own": "People: the human ceiling, what other people's captions of the same image score by the same measure; for "
    "objects named, the participant's own caption.",
    "image": "People: the human ceiling, what a person's caption scores against those of the others of the same image, "
    "one reference fewer than a system has; for objects named, the participant's own caption.",
    "unknown": "People: the human ceiling, as the earlier comparison scored it.",
}


def write(
    folder: Path, results: dict[str, Any], joined: Joined, columns: dict[str, Column], examples: list[Example]
) -> None:
    """Write per_item.jsonl, the pages, the LaTeX tables and results.json into `folder`, all or none of them."""
    with all_or_nothing(folder) as staging:
        items = staging / "per_item.jsonl"
        with items.open("w", encoding="utf-8") as file:
            for item in per_item(joined, columns, results["data"]["simulated"]):
                file.write(json.dumps(item, ensure_ascii=False, allow_nan=False) + "\n")
        results["data"]["per_item_sha256"] = file_sha256(items)
        drawn = charts(results, joined, columns)
        for name in ("report.md", "report.html"):
            (staging / name).write_text(render(name, results, drawn, examples), encoding="utf-8")
        (staging / "tables.tex").write_text(latex_tables(results), encoding="utf-8")
        text = json.dumps(results, indent=2, ensure_ascii=False, allow_nan=False)
        (staging / "results.json").write_text(text + "\n", encoding="utf-8")


def charts(results: dict[str, Any], joined: Joined, columns: dict[str, Column]) -> dict[str, Any]:
    """The charts by their names in the templates."""
    return {
        "plot": ForestPlot(results),
        "category_bars": CategoryBars(results),
        "image_differences": ImageDifferences(joined, columns),
        "distributions": Distributions(joined, columns),
    }


def render(name: str, results: dict[str, Any], drawn: dict[str, Any], examples: list[Example]) -> str:
    """Fill in the template `name`.j2.

    Args:
        results: see `results.build`.
        drawn: the charts.
    """
    environment = Environment(
        loader=PackageLoader("eval.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "score": formatting.score,
        "percent": formatting.percent,
        "interval": formatting.interval,
        "p": formatting.p_value,
        "signed": formatting.signed,
        "share": formatting.share,
        "md": formatting.markdown_text,
        "capitalised": formatting.capitalised,
    }
    return environment.get_template(f"{name}.j2").render(
        title=results["settings"]["title"],
        implementations=implementations(results),
        results=results,
        examples=examples,
        **drawn,
        shown=shown_metrics(results),
        headline=HEADLINE,
        labels=LABELS,
        unordered=UNORDERED,
        baseline_note=BASELINE_NOTE,
        other_tests_note=OTHER_TESTS_NOTE,
        methods_note=methods_note(results),
        methods=methods_paragraph(results),
        without_mixed_model=without_mixed_model,
        compared_with=COMPARED_WITH[results["settings"]["references"]],
        people_note=people_note(results["settings"]),
        allowance=allowance(entry for system in results["systems"].values() for entry in system["metrics"].values()),
        headline_test=headline_test(results),
    )


def shown_metrics(results: dict[str, Any]) -> list[str]:
    """The metrics of table 1: the paper's seven, also where they are missing, and others that have figures."""
    return [name for name, entry in results["metrics"].items() if name in HEADLINE or entry["base"] is not None]


def implementations(results: dict[str, Any]) -> list[dict[str, Any]]:
    """What computed the figures, with the labels of the metrics that each one stands behind."""
    found: dict[str, dict[str, Any]] = {}
    for name, column in results["columns"].items():
        if column["signature"] is not None:
            found.setdefault(column["signature"], {**column, "metrics": []})["metrics"].append(LABELS[name])
    return list(found.values())


def without_mixed_model(metrics: dict[str, Any]) -> dict[str, str]:
    """Why metrics of a system that have scores have no mixed model: reason -> their labels."""
    found: dict[str, list[str]] = {}
    for name, entry in metrics.items():
        if entry["mixed"] and entry["mixed"]["reason"]:
            found.setdefault(entry["mixed"]["reason"], []).append(LABELS[name])
    return {reason: ", ".join(labels) for reason, labels in found.items()}
