"""`study.json` and `study.md`: what a study found, and with what."""

import json
from typing import Any

from eval.metrics import LABELS
from eval.report.formatting import DASH, metric_label, p_value
from llamafactory_gaze.steps import write_whole
from llamafactory_gaze.study import figures, moved
from llamafactory_gaze.study.definition import BASELINE
from llamafactory_gaze.study.plan import Plan


def write_report(
    plan: Plan, records: list[dict[str, Any]], summaries: list[dict[str, Any]], about: dict[str, Any]
) -> None:
    """Writes the figures, `study.json` and `study.md` into the study's folder.

    Args:
        records: see `records.make_record`.
        summaries: see `tables.summarise`.
        about: what the numbers rest on: command, model, data, simulated, versions, jobs.
    """
    output = plan.output
    content = {"about": about, "title": plan.study.title, "runs": records, "variants": summaries}
    variants = [summary for summary in summaries if "metrics" in summary]
    baseline = next((summary for summary in summaries if summary["variant"] == BASELINE), None)
    if variants and baseline is not None:
        figures.draw_loss(records, output / "loss.png")
        figures.draw_metrics(summaries, output / "metrics.png")
        for number, summary in enumerate(variants):
            if summary["controls"]:
                figures.draw_controls(summary, baseline, output / f"controls{number or ''}.png")
        first = next(
            (r for r in records if r["failed"] is None and r["variant"] == variants[0]["variant"] and "followed" in r),
            None,
        )
        if first is not None:
            figures.draw_moved(plan, first, output / "moved.png")
    write_whole(output / "study.md", _markdown(plan, records, variants, baseline, about))
    write_whole(output / "study.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _markdown(
    plan: Plan,
    records: list[dict[str, Any]],
    variants: list[dict[str, Any]],
    baseline: dict[str, Any] | None,
    about: dict[str, Any],
) -> str:
    study = plan.study
    parts = [f"# {study.title}"]
    if about["simulated"]:
        parts.append(f"**SIMULATED.** {about['simulated']}")
    if study.question:
        parts.append(study.question)
    if variants and baseline is not None:
        parts += _results(plan, variants, baseline)
    parts += _failures(records)
    parts += ["## What the numbers rest on", _about(plan, about, variants)]
    return "\n\n".join(parts) + "\n"


def _results(plan: Plan, variants: list[dict[str, Any]], baseline: dict[str, Any]) -> list[str]:
    parts = ["## Variants", _main_table(variants, baseline), _MAIN_NOTE, "![Change from the baseline](metrics.png)"]
    parts += ["![Training loss](loss.png)", "*Training loss of both stages, after the paper's figure 3; bands: seeds.*"]
    if len(variants) > 1:
        parts += [f"## Against {variants[0]['variant']!r}", _first_table(variants), _FIRST_NOTE]
    for number, summary in enumerate(variants):
        if summary["controls"]:
            parts += [f"## Controls: {summary['variant']}", _control_table(summary, baseline), _CONTROL_NOTE]
            parts.append(f"![The same model under each control](controls{number or ''}.png)")
        if "followed" in summary:
            share = summary["followed"]
            parts.append(
                f"Maps moved by hand: in {share['mean']:.1%} of {share['pairs']} pairs (seeds: {share['low']:.1%} to "
                f"{share['high']:.1%}) the caption went with the map, from naming the first thing and not the second "
                "to naming the second and not the first."
            )
    if any("followed" in summary for summary in variants):
        parts.append("![One picture, two maps, two captions](moved.png)")
    return parts


_MAIN_NOTE = (
    "Metrics: mean over captions and seeds, and in brackets the change from the baseline with its 95% interval and p, "
    "clustered by image and participant after averaging over seeds; p after Holm's correction over the metrics of the "
    "row. Loss: mean of the last tenth of the steps, mean (lowest to highest) over seeds. Seconds per training step of "
    "stage 1 / stage 2, several trainings side by side. The baseline was trained without gaze on the same data, steps "
    "and seeds, with the default places of LoRA; what is trained of it includes a calibrator that no map ever reaches."
)
_FIRST_NOTE = "Difference from the first variant with its 95% interval and p, clustered and corrected as above."
_CONTROL_NOTE = (
    "The trained model under each control, and in brackets the change from its true maps, with p as above. p(words "
    "looked at): mean probability of the names of the looked-at things where the person said them; the p of its change "
    "is not corrected, and not among those of its row. For moved maps the names are those of the things that the map "
    "was moved to."
)


def _main_table(variants: list[dict[str, Any]], baseline: dict[str, Any]) -> str:
    metrics = variants[0]["metrics"]
    head = ["variant", "seeds", "parameters added", "trained (stage 1 / 2)", "s per step (1 / 2)", "loss, stage 1"]
    head += ["loss, stage 2", *_labels(metrics)]
    rows = []
    for summary in (baseline, *variants):
        row = [
            summary["variant"],
            ", ".join(map(str, summary["seeds"])),
            f"{summary['parameters_added']:,}",
            " / ".join(f"{count:,}" for count in summary["parameters_trained"].values()),
            " / ".join(
                DASH if seconds is None else f"{seconds['mean']:.2f}" for seconds in summary["step_seconds"].values()
            ),
            *(_spread(loss) for loss in summary["final_loss"].values()),
        ]
        for name in metrics:
            if summary is baseline:
                row.append(f"{metrics[name]['baseline']:.3f}")
            else:
                entry = summary["metrics"][name]
                row.append(f"{entry['mean']:.3f} ({_change(entry['vs_baseline'])})")
        rows.append(row)
    return _table(head, rows)


def _first_table(variants: list[dict[str, Any]]) -> str:
    metrics = variants[0]["metrics"]
    rows = [
        [summary["variant"], *(_change(summary["metrics"][name]["vs_first"]) for name in metrics)]
        for summary in variants[1:]
    ]
    return _table(["variant", *_labels(metrics)], rows)


def _control_table(summary: dict[str, Any], baseline: dict[str, Any]) -> str:
    metrics, words = summary["metrics"], summary.get("words")
    head = ["map", *_labels(metrics), *(["p(words looked at)"] if words else [])]
    rows = [["true", *(f"{entry['mean']:.3f}" for entry in metrics.values())]]
    rows += [
        [control, *(f"{entry[name]['mean']:.3f} ({_change(entry[name]['vs_none'])})" for name in metrics)]
        for control, entry in summary["controls"].items()
    ]
    if words:
        rows[0].append(f"{words['none']['mean']:.3f}")
        for row in rows[1:]:
            entry = words[row[0]]
            row.append(f"{entry['mean']:.3f} ({_change(entry['vs_none'], 'p')})")
        if moved.NAME in words:
            rows.append([moved.NAME, *[""] * len(metrics), f"{words[moved.NAME]['mean']:.3f}"])
    last = [f"{BASELINE}, no map", *(f"{entry['baseline']:.3f}" for entry in metrics.values())]
    if words:
        last.append(f"{baseline['words']['none']['mean']:.3f}")
    return _table(head, [*rows, last])


def _labels(metrics: dict[str, Any]) -> list[str]:
    return [metric_label(name, entry) for name, entry in metrics.items()]


def _failures(records: list[dict[str, Any]]) -> list[str]:
    failed = [record for record in records if record["failed"] is not None]
    if not failed:
        return []
    lines = [f"- {r['variant']}, seed {r['seed']}: {r['failed'].splitlines()[-1].strip()}" for r in failed]
    return ["## Runs that failed", "\n".join(lines)]


def _about(plan: Plan, about: dict[str, Any], variants: list[dict[str, Any]]) -> str:
    lines = [
        f"Command: `{about['command']}`",
        f"Model: {about['model']} ({plan.depth} blocks in the visual tower)",
        f"Data: {about['data']}",
        f"Recipes: {about['recipes']}; what each run sets besides is in `study.json`",
        *(f"Metrics: {_implementations(summary['metrics'])}" for summary in variants[:1]),
        f"Versions: {', '.join(f'{name} {number}' for name, number in about['versions'].items())}",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _implementations(metrics: dict[str, Any]) -> str:
    found: dict[str, list[str]] = {}
    for name, entry in metrics.items():
        found.setdefault(entry["implementation"], []).append(LABELS[name])
    return "; ".join(f"{', '.join(labels)} ({implementation})" for implementation, labels in found.items())


def _spread(entry: dict[str, float]) -> str:
    if entry["low"] == entry["high"]:
        return f"{entry['mean']:.3f}"
    return f"{entry['mean']:.3f} ({entry['low']:.3f} to {entry['high']:.3f})"


def _change(entry: dict[str, Any], test: str = "p_holm") -> str:
    if entry["ci95"] is None:
        return f"{entry['diff']:+.3f}"
    p = "" if entry[test] is None else f", p {_p(entry[test])}"
    return f"{entry['diff']:+.3f}, {entry['ci95'][0]:+.3f} to {entry['ci95'][1]:+.3f}{p}"


def _p(value: float) -> str:
    text = p_value(value)
    return text if text.startswith("<") else f"= {text}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
