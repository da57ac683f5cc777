"""`llamafactory-gaze normalize`: the real command with the tiny model, and its messages."""

import pytest
from typer.testing import CliRunner

from llamafactory_gaze.cli import app
from llamafactory_gaze.demo.run import BASE_MODEL
from llamafactory_gaze.normalize.journal import Answer
from tests.normalize.conftest import PROMPT, stage


def run(dataset_dir, *more: object, name: str = "toy"):
    arguments = ("normalize", name, "--dataset-dir", dataset_dir, "--model", BASE_MODEL, *more)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_end_to_end_with_the_tiny_model(toy):
    result = run(toy, "--prompt", "describe", "--batch-size", 8, "--max-new-tokens", 64)
    assert result.exit_code == 0, result.output
    assert "Note: the prompt 'describe' is a stand-in" in result.stdout
    rows = stage(toy, 1)
    for row in rows:
        # The tiny model names all things in a picture, in the order of the rainbow: one answer for each picture.
        (answer,) = {r["conversations"][1]["value"] for r in rows if r["image_id"] == row["image_id"]}
        assert answer.endswith(".") and answer != row["original"] and row["normalization"]["prompt"] == "describe"
    first = rows[0]
    assert (
        f"{first['id']}\n  before: {first['original']}\n  after:  {first['conversations'][1]['value']}" in result.stdout
    )
    assert f"Wrote {toy / 'toy' / 'stage1.json'}" in result.stdout
    again = run(toy, "--prompt", "describe", "--batch-size", 8, "--max-new-tokens", 64)
    assert "12 rows, 0 questions asked now" in again.stdout and "Nothing to do: " in again.stdout


def test_what_keeps_its_original_is_listed(toy, engine):
    ids = [row["id"] for row in stage(toy, 2)]
    bad = stage(toy, 2)[2]["conversations"][1]["value"]
    engine.answers = lambda prompt: Answer("And [bold]", bad not in prompt, 4)
    refused = run(toy, "--prompt", PROMPT)
    assert refused.exit_code == 1 and f"{ids[2]} (cut off)" in refused.stderr
    kept = run(toy, "--prompt", PROMPT, "--keep-original")
    assert kept.exit_code == 0 and f"  {ids[2]}: the answer is cut off\n" in kept.stdout
    assert "  after:  And [bold]\n" in kept.stdout


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--backend", "sglang"], "--backend sglang needs the package sglang, which is not installed here"),
        (["--prompt", "What?"], "--prompt 'What?' is no prompt"),
        (["--template", "qwen2_5_vl_gaze"], "is the one with gaze"),
    ],
)
def test_wrong_options_are_one_sentence(toy, more, message, monkeypatch):
    monkeypatch.setattr("llamafactory_gaze.normalize.engines.load.find_spec", lambda name: None)
    result = run(toy, *more)
    assert result.exit_code == 1 and message in result.stderr
    assert "Traceback" not in result.output and result.stderr.rpartition("Error: ")[2].count("\n") == 1


def test_a_name_that_is_not_registered(toy):
    result = run(toy, name="toy_stage1")
    assert result.exit_code == 1 and "has no data set toy_stage1_stage2; the names in it are toy." in result.stderr
