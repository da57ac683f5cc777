"""`python -m benchmarks`: the file of results, its table, and a benchmark of each kind at a tiny size."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app, names
from benchmarks.frame import store


KEYS = {"name", "ours", "peer", "ratio", "target", "met", "versions", "shape"}
OTHER = {"name": "other", "kept": "as it is"}


def run(*arguments: str) -> str:
    outcome = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    return outcome.output


def check(entry: dict, name: str) -> None:
    assert set(entry) == KEYS and entry["name"] == name
    assert entry["ours"] > 0 and entry["peer"] > 0
    assert entry["ratio"] == pytest.approx(entry["ours"] / entry["peer"], rel=1e-4)
    assert entry["met"] == (None if entry["target"] is None else entry["ratio"] <= entry["target"])
    assert set(entry["versions"]) == {
        "python", "torch", "transformers", "llamafactory", "llamafactory-gaze", "cpu", "threads",
    }  # fmt: skip
    assert {"what", "unit", "ours", "peer"} <= set(entry["shape"])


def test_a_run_replaces_its_own_entries_and_leaves_the_others(tmp_path):
    file = tmp_path / "results.json"
    file.write_text(json.dumps([OTHER, {"name": "validation", "former": True}]))
    run("--results", str(file), "validation", "--images", "4")
    found = json.loads(file.read_text())
    assert found[0] == OTHER and [one["name"] for one in found] == ["other", "validation"]
    check(found[1], "validation")
    assert found[1]["shape"]["images"] == 4 and found[1]["shape"]["own"] is False
    before = file.read_bytes()
    assert "already" in run("--results", str(file), "--resume", "validation", "--images", "4")
    assert file.read_bytes() == before
    assert not store.is_done(file, "validation", {"images": 5, "own": False})


def test_a_run_that_breaks_off_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    import benchmarks.validation

    file = tmp_path / "results.json"
    file.write_text(json.dumps([OTHER]))
    monkeypatch.setattr(benchmarks.validation, "decode", lambda folder: 1 / 0)
    assert CliRunner().invoke(app, ["--results", str(file), "validation", "--images", "4"]).exit_code != 0
    assert json.loads(file.read_text()) == [OTHER] and os.listdir(tmp_path) == ["results.json"]


def test_maps_beside_the_stock_plug_in(tmp_path):
    file = tmp_path / "results.json"
    run("--results", str(file), "mm_inputs", "--images", "2", "--repeats", "1")
    alone, together = json.loads(file.read_text())
    for entry in (alone, together):
        check(entry, "mm_inputs")
        assert entry["target"] == 1.15
    assert together["shape"]["patches"] == 2 * alone["shape"]["patches"] > 2000


def test_list_names_every_file_without_loading_it():
    code = "import sys; from benchmarks.__main__ import app; app(['--list'], standalone_mode=False)"
    code += "; assert 'torch' not in sys.modules"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [line.split()[0] for line in shown.stdout.splitlines()] == names()
    assert "There is no benchmark 'nothing'" in CliRunner().invoke(app, ["nothing"]).output


def test_the_committed_results_have_the_schema_and_stand_in_the_docs():
    entries = store.read(store.RESULTS)
    for entry in entries:
        check(entry, entry["name"])
        assert entry["name"] in names()
    assert run("--table") in Path(__file__).parents[2].joinpath("docs/performance.md").read_text(encoding="utf-8")
