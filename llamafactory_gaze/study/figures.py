"""The pictures of a study: loss curves after the paper's figure 3, metrics, controls, captions that follow a map."""

import json
from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from eval.metrics import LABELS
from llamafactory_gaze.demo.picture import save_figure
from llamafactory_gaze.saliency.maps import overlay, read_saliency_map
from llamafactory_gaze.study import moved
from llamafactory_gaze.study.definition import BASELINE
from llamafactory_gaze.study.plan import Plan
from llamafactory_gaze.study.records import captions


SHOWN_METRICS = ("rougeL", "cs_f1", "meteor")
EXAMPLES = 4


def draw_loss(records: Sequence[dict[str, Any]], target: Path) -> None:
    """Loss over steps, both stages side by side: the mean over seeds as a line, the seeds' range as a band."""
    done = [record for record in records if record["failed"] is None]
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axis, stage in zip(figure.subplots(1, 2), ("stage1", "stage2"), strict=True):
        for number, name in enumerate(dict.fromkeys(record["variant"] for record in done)):
            curves = [record["loss"][stage] for record in done if record["variant"] == name]
            values = np.array([curve["values"] for curve in curves])
            style = {"color": "0.5", "linestyle": "--"} if name == BASELINE else {"color": f"C{number - 1}"}
            axis.plot(curves[0]["steps"], values.mean(0), label=name, **style)
            axis.fill_between(curves[0]["steps"], values.min(0), values.max(0), alpha=0.2, color=style["color"])
        axis.set(title=f"stage {stage[-1]}", xlabel="step", ylabel="training loss", ylim=(0, None))
        axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    save_figure(figure, target, dpi=120)


def draw_metrics(summaries: Sequence[dict[str, Any]], target: Path) -> None:
    """For each variant the change from the baseline with its 95% interval; ticks are the lowest and highest seed."""
    shown = [summary for summary in summaries if "metrics" in summary]
    names = [name for name in SHOWN_METRICS if all(name in summary["metrics"] for summary in shown)]
    figure = Figure(figsize=(10, 1.5 + 0.45 * len(shown)), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(names), sharey=True))
    for axis, name in zip(axes, names, strict=True):
        for y, summary in enumerate(shown):
            entry = summary["metrics"][name]
            change = entry["vs_baseline"]
            low, high = change["ci95"] or (change["diff"], change["diff"])
            axis.plot([low, high], [y, y], color=f"C{y}", linewidth=2)
            axis.plot(change["diff"], y, "o", color=f"C{y}")
            seeds = [entry["low"] - entry["baseline"], entry["high"] - entry["baseline"]]
            axis.plot(seeds, [y, y], "|", color="0.3", markersize=9)
        axis.axvline(0, color="0.6", linewidth=1)
        axis.set_xlim(_with_zero(axis.get_xlim()))
        axis.set_title(_title(name, shown[0]["metrics"][name]), fontsize=9)
        axis.tick_params(left=False)
        axis.spines[["top", "right", "left"]].set_visible(False)
    axes[0].set_yticks(range(len(shown)), [summary["variant"] for summary in shown])
    axes[0].set_ylim(len(shown) - 0.5, -0.5)
    figure.suptitle("Change from the baseline: 95% intervals, and ticks for the lowest and highest seed", fontsize=11)
    save_figure(figure, target, dpi=120)


def draw_controls(summary: dict[str, Any], baseline: dict[str, Any], target: Path) -> None:
    """One variant under each control: its metrics, and the probability of the words for the looked-at things."""
    controls = summary["controls"]
    panels = [name for name in SHOWN_METRICS if name in summary["metrics"]] + (["words"] if "words" in summary else [])
    figure = Figure(figsize=(10, 1.6 + 0.4 * (len(controls) + 2)), layout="constrained")
    labels = ["true map", *controls, BASELINE]
    for axis, name in zip(figure.subplots(1, len(panels), sharey=True), panels, strict=True):
        if name == "words":
            values = [summary["words"]["none"]["mean"], *(summary["words"][c]["mean"] for c in controls)]
            values.append(baseline["words"]["none"]["mean"])
            axis.set_title("p(words looked at)", fontsize=9)
        else:
            entry = summary["metrics"][name]
            values = [entry["mean"], *(controls[c][name]["mean"] for c in controls), entry["baseline"]]
            axis.set_title(_title(name, entry), fontsize=9)
        colours = ["C0"] + ["C1"] * len(controls) + ["0.6"]
        axis.barh(range(len(values)), values, color=colours)
        for y, value in enumerate(values):
            axis.annotate(f" {value:.2f}", (value, y), va="center", fontsize=9)
        axis.set_xlim(0, max(values) * 1.18)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_yticks(range(len(labels)), labels)
        axis.set_ylim(len(labels) - 0.5, -0.5)
    figure.suptitle(summary["variant"], fontsize=11)
    save_figure(figure, target, dpi=120)


def draw_moved(plan: Plan, record: dict[str, Any], target: Path) -> None:
    """One image, two maps, two captions: the first pairs of `EXAMPLES` different images; nothing is picked by hand."""
    folder = plan.moved
    run = next(r for r in plan.runs if r.variant.name == record["variant"] and r.seed == record["seed"])
    rows = json.loads(plan.test.read_text())
    moved_rows = json.loads((folder / "moved.json").read_text())
    before, after = captions(run.predictions()), captions(run.predictions(moved.NAME))
    chosen: dict[str, int] = {}
    for i, row in enumerate(moved_rows):
        chosen.setdefault(row["images"][0], i)
    shown = list(chosen.values())
    shown = shown[:: max(1, len(shown) // EXAMPLES)][:EXAMPLES]  # spread over the test set, and so over its categories
    figure = Figure(figsize=(3.1 * len(shown), 7.2), layout="constrained")
    axes = figure.subplots(2, len(shown), squeeze=False)
    for column, i in enumerate(shown):
        move = moved.Move(**moved_rows[i]["move"])
        row = rows[move.row]
        with Image.open(plan.output / row["images"][0]) as file:
            image = file.convert("RGB").resize((file.width * 3, file.height * 3))
        pairs = (
            (plan.output / row["saliencies"][0], f"looked at: {move.left}", before[move.row]),
            (folder / moved_rows[i]["saliencies"][0], f"moved to: {move.reached}", after[i]),
        )
        for axis, (path, title, said) in zip(axes[:, column], pairs, strict=True):
            axis.imshow(overlay(image, read_saliency_map(path)))
            axis.set_title(title, fontsize=10)
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_xlabel("\n".join(wrap(said, 34)), fontsize=10)
    simulated = " (simulated pictures and gaze)" if all(row.get("simulated") for row in rows) else ""
    figure.suptitle(
        f"One picture, two maps, two captions: {record['variant']}, seed {record['seed']}{simulated}", fontsize=11
    )
    save_figure(figure, target, dpi=110)


def _title(name: str, entry: dict[str, Any]) -> str:
    """A metric, and what computed it: the level of METEOR and CS depends on it."""
    return "\n".join([LABELS[name], *wrap(entry["implementation"], 28)])


def _with_zero(limits: tuple[float, float]) -> tuple[float, float]:
    return min(limits[0], -0.02), limits[1]
