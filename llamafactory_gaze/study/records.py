"""What came of each run: one plain dictionary, a record of `study.json`."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoConfig

from llamafactory_gaze.modeling import Qwen2_5_VLGazeConfig
from llamafactory_gaze.modeling.modeling_qwen2_5_vl_gaze import Qwen2_5_VLGazeVisionTransformer
from llamafactory_gaze.study import moved, words
from llamafactory_gaze.study.definition import BASELINE
from llamafactory_gaze.study.plan import Plan, Run


LAST_PART = 0.1  # the final loss is the mean over this last part of the steps


def make_record(plan: Plan, run: Run, failures: dict[str, str]) -> dict[str, Any]:
    """The record of a run.

    Args:
        failures: for each step that has not ended well why, by name.

    Returns:
        variant, seed, recipe (the values set besides the recipe's, by section), failed (None or a sentence), and unless
        it failed: parameters_added, parameters_trained, step_seconds (None: not known), loss (steps and values),
        final_loss, each by stage but for the first; metrics and controls as in `results.json` (none for the baseline),
        words, followed.
    """
    reason = next((text for name, text in failures.items() if name.startswith(f"{run.name}/")), None)
    record: dict[str, Any] = {
        "variant": run.variant.name,
        "seed": run.seed,
        "recipe": {section: plan.values(run.variant, run.seed, section) for section in ("stage1", "stage2", "predict")},
        "failed": reason,
    }
    if reason is not None:
        return record
    stages = {name: run.folder / name for name in ("stage1", "stage2")}
    curves = {name: _loss(folder) for name, folder in stages.items()}
    record |= {
        "parameters_added": 0 if run.variant.name == BASELINE else parameters_added(plan.model, stages["stage1"]),
        "parameters_trained": {name: _parameters_trained(folder) for name, folder in stages.items()},
        "step_seconds": {name: step_seconds(folder) for name, folder in stages.items()},
        "loss": curves,
        "final_loss": {name: _final(curve) for name, curve in curves.items()},
    }
    if run.variant.name != BASELINE:
        results = json.loads((run.report / "report/results.json").read_text())
        record |= {"metrics": results["metrics"], "controls": results["controls"], "versions": results["versions"]}
    if plan.words:
        record["words"] = _words(run)
    if moved.NAME in plan.study.controls and run.variant.name != BASELINE:
        record["followed"] = followed(run, plan.moved)
    return record


def parameters_added(model: str, adapter: Path) -> int:
    """Parameters that the gaze settings of an adapter add to a stock model: those of its calibrators."""
    settings = json.loads((adapter / "adapter_config.json").read_text())["auto_mapping"]["llamafactory_gaze"][
        "settings"
    ]
    config = Qwen2_5_VLGazeConfig.from_stock(AutoConfig.from_pretrained(model), **settings)
    with torch.device("meta"):
        tower = Qwen2_5_VLGazeVisionTransformer._from_config(config.vision_config)
    return sum(weight.numel() for name, weight in tower.named_parameters() if ".calibrator." in name)


def step_seconds(folder: Path) -> float | None:
    """Mean seconds per training step; of a training that was resumed, from the first step that it logged after that.

    transformers' own rate divides all steps by the run time of the last process, also if that did only some of them.

    Args:
        folder: what LLaMA-Factory's training has left.

    Returns:
        None if the last process logged nothing before its last step.
    """
    first_step = first_second = second = 0
    for line in (folder / "trainer_log.jsonl").read_text().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # a full disk has cut it short
        before, second = second, _seconds(entry["elapsed_time"])
        if second < before:  # every process counts from 0
            first_step, first_second = entry["current_steps"], second
    steps = json.loads((folder / "trainer_state.json").read_text())["global_step"] - first_step
    runtime = json.loads((folder / "train_results.json").read_text())["train_runtime"] - first_second
    return float(runtime / steps) if steps else None


def followed(run: Run, folder: Path) -> dict[str, Any]:
    """How many captions went with a moved map, see `moved.follows`: the number of pairs, the share, and which."""
    before, after = captions(run.predictions()), captions(run.predictions(moved.NAME))
    moves = moved.read_moves(folder)
    went = [moved.follows(move, before[move.row], said) for move, said in zip(moves, after, strict=True)]
    return {"pairs": len(went), "share": sum(went) / len(went), "went": went}


def captions(predictions: Path) -> list[str]:
    """The captions of a `generated_predictions.jsonl`, in its order."""
    return [json.loads(line)["predict"].strip() for line in predictions.read_text().splitlines()]


def _words(run: Run) -> dict[str, float]:
    """For each control the mean probability of the names of the looked-at things."""
    found: dict[str, list[float]] = {}
    for line in (run.report / "words" / words.FILE).read_text().splitlines():
        entry = json.loads(line)
        found.setdefault(entry["control"], []).append(entry["probability"])
    return {control: sum(values) / len(values) for control, values in found.items()}


def _loss(folder: Path) -> dict[str, list[float]]:
    history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    logged = [(entry["step"], entry["loss"]) for entry in history if "loss" in entry]
    if not logged:  # fewer steps than `logging_steps`: what is left is their mean
        logged = [(entry["step"], entry["train_loss"]) for entry in history if "train_loss" in entry]
    return {"steps": [step for step, _ in logged], "values": [loss for _, loss in logged]}


def _final(curve: dict[str, list[float]]) -> float:
    begin = curve["steps"][-1] * (1 - LAST_PART)
    last = [loss for step, loss in zip(curve["steps"], curve["values"], strict=True) if step > begin]
    return sum(last) / len(last)


def _seconds(elapsed: str) -> int:
    """Of a time as in `trainer_log.jsonl`, such as 0:01:30 or 1 day, 2:03:04."""
    days, _, clock = elapsed.rpartition(", ")
    hours, minutes, seconds = map(int, clock.split(":"))
    return 86400 * int(days.split()[0] if days else 0) + 3600 * hours + 60 * minutes + seconds


def _parameters_trained(folder: Path) -> int:
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as adapter:
        return sum(torch.Size(adapter.get_slice(key).get_shape()).numel() for key in adapter.keys())  # noqa: SIM118
