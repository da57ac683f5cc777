"""The comparison in the terminal: tables 1 and 2 for every system, the controls, and notes on the figures."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from eval.metrics import HEADLINE, LABELS
from eval.report.clustering import clustering
from eval.report.formatting import DASH, capitalised, interval, metric_label, p_value, percent, score, share, signed
from eval.report.pages import shown_metrics


def show(results: dict[str, Any], console: Console) -> None:
    """Print all tables and warnings of `results` (see `results.build`)."""
    data, shown = results["data"], shown_metrics(results)
    if data["simulated"]:
        console.print(Panel(Text(data["simulated"]), title="Simulated data", style="yellow"))
    people = f" by {data['n_participants']} participants" if data["n_participants"] else ""
    console.print(f"{data['n_rows']} captions of {data['n_images']} images{people}", highlight=False)
    if len(results["systems"]) > 1:
        console.print(_systems(results))
    for name, system in results["systems"].items():
        versus = f" {escape(capitalised(name))} against {escape(results['reference'])}"
        console.print(_overall(f"Table 1.{versus}", results["reference"], name, system["metrics"], shown))
        console.print(_other_tests(f"Other tests of the same differences.{versus}", system["metrics"], shown))
        if system["categories"]:
            console.print(_by_group(f"Table 2. Change by category.{versus}", system["categories"]))
        for column, groups in system["subgroups"].items():
            console.print(_by_group(f"Change by {escape(column)}.{versus}", groups, with_counts=True))
    for name, control in results["controls"].items():
        console.print(_control(name, control["metrics"], results["reference"], results["main"], shown))
    console.print(_people(results, shown))
    console.print(_captions(results["captions"]))
    for warning in results["warnings"]:
        console.print(f"[yellow]Note:[/] {escape(warning)}", highlight=False)


def _table(title: str, *columns: str, caption: str | None = None) -> Table:
    # Tight, and folding rather than cutting: a figure must not lose its end in a terminal of 80 columns.
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False)
    table.title_justify = table.caption_justify = "left"
    table.add_column(overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")
    return table


def _systems(results: dict[str, Any]) -> Table:
    table = _table(
        f"All systems against {escape(results['reference'])}: mean, change, p",
        *(LABELS[name].replace("CS-", "CS-\n") for name in HEADLINE),
    )
    table.show_lines = True
    first = results["metrics"]
    table.add_row(escape(results["reference"]), *(score(first[name]["base"]) for name in HEADLINE))
    for system, found in results["systems"].items():
        entries = [found["metrics"][name] for name in HEADLINE]
        cells = [f"{score(one['new'])}\n{percent(one['pct'])}\n{p_value(one['p_two_way'])}" for one in entries]
        table.add_row(escape(system), *cells)
    table.add_row("people", *(score(results["human"][name]["mean"]) for name in HEADLINE))
    return table


def _overall(title: str, reference: str, system: str, metrics: dict[str, Any], shown: list[str]) -> Table:
    table = _table(
        title,
        *(escape(capitalised(name)) for name in (reference, system)),
        *("Diff", "95% CI (%)", "p", "p naive"),
        caption=f"p, CI: {clustering(metrics.values())}. p naive: paired t, takes captions for independent.",
    )
    for name in shown:
        entry = metrics[name]
        table.add_row(
            metric_label(name, entry),
            *(score(entry["base"]), score(entry["new"]), percent(entry["pct"]), interval(entry["pct_ci95"])),
            *(p_value(entry["p_two_way"]), p_value(entry["p_naive"])),
        )
    return table


def _other_tests(title: str, metrics: dict[str, Any], shown: list[str]) -> Table:
    table = _table(
        title,
        *("Clus-\ntered", "Image\nflip", "Mixed\nmodel", "Naive\nt", "Naive\nWilcoxon"),
        *("\nd_z", "Win\nrate", "Detect-\nable"),
        caption="Naive tests take captions for independent and are not to be cited. Detectable: score difference found "
        "in 80 of 100 such studies.",
    )
    for name in shown:
        entry = metrics[name]
        table.add_row(
            metric_label(name, entry),
            *(p_value(entry[test]) for test in ("p_two_way", "p_image_flip", "p_mixed", "p_naive", "p_naive_wilcoxon")),
            *(signed(entry["dz"]), share(entry["win_rate"]), score(entry["mde"])),
        )
    return table


def _people(results: dict[str, Any], shown: list[str]) -> Table:
    table = _table("People: other people's captions of the same image, same measure", "Mean", "95% CI", "Rows")
    for name in shown:
        people = results["human"][name]
        ends = people["ci95"]
        span = DASH if ends is None else f"{score(ends[0])} to {score(ends[1])}"
        table.add_row(metric_label(name, results["metrics"][name]), score(people["mean"]), span, str(people["n"]))
    return table


def _captions(captions: dict[str, Any]) -> Table:
    table = _table("Length and vocabulary (more is not better)", "Words each", "Different words", "Type/token")
    for name, found in captions.items():
        table.add_row(escape(name), f"{found['words']:.1f}", str(found["vocabulary"]), score(found["type_token"]))
    return table


def _by_group(title: str, groups: dict[str, Any], with_counts: bool = False) -> Table:
    table = _table(title, *(LABELS[name].replace("CS-", "CS-\n") for name in HEADLINE))
    for group, metrics in groups.items():
        size = f" ({metrics['rougeL']['n']})" if with_counts else ""
        table.add_row(escape(group) + size, *(percent(metrics[name]["pct"]) for name in HEADLINE))
    return table


def _control(name: str, metrics: dict[str, Any], reference: str, main: str, shown: list[str]) -> Table:
    title = f"Control {escape(name)}, against {escape(reference)} and {escape(main)}"
    table = _table(title, "Mean", f"it - {escape(reference)}", "p", f"{escape(main)} - it", "p")
    for metric in shown:
        entry = metrics[metric]
        below, above = entry["vs_reference"], entry["main_vs"]
        table.add_row(
            metric_label(metric, below),
            *(score(entry["mean"]), percent(below["pct"]), p_value(below["p_two_way"])),
            *(percent(above["pct"]), p_value(above["p_two_way"])),
        )
    return table
