"""More than two systems against a chosen one, partial predictions, conditions for scripts, and scores used again."""

from __future__ import annotations

import json
from importlib.resources import files

import jsonschema
import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from eval.metrics import HEADLINE
from tests.eval.comparing import compare, failed, run


pytestmark = pytest.mark.usefixtures("quick_metrics")

FIGURES = (
    "base",
    "new",
    "diff",
    "pct",
    "ci95",
    "p_two_way",
    "p_image_flip",
    "p_mixed",
    "p_naive",
    "dz",
    "win_rate",
    "n",
)


def systems(study, *names):
    return [f"{name}={study.file(name)}" for name in names]


def items(folder):
    return [json.loads(line) for line in (folder / "per_item.jsonl").read_text().splitlines()]


def same(one, other):
    for name in FIGURES:
        assert one[name] is other[name] is None or one[name] == pytest.approx(other[name], rel=1e-9), name


@pytest.fixture
def three(study):
    """The study's three systems against `off`, its folder and results."""
    folder = study.folder / "three"
    names = systems(study, "baseline", "off", "injected")
    done, results = compare(folder, *names, "--reference", "off", "--dataset", study.dataset)
    assert done.exit_code == 0, done.output
    return done, folder, results


def test_each_system_is_compared_as_if_it_were_the_only_one(study, three):
    done, folder, results = three
    assert (results["reference"], results["main"], list(results["systems"])) == (
        "off",
        "baseline",
        ["baseline", "injected"],
    )
    for name in ("baseline", "injected"):
        _, alone = compare(study.folder / name, *systems(study, "off", name), "--dataset", study.dataset)
        for metric, entry in alone["metrics"].items():
            same(results["systems"][name]["metrics"][metric], entry)
            same(results["systems"][name]["categories"]["Social"][metric], alone["categories"]["Social"][metric])
    assert {key: results[key] for key in results["systems"]["baseline"]} == results["systems"]["baseline"]
    for text in (done.stdout, *((folder / name).read_text() for name in ("report.md", "report.html"))):
        assert "All systems" in text and "Injected against off" in text


def test_holm_corrects_over_all_systems(three):
    tables = [system["metrics"] for system in three[2]["systems"].values()]
    entries = [table[name] for table in tables for name in HEADLINE if table[name]["p_two_way"] is not None]
    expected = multipletests([entry["p_two_way"] for entry in entries], method="holm")[1]
    assert [entry["p_holm"] for entry in entries] == pytest.approx(expected)


def test_the_two_file_form_is_the_same_comparison(study):
    _, _, pair = run(study, "--control", f"off={study.file('off')}")
    named = systems(study, "baseline", "injected")
    control = ("--control", f"off={study.file('off')}")
    _, results = compare(study.folder / "named", *named, *control, "--dataset", study.dataset)
    for key in ("metrics", "categories", "systems", "controls", "human", "columns"):
        assert results[key] == pair[key]


def test_outputs_follow_the_published_schemas(study, three):
    schemas = {
        name: jsonschema.Draft202012Validator(
            json.loads(files("eval.results").joinpath(f"schema/{name}.schema.json").read_text())
        )
        for name in ("results", "per_item")
    }
    study.rows[4].pop("participant")
    study.rows[5]["side"] = "left"
    study.write()
    control = ("--control", f"off={study.file('off')}", "--simulated", "Made up.", "--by", "side")
    _, folder, results = run(study, *control)
    for found in (results, three[2]):
        schemas["results"].validate(found)
    for item in items(folder):
        schemas["per_item"].validate(item)
        assert item["simulated"] == "Made up."
    with pytest.raises(jsonschema.ValidationError):
        schemas["results"].validate(results | {"unknown": 1})


def test_what_was_run_is_recorded(study):
    _, _, results = run(study, "--seed", 0, "--examples", 3)
    arguments = results["arguments"]
    assert arguments["baseline"] == str(study.file("baseline")) and arguments["dataset"] == str(study.dataset)
    assert (arguments["seed"], arguments["examples"]) == (0, 3)
    assert results["schema_version"] == 1 and results["versions"]["scipy"] and len(results["commit"] or "x" * 40) >= 40


def test_partial_predictions_are_left_out_for_all_and_said(study):
    study.predictions["injected"] = study.predictions["injected"][:20]
    study.predictions["baseline"][3]["predict"] = ""
    study.write()
    assert "20 predictions but" in failed(run(study)[0])
    done, folder, results = run(study, "--allow-partial")
    assert done.exit_code == 0, done.output
    assert (results["data"]["n_rows"], results["data"]["n_rows_dataset"]) == (20, 24)
    assert results["data"]["predictions"]["injected"]["missing"] == 4
    assert results["data"]["predictions"]["baseline"]["empty"] == 1
    notes = " ".join(results["warnings"])
    assert "injected has no prediction for 4 of 24 rows." in notes and "4 of 24 rows are left out for all" in notes
    assert items(folder)[3]["scores"]["baseline"]["rougeL"] == 0 and len(items(folder)) == 20
    assert "4 of 24 rows of the data set were left out" in (folder / "report.html").read_text()


def test_references_of_rows_that_are_left_out_still_count(study):
    """What other people said remains known where a system said nothing."""
    study.predictions["injected"] = study.predictions["injected"][:1]
    study.write()
    _, _, results = run(study, "--allow-partial", "--references", "image")
    assert results["metrics"]["rougeL"]["signature"].endswith("refs:image,4-4")
    assert results["human"]["rougeL"]["n"] == 1


def test_scores_give_the_same_statistics_again(study, three):
    _, folder, first = three
    done, again = compare(study.folder / "again", "--scores", folder / "per_item.jsonl")
    assert done.exit_code == 0, done.output
    assert (study.folder / "again" / "per_item.jsonl").read_bytes() == (folder / "per_item.jsonl").read_bytes()
    for key in set(first) - {"data", "arguments", "created"}:
        assert again[key] == first[key], key
    assert again["data"]["files"]["scores"]["sha256"] == first["data"]["per_item_sha256"]
    assert again["data"]["files"]["off"] == first["data"]["files"]["off"]


def test_scores_against_another_reference(study, three):
    _, folder, first = three
    _, turned = compare(study.folder / "turned", "--scores", folder / "per_item.jsonl", "--reference", "injected")
    assert list(turned["systems"]) == ["off", "baseline"]
    forth, back = first["systems"]["injected"]["metrics"]["cs_f1"], turned["systems"]["off"]["metrics"]["cs_f1"]
    assert back["diff"] == pytest.approx(-forth["diff"]) and back["p_two_way"] == pytest.approx(forth["p_two_way"])


def test_scores_are_read_and_not_computed(study, three, monkeypatch):
    _, folder, _ = three
    changed = items(folder)
    for item in changed:
        item["scores"]["injected"]["rougeL"] = 0.5
    elsewhere = study.folder / "elsewhere.jsonl"
    elsewhere.write_text("".join(json.dumps(item) + "\n" for item in changed))
    monkeypatch.setattr("eval.scoring.columns.score_all", None)
    done, results = compare(study.folder / "again", "--scores", elsewhere)
    assert done.exit_code == 0, done.output
    entry = results["systems"]["injected"]["metrics"]["rougeL"]
    assert entry["new"] == 0.5 and entry["base"] == pytest.approx(
        np.mean([item["scores"]["off"]["rougeL"] for item in changed])
    )
    assert entry["signature"] is None and results["settings"]["references"] == "unknown"
    assert "which ones is not recorded" in (study.folder / "again" / "report.html").read_text()
    done, twice = compare(study.folder / "twice", "--scores", study.folder / "again" / "per_item.jsonl")
    assert done.exit_code == 0, done.exception
    assert twice["systems"] == results["systems"] and twice["settings"] == results["settings"]


def test_scores_that_were_changed_are_not_signed(study, three):
    _, folder, _ = three
    with (folder / "per_item.jsonl").open("a") as file:
        file.write(json.dumps(items(folder)[0]) + "\n")
    _, results = compare(study.folder / "again", "--scores", folder / "per_item.jsonl")
    assert results["metrics"]["rougeL"]["signature"] is None and results["data"]["n_rows"] == 25


def test_simulated_data_stay_simulated(study, tmp_path):
    _, folder, _ = run(study, "--simulated", "Made up.")
    alone = tmp_path / "alone.jsonl"
    alone.write_bytes((folder / "per_item.jsonl").read_bytes())
    _, results = compare(tmp_path / "again", "--scores", alone)
    assert results["data"]["simulated"] == "Made up."


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["baseline={baseline}"], "Nothing to compare"),
        (["baseline={baseline}", "other"], "other is not NAME=FILE"),
        (["a={baseline}", "a={injected}"], "the name a is taken"),
        (["a={baseline}", "b={injected}", "--reference", "c"], "--reference c is none of the systems, which are a, b"),
        (["a={baseline}", "--injected", "{injected}"], "either --baseline FILE and --injected FILE, or all"),
        (["--baseline", "{baseline}"], "either --baseline FILE and --injected FILE, or all"),
    ],
)
def test_bad_options(study, options, message):
    names = {name: study.file(name) for name in ("baseline", "injected")}
    options = [option.format(**names) for option in options]
    done, _ = compare(study.folder / "report", *options, "--dataset", study.dataset)
    assert message in failed(done) and not (study.folder / "report").exists()


def test_bad_options_beside_scores(study, three):
    for options, message in (
        (["a=a.jsonl"], "--scores stands in place of NAME=FILE"),
        (["--cs-idf"], "--scores stands in place of --cs-idf"),
        (["--references", "image"], "--scores stands in place of --references"),
        (["--references", "own"], "--scores stands in place of --references"),
        (["--reference", "nobody"], "--reference nobody is not in"),
        (["--by", "gender"], "has a value in the column gender"),
        (["--fail-if", "cs_f1 < 0"], "--fail-if cs_f1 < 0 is not [SYSTEM:]METRIC.FIELD"),
        (["--fail-if", "cs.diff < 0"], "there is no metric cs; there are meteor,"),
        (["--fail-if", "cs_f1.gain < 0"], "there is no figure gain; there are base,"),
        (["--fail-if", "off:cs_f1.diff < 0"], "there is no system off; there are baseline"),
    ):
        done, _ = compare(study.folder / "report", "--scores", three[1] / "per_item.jsonl", *options)
        assert message in failed(done) and not (study.folder / "report").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [("test.json", "is no record of this version of eval.compare"), ("nowhere.jsonl", "nowhere.jsonl cannot be read")],
)
def test_files_that_hold_no_scores(study, name, message):
    done, _ = compare(study.folder / "report", "--scores", study.folder / name)
    assert message in failed(done)


def test_the_data_set_is_needed(study):
    done, _ = compare(study.folder / "report", *systems(study, "baseline", "off"))
    assert "--dataset is missing" in failed(done)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("cs_f1.diff <= 0", False),
        ("cs_f1.diff > 0", True),
        ("injected:rougeL.ci95.low < -1", False),
        ("injected:rougeL.pct_ci95.high>=1e-3", True),
        ("cs_f1.n < 24", False),
        ("cs_f1.n <= 24", True),
    ],
)
def test_conditions_decide_the_exit_code_after_all_is_written(study, condition, holds):
    done, folder, results = run(study, "--fail-if", "cs_f1.diff < -1", "--fail-if", condition)
    assert done.exit_code == (3 if holds else 0) and results is not None and (folder / "report.html").exists()
    assert (condition in done.stderr) == holds


def test_a_condition_on_a_figure_that_is_not_known_holds(study):
    done, _, _ = run(study, "--fail-if", "cider.diff < 0")
    assert done.exit_code == 3 and "cider.diff of injected is not known: " in done.stderr


@pytest.mark.parametrize(
    "change",
    [
        lambda item: item["scores"]["injected"].update(rougeL=float("inf")),
        lambda item: item["scores"]["injected"].update(rougeL="0.5"),
        lambda item: item["scores"].pop("injected"),
        lambda item: item.update(participant=["p"]),
        lambda item: item["captions"].update(injected=None),
    ],
)
def test_damaged_scores_are_named(study, three, change):
    _, folder, _ = three
    changed = items(folder)
    change(changed[3])
    (study.folder / "changed.jsonl").write_text("".join(json.dumps(item) + "\n" for item in changed))
    done, _ = compare(study.folder / "again", "--scores", study.folder / "changed.jsonl")
    assert "changed.jsonl, line 4 is no record of this version" in failed(done)
