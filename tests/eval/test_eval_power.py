"""The planner's command: its answers against its own grid, against scores on disk whose make-up is known, bad input."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from eval.power import app
from eval.statistics.planning import Design


def run(*options):
    return CliRunner().invoke(app, [str(option) for option in options])


def plan(*options):
    done = run(*options, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def write_scores(path, images=30, people=20, **changes):
    """A per_item.jsonl of differences with SD 0.1, 30% of their variance by image and 10% by person."""
    rng = np.random.default_rng(2)
    of_image, of_person = rng.normal(size=images), rng.normal(size=people)
    with path.open("w") as file:
        for image in range(images):
            for person in range(people):
                if (image + person) % 5 == 0:
                    continue
                noise = 0.3**0.5 * of_image[image] + 0.1**0.5 * of_person[person] + 0.6**0.5 * rng.normal()
                scores = {
                    "baseline": {"rougeL": 0.3, "meteor": None},
                    "injected": {"rougeL": 0.32 + 0.1 * noise, "meteor": None},
                }
                item = {
                    "row": image * people + person,
                    **{"id": "", "image_id": f"i{image}", "participant": f"p{person}", "category": None, "groups": {}},
                    **{"image": None, "saliency": None, "target": "said", "controls": {}, "simulated": None},
                    "captions": {"baseline": "one", "injected": "other"},
                    "scores": scores,
                    "human": {"rougeL": None, "meteor": None},
                }
                item |= changes
                file.write(json.dumps(item) + "\n")
    return path


def test_needed_numbers_are_the_first_that_suffice():
    found = plan("--images", "40,20", "--people", "25", "--effect", 0.25, "--missing", 0.2)
    assert [(cell["images"], cell["people"], cell["captions"]) for cell in found["grid"]] == [
        (20, 25, 400),
        (40, 25, 800),
    ]
    (of_people,) = found["images_needed"]
    needed = of_people["images"]
    assert Design(needed, 25, 0.1, 0.05, 0.2).power(0.25) >= 0.8 > Design(needed - 1, 25, 0.1, 0.05, 0.2).power(0.25)
    for answer in found["people_needed"]:
        design = Design(answer["images"], answer["people"], 0.1, 0.05, 0.2)
        fewer = Design(answer["images"], answer["people"] - 1, 0.1, 0.05, 0.2)
        assert design.power(0.25) >= 0.8 > fewer.power(0.25)
    for cell in found["grid"]:
        design = Design(cell["images"], 25, 0.1, 0.05, 0.2)
        assert cell["power"] == design.power(0.25) and design.power(cell["mde_sd"]) == pytest.approx(0.8)
        assert cell["mde"] is None


def test_effects_in_scores_and_in_standard_deviations_are_the_same_study():
    in_sd, in_scores = plan("--effect", 0.25), plan("--effect", 0.03, "--sd", 0.12)
    assert in_scores["effect_sd"] == pytest.approx(0.25) and in_scores["effect"] == 0.03
    for one, other in zip(in_sd["grid"], in_scores["grid"], strict=True):
        assert one["power"] == pytest.approx(other["power"]) and other["mde"] == pytest.approx(0.12 * one["mde_sd"])


def test_more_people_do_not_make_up_for_few_images():
    found = plan("--images", "6", "--people", "500", "--effect", 0.2, "--icc-image", 0.3)
    assert found["people_needed"] == [{"images": 6, "people": None}]
    done = run("--images", "6", "--people", "500", "--effect", 0.2, "--icc-image", 0.3)
    assert "With 6 images no number of people is enough: take more images." in done.stdout


def test_the_answer_in_words():
    done = run("--images", "30,60,120", "--people", "10,20,29,40", "--effect", 0.2)
    assert done.exit_code == 0 and max(map(len, done.stdout.splitlines())) <= 80
    needed = {answer["people"]: answer["images"] for answer in plan("--people", "29")["images_needed"]}
    assert f"With 29 people you need about {needed[29]} images." in done.stdout


def test_estimates_from_scores(tmp_path):
    scores = write_scores(tmp_path / "per_item.jsonl")
    found = plan("--scores", scores, "--effect", 0.02)
    assert found["sd"] == pytest.approx(0.1, rel=0.15) and found["missing"] == pytest.approx(0.2)
    assert found["icc_image"] == pytest.approx(0.3, abs=0.12) and found["icc_person"] == pytest.approx(0.1, abs=0.08)
    assert found["effect_sd"] == pytest.approx(0.02 / found["sd"])
    assert found["estimated_from"] == {"file": str(scores), "metric": "rougeL", "method": "moments"}
    assert plan("--scores", scores, "--missing", 0, "--icc-person", 0.02)["icc_person"] == 0.02  # what is given counts
    assert "estimated by the method of moments from rougeL" in " ".join(run("--scores", scores).stdout.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--images", "30,few"], "--images 30,few is no list of numbers from 2"),
        (["--people", "1"], "--people 1 is no list"),
        (["--effect", "0"], "--effect 0.0 is no difference"),
        (["--effect", "nan"], "--effect nan is no difference"),
        (["--sd", "-1"], "--sd -1.0 is no standard deviation"),
        (["--icc-image", "0.7", "--icc-person", "0.4"], "together at most 1"),
        (["--icc-image", "nan"], "together at most 1"),
        (["--missing", "1"], "--missing 1.0 is no share"),
        (["--scores", "nowhere.jsonl"], "nowhere.jsonl cannot be read"),
    ],
)
def test_bad_options(options, message):
    done = run(*options)
    assert done.exit_code == 2 and done.stdout == "" and len(done.stderr.strip().splitlines()) == 1
    assert message in done.stderr


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, ["--metric", "meteor"], "has no scores meteor: give --metric one of rougeL"),
        ({"participant": None}, [], "row 1 names no participant"),
        ({"image_id": "one"}, [], "cannot be told apart"),
        ({"scores": None}, [], "line 1 is no record of this version of eval.compare"),
        ({"scores": {key: {"rougeL": 1, "meteor": None} for key in ("baseline", "injected")}}, [], "no spread"),
    ],
)
def test_scores_that_allow_no_estimate(tmp_path, changes, options, message):
    done = run("--scores", write_scores(tmp_path / "scores.jsonl", 4, 3, **changes), *options)
    assert done.exit_code == 2 and message in done.stderr and "scores.jsonl" in done.stderr


def test_an_empty_file_of_scores(tmp_path):
    (tmp_path / "empty.jsonl").touch()
    assert "is empty" in run("--scores", tmp_path / "empty.jsonl").stderr


def test_help_is_there_at_once():
    code = "import eval.power, sys; print({'torch', 'numpy', 'scipy', 'statsmodels'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
    shown = subprocess.run([sys.executable, "-m", "eval.power", "--help"], capture_output=True, text=True, check=True)
    assert "--icc-image" in shown.stdout and "python -m eval.power --images" in shown.stdout
