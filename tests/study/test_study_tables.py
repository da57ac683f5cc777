"""Runs taken together: two seeds of made-up scores on disk, against the same numbers computed here with numpy."""

import json
import re
import shutil
from glob import glob
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from rich.console import Console
from statsmodels.stats.multitest import multipletests

from eval.metrics import HEADLINE
from eval.report.formatting import p_value
from eval.significance import contrast
from llamafactory_gaze import steps
from llamafactory_gaze.demo.run import RECIPES
from llamafactory_gaze.steps import run_steps
from llamafactory_gaze.study import figures
from llamafactory_gaze.study.definition import StudyError, read_study
from llamafactory_gaze.study.plan import Plan
from llamafactory_gaze.study.report import write_report
from llamafactory_gaze.study.tables import summarise


SEEDS = (1, 2, 3)
METRICS = ("meteor", "rougeL", "cs_f1")
ROWS = [(f"image{i}", f"p{j}") for i in range(6) for j in range(4)]
IMAGES, PEOPLE = [image for image, _ in ROWS], [person for _, person in ROWS]
THINGS = ("red cup", "blue car")
STUDY = """
seeds: [1, 2, 3]
controls: [off, moved]
variants:
  first: {gaze_layers: late}
  second: {gaze_layers: all}
"""
ABOUT = {
    "command": "",
    "model": "",
    "data": "",
    "recipes": "",
    "simulated": None,
    "versions": {},
}
ADVANTAGE = {"baseline": 0.0, "injected": 0.3, "off": 0.05}


class Made:
    """A study's folder with made-up scores, and these scores."""

    def __init__(self, folder: Path, participants: bool = True, second_better: float = 0.1) -> None:
        rng = np.random.default_rng(0)
        (folder / "study.yaml").write_text(f"recipes: {RECIPES}\n{STUDY}")
        (folder / "data").mkdir()
        output = folder / "output"
        study = read_study(folder / "study.yaml")
        self.plan = Plan(study, output, folder / "runs", folder / "data", "demo", words=True)
        self.people = PEOPLE if participants else None
        rows = [{"image_id": image, "participant": person if participants else None} for image, person in ROWS]
        output.mkdir()
        self.plan.test.write_text(json.dumps(rows))
        # Every caption has its own difficulty, the same for all seeds.
        difficulty = rng.uniform(0.1, 0.3, len(ROWS))
        self.scores: dict[tuple[str, int, str, str], np.ndarray] = {}
        self.words: dict[tuple[str, int, str], np.ndarray] = {}
        self.records = []
        for run in self.plan.runs:
            name, seed = run.variant.name, run.seed
            better = second_better if name == "second" else 0.0
            for system, advantage in ADVANTAGE.items():
                for metric in METRICS:
                    noise = rng.normal(advantage + better, 0.05, len(ROWS))
                    self.scores[name, seed, system, metric] = difficulty + noise
            for control in ("none",) if name == "baseline" else ("none", "off", "moved"):
                self.words[name, seed, control] = rng.uniform(0, 1, 2 * len(ROWS))
            self._write(run.report, name, seed)
            self.records.append(self._record(name, seed))

    def _write(self, report: Path, name: str, seed: int) -> None:
        (report / "report").mkdir(parents=True)
        (report / "words").mkdir()
        lines = []
        for number, (image, person) in enumerate(ROWS):
            scores = {
                system: {"rouge2": None} | {m: self.scores[name, seed, system, m][number] for m in METRICS}
                for system in ADVANTAGE
            }
            participant = person if self.people else None
            lines.append(json.dumps({"image_id": image, "participant": participant, "scores": scores}))
        if name != "baseline":
            (report / "report/per_item.jsonl").write_text("\n".join(lines) + "\n")
        lines = [
            # Of moved maps there are rows of one thing alone, with another name.
            {"control": control, "row": i // 2, "name": THINGS[i % 2 - (control == "moved")], "probability": values[i]}
            for (variant, of_seed, control), values in self.words.items()
            if (variant, of_seed) == (name, seed)
            for i in range(0, len(values), 2 if control == "moved" else 1)
        ]
        (report / "words/words.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def _record(self, name: str, seed: int) -> dict:
        record = {
            "variant": name,
            "seed": seed,
            "failed": None,
            "parameters_added": 10,
            "parameters_trained": {"stage1": 20, "stage2": 30},
            "step_seconds": {"stage1": 0.5 * seed, "stage2": 2.0 * seed},
            "loss": {"stage1": {"steps": [1], "values": [1.0]}, "stage2": {"steps": [1], "values": [2.0]}},
            "final_loss": {"stage1": 1.0 / seed, "stage2": 2.0 / seed},
        }
        if name != "baseline":
            means = {metric: float(self.scores[name, seed, "injected", metric].mean()) for metric in METRICS}
            record["metrics"] = {
                metric: {"new": means.get(metric), "implementation": None, "signature": None} for metric in HEADLINE
            }
            for metric in METRICS:
                record["metrics"][metric] |= {"implementation": f"{metric} by hand", "signature": f"impl:{metric}-1"}
            record["followed"] = {"pairs": 12, "share": 0.25 * seed, "went": []}
        return record

    def average(self, name: str, system: str, metric: str, seeds=SEEDS) -> np.ndarray:
        return np.mean([self.scores[name, seed, system, metric] for seed in seeds], axis=0)

    def summarise(self) -> dict[str, dict]:
        summaries = summarise(self.plan, self.records)
        return {summary["variant"]: summary for summary in summaries}

    def written(self) -> str:
        """The text of `study.md`; without the picture of moved maps, for which there are no pictures."""
        records = [{key: record[key] for key in record if key != "followed"} for record in self.records]
        write_report(self.plan, records, summarise(self.plan, records), ABOUT)
        return (self.plan.output / "study.md").read_text()

    def assert_contrast(self, found: dict, base: np.ndarray, new: np.ndarray) -> None:
        expected = contrast(base, new, IMAGES, self.people)
        assert expected.ci95[1] - expected.ci95[0] > 1e-3
        assert found["diff"] == pytest.approx((new - base).mean(), abs=1e-12)
        assert found["ci95"] == pytest.approx(expected.ci95)
        assert found["p"] == pytest.approx(expected.p_two_way)


@pytest.fixture
def made(tmp_path) -> Made:
    return Made(tmp_path)


def test_every_variant_has_its_line_in_order(made):
    summaries = made.summarise()
    assert list(summaries) == ["baseline", "first", "second"]
    assert all(summary["seeds"] == [1, 2, 3] for summary in summaries.values())
    assert summaries["first"]["parameters_added"] == 10
    assert summaries["first"]["parameters_trained"] == {"stage1": 20, "stage2": 30}
    assert not {"metrics", "controls", "followed"} & set(summaries["baseline"])


def test_numbers_of_the_runs_have_mean_and_range_over_the_seeds(made):
    for summary in made.summarise().values():
        assert summary["step_seconds"]["stage1"] == {"mean": 1.0, "low": 0.5, "high": 1.5}
        assert summary["step_seconds"]["stage2"] == {"mean": 4.0, "low": 2.0, "high": 6.0}
        loss = summary["final_loss"]["stage2"]
        assert (loss["mean"], loss["low"], loss["high"]) == pytest.approx((11 / 9, 2 / 3, 2.0))
    assert made.summarise()["first"]["followed"] == {"pairs": 12, "mean": 0.5, "low": 0.25, "high": 0.75}


def test_unknown_step_times_are_left_out_and_a_dash_stands_for_none_at_all(made):
    for record in made.records:
        if record["variant"] == "second" or (record["variant"], record["seed"]) == ("first", 3):
            record["step_seconds"]["stage1"] = None
    summaries = made.summarise()
    assert summaries["first"]["step_seconds"]["stage1"] == {"mean": 0.75, "low": 0.5, "high": 1.0}
    assert summaries["second"]["step_seconds"] == {"stage1": None, "stage2": {"mean": 4.0, "low": 2.0, "high": 6.0}}
    text = made.written()
    assert "| 20 / 30 | 0.75 / 4.00 |" in text and "| 20 / 30 | \N{EN DASH} / 4.00 |" in text


@pytest.mark.parametrize("name", ["first", "second"])
@pytest.mark.parametrize("metric", METRICS)
def test_metrics_are_averaged_over_seeds_and_then_compared(made, name, metric):
    entry = made.summarise()[name]["metrics"][metric]
    of_seeds = [made.scores[name, seed, "injected", metric].mean() for seed in SEEDS]
    assert (entry["mean"], entry["low"], entry["high"]) == pytest.approx(
        (np.mean(of_seeds), min(of_seeds), max(of_seeds))
    )
    base, new = made.average(name, "baseline", metric), made.average(name, "injected", metric)
    assert entry["baseline"] == pytest.approx(base.mean())
    assert entry["vs_baseline"]["diff"] == pytest.approx(0.3, abs=0.05)
    made.assert_contrast(entry["vs_baseline"], base, new)


@pytest.mark.parametrize("metric", METRICS)
def test_the_other_variants_are_compared_with_the_first(made, metric):
    summaries = made.summarise()
    assert summaries["first"]["metrics"][metric]["vs_first"] is None
    found = summaries["second"]["metrics"][metric]["vs_first"]
    assert found["diff"] == pytest.approx(0.1, abs=0.04)
    made.assert_contrast(found, made.average("first", "injected", metric), made.average("second", "injected", metric))


@pytest.mark.parametrize("metric", METRICS)
def test_controls_are_compared_with_the_true_maps_and_the_baseline(made, metric):
    for name in ("first", "second"):
        controls = made.summarise()[name]["controls"]
        assert set(controls) == {"off"}
        found = controls["off"][metric]
        off = made.average(name, "off", metric)
        assert found["mean"] == pytest.approx(off.mean())
        assert found["vs_none"]["diff"] == pytest.approx(-0.25, abs=0.05)
        made.assert_contrast(found["vs_none"], made.average(name, "injected", metric), off)
        made.assert_contrast(found["vs_baseline"], made.average(name, "baseline", metric), off)


def test_p_is_corrected_over_the_metrics_of_a_row_and_stands_so_in_the_tables(tmp_path):
    made = Made(tmp_path, second_better=0.02)
    summaries, text = made.summarise(), made.written()
    second = summaries["second"]
    for rows, name in ((second["metrics"], "vs_first"), (second["controls"]["off"], "vs_none")):
        found = [rows[metric][name] for metric in METRICS]
        corrected = multipletests([entry["p"] for entry in found], method="holm")[1]
        assert [entry["p_holm"] for entry in found] == pytest.approx(list(corrected))
    change = second["metrics"]["rougeL"]["vs_first"]
    assert p_value(change["p_holm"]) != p_value(change["p"])
    low, high = change["ci95"]
    assert f"| {change['diff']:+.3f}, {low:+.3f} to {high:+.3f}, p = {p_value(change['p_holm'])} |" in text
    assert text.count("Holm's correction") == 1 and "p_holm" not in second["words"]["off"]["vs_none"]


@pytest.mark.parametrize(
    ("metric", "label", "other"),
    [
        ("meteor", "METEOR", {"implementation": "NLTK METEOR", "signature": "impl:nltk-3.9"}),
        ("cs_f1", "CS-F1", {"signature": "impl:cs_f1-2"}),
        ("cs_f1", "CS-F1", {"new": None, "implementation": None, "signature": None}),
    ],
)
@pytest.mark.parametrize("odd", [("first", 2), ("second", 1)])
def test_metrics_of_different_implementations_are_neither_averaged_nor_compared(made, metric, label, other, odd):
    for record in made.records:
        if (record["variant"], record["seed"]) == odd:
            record["metrics"][metric] |= other
    with pytest.raises(StudyError) as refused:
        made.summarise()
    text = str(refused.value)
    assert text.startswith(f"{label} was not computed in the same way in all comparisons ({metric} by hand in first, ")
    assert f"in {odd[0]}, seed {odd[1]})" in text and f"{made.plan.output}/*/seed*/report" in text
    for record in made.records:
        if (record["variant"], record["seed"]) == odd:
            record["failed"] = "ended with code 1"
    assert set(made.summarise()) == {"baseline", "first", "second"}


def test_after_the_folders_named_there_are_deleted_only_the_comparisons_are_made_again(made, monkeypatch):
    made.records[-1]["metrics"]["meteor"]["signature"] = "impl:nltk-3.9"
    with pytest.raises(StudyError) as refused:
        made.summarise()
    (pattern,) = re.findall(r"delete (\S+) and", str(refused.value))

    def pretend(command, log, *rest):
        (step,) = (step for step in made.plan.steps() if step.log == log)
        step.result.mkdir(parents=True, exist_ok=True)
        called.append(step.name)

    called: list[str] = []
    monkeypatch.setattr(steps, "call", pretend)
    run_steps(made.plan.steps(), 1, Console(quiet=True), False)
    assert len(called) == len(made.plan.steps())
    called.clear()
    for folder in glob(pattern):
        shutil.rmtree(folder)
    run_steps(made.plan.steps(), 1, Console(quiet=True), False)
    assert sorted(called) == [f"{name}/seed{seed}/compare" for name in ("first", "second") for seed in SEEDS]


def test_the_report_says_what_computed_each_metric(made, monkeypatch):
    for record in made.records:
        if "metrics" in record:
            record["metrics"]["meteor"]["implementation"] = "Java METEOR 1.5, PTB tokens"
    titles = []
    monkeypatch.setattr(figures, "save_figure", lambda figure, *_, **__: titles.append(titles_of(figure)))
    text = made.written()
    assert "- Metrics: METEOR (Java METEOR 1.5, PTB tokens); ROUGE-L (rougeL by hand); CS-F1 (cs_f1 by hand)\n" in text
    heads = [line for line in text.splitlines() if line.startswith(("| variant |", "| map |"))]
    assert len(heads) == 4 and all("| METEOR (Java) | ROUGE-L | CS-F1 |" in head for head in heads)
    metrics = ["ROUGE-L\nrougeL by hand", "CS-F1\ncs_f1 by hand", "METEOR\nJava METEOR 1.5, PTB tokens"]
    assert titles[1:] == [metrics, [*metrics, "p(words looked at)"], [*metrics, "p(words looked at)"]]


def titles_of(figure: Figure) -> list[str]:
    return [axis.get_title() for axis in figure.axes]


def test_a_metric_that_could_not_be_had_is_left_out(made):
    assert set(made.summarise()["first"]["metrics"]) == set(METRICS)


def test_words_are_averaged_over_seeds_and_compared_with_the_true_maps(made):
    summaries = made.summarise()
    assert set(summaries["baseline"]["words"]) == {"none"}
    for name in ("first", "second"):
        found = summaries[name]["words"]
        assert set(found) == {"none", "off", "moved"}
        none, off, moved = (
            np.mean([made.words[name, seed, control] for seed in SEEDS], axis=0) for control in ("none", "off", "moved")
        )
        assert found["none"]["mean"] == pytest.approx(none.mean()) and found["none"]["names"] == 48
        assert found["off"]["mean"] == pytest.approx(off.mean())
        expected = contrast(none, off, np.repeat(IMAGES, 2).tolist(), np.repeat(PEOPLE, 2).tolist())
        assert found["off"]["vs_none"]["diff"] == pytest.approx((off - none).mean())
        assert found["off"]["vs_none"]["ci95"] == pytest.approx(expected.ci95)
        # The names of moved rows are others: there is nothing to compare them with.
        assert found["moved"] == {"mean": pytest.approx(moved[::2].mean()), "names": 24}


def test_a_failed_seed_is_left_out_and_the_others_are_named(made):
    for record in made.records:
        if (record["variant"], record["seed"]) == ("first", 2):
            report = next(run.report for run in made.plan.runs if run.name == "first/seed2")
            (report / "report/per_item.jsonl").unlink()
            record["failed"] = "ended with code 1"
            for key in set(record) - {"variant", "seed", "failed"}:
                del record[key]
    summary = made.summarise()["first"]
    assert summary["seeds"] == [1, 3]
    entry = summary["metrics"]["rougeL"]
    base, new = (made.average("first", system, "rougeL", seeds=(1, 3)) for system in ("baseline", "injected"))
    assert entry["mean"] == pytest.approx(new.mean())
    made.assert_contrast(entry["vs_baseline"], base, new)
    assert made.summarise()["second"]["seeds"] == [1, 2, 3]


def test_a_variant_without_any_good_run_has_no_line_and_the_next_one_comes_first(made):
    for record in made.records:
        if record["variant"] == "first":
            record["failed"] = "ended with code 1"
    summaries = made.summarise()
    assert list(summaries) == ["baseline", "second"]
    assert summaries["second"]["metrics"]["rougeL"]["vs_first"] is None


def test_without_participants_captions_are_clustered_by_image(tmp_path):
    made = Made(tmp_path, participants=False)
    found = made.summarise()["first"]["metrics"]["rougeL"]["vs_baseline"]
    base, new = (made.average("first", system, "rougeL") for system in ("baseline", "injected"))
    made.assert_contrast(found, base, new)
    assert found["ci95"] != pytest.approx(contrast(base, new, IMAGES, PEOPLE).ci95)
