"""What came of each variant: its runs taken together.

A caption's score is averaged over the seeds first, then compared over captions with the two-way clustered test of
`eval.significance`. So an interval tells what other pictures and other people would change; what another seed would
change is told by the spread of the runs, which stands beside it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.metrics import HEADLINE, LABELS
from eval.significance import contrast, with_holm
from llamafactory_gaze.study import words
from llamafactory_gaze.study.definition import BASELINE, StudyError
from llamafactory_gaze.study.plan import Plan, Run


Scores = dict[str, dict[str, np.ndarray]]  # system -> metric -> (rows,)


@dataclass(frozen=True)
class Items:
    """The scores of one variant, averaged over its seeds, and what each row is about."""

    scores: Scores
    images: list[str]
    participants: list[str] | None


def summarise(plan: Plan, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One dictionary for the baseline and each variant that has at least one run that ended well.

    Returns:
        variant, seeds; for the numbers of the records `mean`, `low` and `high` over the seeds (None: not known);
        `metrics` with `implementation`, `mean`, `low`, `high`, `vs_baseline` and (but for the first variant)
        `vs_first`, each `diff`, `ci95`, `p` and `p_holm`; `controls`, for each control the metrics' `mean`, `vs_none`
        and `vs_baseline`; `words`, for each control `mean`, `names` and `vs_none` without a `p_holm`; `followed`.

    Raises:
        StudyError: a metric was computed in different ways in different comparisons.
    """
    _refuse_mixed_metrics(plan, records)
    summaries: list[dict[str, Any]] = []
    first: Items | None = None
    for variant in (plan.study.baseline, *plan.study.variants):
        mine = [record for record in records if record["variant"] == variant.name and record["failed"] is None]
        if not mine:
            continue
        seeds = {record["seed"] for record in mine}
        runs = [run for run in plan.runs if run.variant == variant and run.seed in seeds]
        summary: dict[str, Any] = {
            "variant": variant.name,
            "seeds": [record["seed"] for record in mine],
            "parameters_added": mine[0]["parameters_added"],
            "parameters_trained": mine[0]["parameters_trained"],
            "step_seconds": {stage: _spread_of_known(mine, stage) for stage in ("stage1", "stage2")},
            "final_loss": {stage: _spread([r["final_loss"][stage] for r in mine]) for stage in ("stage1", "stage2")},
        }
        if variant.name != BASELINE:
            items = _items(runs)
            vs_baseline = _compare(items, "baseline", items, "injected")
            vs_first = {} if first is None else _compare(first, "injected", items, "injected")
            summary["metrics"] = {
                name: {
                    "implementation": mine[0]["metrics"][name]["implementation"],
                    **_spread([r["metrics"][name]["new"] for r in mine]),
                    "baseline": float(items.scores["baseline"][name].mean()),
                    "vs_baseline": vs_baseline[name],
                    "vs_first": vs_first.get(name),
                }
                for name in vs_baseline
            }
            summary["controls"] = {
                control: _control(items, control) for control in items.scores if control not in ("baseline", "injected")
            }
            if first is None:
                first = items
        if plan.words:
            summary["words"] = _words(plan, runs)
        if "followed" in mine[0]:
            summary["followed"] = {
                "pairs": mine[0]["followed"]["pairs"],
                **_spread([record["followed"]["share"] for record in mine]),
            }
        summaries.append(summary)
    return summaries


def _refuse_mixed_metrics(plan: Plan, records: Sequence[dict[str, Any]]) -> None:
    """What computes a metric depends on what was installed when the comparison was made: METEOR on Java, for one."""
    compared = [record for record in records if record["failed"] is None and record["variant"] != BASELINE]
    for name in HEADLINE:
        ways: dict[str | None, str] = {}  # signature -> what it is, and the first run that has it
        for record in compared:
            entry = record["metrics"][name]
            run = f"{record['variant']}, seed {record['seed']}"
            ways.setdefault(entry["signature"], f"{entry['implementation'] or 'no scores'} in {run}")
        if len(ways) > 1:
            raise StudyError(
                f"{LABELS[name]} was not computed in the same way in all comparisons ({'; '.join(ways.values())}): "
                f"delete {plan.output}/*/seed*/report and call the study again, which compares anew and trains nothing."
            )


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"mean": float(np.mean(values)), "low": float(min(values)), "high": float(max(values))}


def _spread_of_known(records: Sequence[dict[str, Any]], stage: str) -> dict[str, float] | None:
    known = [record["step_seconds"][stage] for record in records if record["step_seconds"][stage] is not None]
    return _spread(known) if known else None


def _items(runs: Sequence[Run]) -> Items:
    """Reads `per_item.jsonl` of all runs; all are of the same rows in the same order."""
    of_runs = [
        [json.loads(line) for line in (run.report / "report/per_item.jsonl").read_text().splitlines()] for run in runs
    ]
    rows = of_runs[0]
    scores = {
        system: {
            metric: np.mean([[row["scores"][system][metric] for row in items] for items in of_runs], axis=0)
            for metric, value in metrics.items()
            if metric in HEADLINE and value is not None
        }
        for system, metrics in rows[0]["scores"].items()
    }
    people = [row["participant"] for row in rows]
    return Items(scores, [row["image_id"] for row in rows], None if None in people else people)


def _control(items: Items, control: str) -> dict[str, dict[str, Any]]:
    vs_none = _compare(items, "injected", items, control)
    vs_baseline = _compare(items, "baseline", items, control)
    return {
        name: {
            "mean": float(items.scores[control][name].mean()),
            "vs_none": vs_none[name],
            "vs_baseline": vs_baseline[name],
        }
        for name in vs_none
    }


def _compare(base: Items, base_system: str, new: Items, new_system: str) -> dict[str, dict[str, Any]]:
    """For each metric `diff`, `ci95`, `p`, and `p_holm`: after Holm's correction over the metrics."""
    old_scores, new_scores = base.scores[base_system], new.scores[new_system]
    names = [name for name in HEADLINE if name in new_scores]
    family = with_holm(contrast(old_scores[name], new_scores[name], new.images, new.participants) for name in names)
    return {
        name: {"diff": found.diff, "ci95": found.ci95, "p": found.p_two_way, "p_holm": found.p_holm}
        for name, found in zip(names, family, strict=True)
    }


def _words(plan: Plan, runs: Sequence[Run]) -> dict[str, Any]:
    """For each control the mean probability of the looked-at things' names, and its difference from no control."""
    rows = json.loads(plan.test.read_text())
    tables: list[dict[str, dict[tuple[int, str], float]]] = []
    for run in runs:
        table: dict[str, dict[tuple[int, str], float]] = {}
        for line in (run.report / "words" / words.FILE).read_text().splitlines():
            entry = json.loads(line)
            table.setdefault(entry["control"], {})[entry["row"], entry["name"]] = entry["probability"]
        tables.append(table)
    found: dict[str, Any] = {}
    for control in tables[0]:
        keys = list(tables[0][control])
        values = np.mean([[table[control][key] for key in keys] for table in tables], axis=0)
        found[control] = {"mean": float(values.mean()), "names": len(keys)}
        if control != "none" and keys == list(tables[0]["none"]):
            without = np.mean([[table["none"][key] for key in keys] for table in tables], axis=0)
            images = [rows[row]["image_id"] for row, _ in keys]
            people = [rows[row].get("participant") for row, _ in keys]
            against = contrast(without, values, images, None if None in people else people)
            found[control]["vs_none"] = {"diff": against.diff, "ci95": against.ci95, "p": against.p_two_way}
    return found
