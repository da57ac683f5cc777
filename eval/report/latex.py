"""Tables 1 and 2 in the paper's layout, for LaTeX: metrics in columns, systems and categories in rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from eval.metrics import HEADLINE, LABELS
from eval.report.clustering import Entries, clustering
from eval.report.formatting import capitalised


SIGNIFICANT = 0.05
_ESCAPES = {
    **{sign: rf"\{sign}" for sign in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"[": "{[}", "*": "{*}"},  # after the end of a row they would be its arguments
    **{"<": r"\textless{}", ">": r"\textgreater{}", '"': r"\textquotedbl{}", "|": r"\textbar{}"},
}


def latex_tables(results: dict[str, Any]) -> str:
    """The file `tables.tex`, to be read by \\input; it needs booktabs, T1 fonts and UTF-8.

    Args:
        results: see `results.build`.
    """
    title = " ".join(results["settings"]["title"].split())
    parts = [
        f"% {title}; made by eval.compare of llamafactory-gaze, {results['created']}.",
        r"% Needs \usepackage{booktabs} and \usepackage[T1]{fontenc}; names may hold any UTF-8 text.",
        _table1(results),
    ]
    if results["categories"]:
        parts.append(_table2(results))
    return "\n".join(parts) + "\n"


def escape(text: str) -> str:
    """A text as LaTeX prints it, on one line."""
    return "".join(_ESCAPES.get(sign, sign) for sign in " ".join(text.split()))


def _table1(results: dict[str, Any]) -> str:
    best = {name: _best(results, name) for name in HEADLINE}

    def mean(value: float | None, name: str) -> str:
        if value is None:
            return "--"
        return rf"\textbf{{{value:.2f}}}" if value == best[name] else f"{value:.2f}"

    reference = results["reference"]
    rows = [(escape(capitalised(reference)), [mean(results["metrics"][name]["base"], name) for name in HEADLINE])]
    for system, found in results["systems"].items():
        entries = [found["metrics"][name] for name in HEADLINE]
        rows += [
            (
                escape(capitalised(system)),
                [mean(entry["new"], name) for name, entry in zip(HEADLINE, entries, strict=True)],
            ),
            (r"\quad Diff (\%)", [_change(entry) for entry in entries]),
            (r"\quad $p$", [_p(entry["p_two_way"]) for entry in entries]),
        ]
    entries = [entry for found in results["systems"].values() for entry in found["metrics"].values()]
    data = results["data"]
    people = f" by {data['n_participants']} participants" if data["n_participants"] else ""
    caption = (
        f"All captions: {data['n_rows']} of {data['n_images']} images{people}. Differences are from "
        f"{escape(reference)}; the highest mean is bold. {_tests(results, entries)}"
    )
    return _environment(results, caption, "tab:overall", "", rows)


def _table2(results: dict[str, Any]) -> str:
    several = len(results["systems"]) > 1
    rows: list[tuple[str, list[str]]] = []
    for system, found in results["systems"].items():
        if several:
            rows.append((rf"\emph{{{escape(capitalised(system))}}}", [""] * len(HEADLINE)))
        rows += [
            (escape(category), [_change(metrics[name]) for name in HEADLINE])
            for category, metrics in found["categories"].items()
        ]
    names = "the systems" if several else escape(results["main"])
    tables = [table for found in results["systems"].values() for table in found["categories"].values()]
    tests = _tests(results, [entry for table in tables for entry in table.values()])
    caption = f"Change by category from {escape(results['reference'])} to {names}, in percent. {tests}"
    return _environment(results, caption, "tab:categories", "Category", rows)


def _environment(
    results: dict[str, Any], caption: str, label: str, head: str, rows: Iterable[tuple[str, list[str]]]
) -> str:
    if results["data"]["simulated"]:
        caption = rf"\textbf{{Simulated data.}} {escape(results['data']['simulated'])} {caption}"
    lines = [" & ".join([name, *cells]) + r" \\" for name, cells in rows]
    return "\n".join(
        [
            "",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption}}}",
            rf"\label{{{label}}}",
            rf"\begin{{tabular}}{{l{'r' * len(HEADLINE)}}}",
            r"\toprule",
            " & ".join([head, *(LABELS[name] for name in HEADLINE)]) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _tests(results: dict[str, Any], entries: Entries) -> str:
    return (
        rf"$p$: two-sided \textit{{t}}-test, {clustering(entries)}; "
        rf"$^*$: $p < {SIGNIFICANT}$ after Holm's correction over this table. "
        f"METEOR: {escape(results['metrics']['meteor']['implementation'] or 'could not run')}; CS: cosine similarity."
    )


def _best(results: dict[str, Any], name: str) -> float | None:
    means = [results["metrics"][name]["base"], *(one["metrics"][name]["new"] for one in results["systems"].values())]
    return max((mean for mean in means if mean is not None), default=None)


def _change(entry: dict[str, Any]) -> str:
    if entry["pct"] is None:
        return "--"
    star = "$^*$" if entry["p_holm"] is not None and entry["p_holm"] < SIGNIFICANT else ""
    return f"${entry['pct']:+.1f}$\\%{star}"


def _p(value: float | None) -> str:
    if value is None:
        return "--"
    if value < 1e-5:
        return r"$< 10^{-5}$"
    return f"{value:.3f}" if value >= 0.001 else r"$< .001$"
