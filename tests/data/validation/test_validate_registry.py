"""Entries of dataset_info.json and the kinds of files that they name, through the command itself."""

import hashlib
import json
import re

import pytest
from typer.testing import CliRunner

from llamafactory_gaze.cli import app
from llamafactory_gaze.data.hub import ShareOptions, share_dataset
from llamafactory_gaze.data.registry import register
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.data.triples.build import build_dataset
from llamafactory_gaze.demo.dataset import make_demo_data


def run(folder, name="small", *more):
    return CliRunner().invoke(app, ["validate", name, "--dataset-dir", str(folder), *map(str, more)])


def test_what_the_builder_makes_is_clean(recording):
    options = recording.options(maps="participant")
    build_dataset(options)
    result = run(options.dataset_dir)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "Problems: 0. Warnings: 0." and "row " not in result.stdout
    assert re.search(r"small_test .* 4 .* 2 .* 4 .* 2 .* 2 ", result.stdout)


def test_the_demo_is_clean(tmp_path):
    make_demo_data(tmp_path / "demo", train_images=10, test_images=5, observers=4)
    assert run(tmp_path / "demo", "demo").exit_code == 0


def test_problems_end_in_2_with_a_line_each(valid):
    valid.answer("test", 0, "")
    valid.rows["test"][1].pop("participant")
    report = valid.validate()
    result = run(valid.folder, "small", "--json", valid.folder / "out/problems.json")
    assert result.exit_code == 2
    assert [line for line in result.stdout.splitlines() if line.startswith(("Problem:", "Warning:"))] == [
        f"Problem: {valid.file('test')}, row 0 (id i4_p1): turn 1 ('gpt') is empty, expected text; write it.",
        f"Warning: {valid.file('test')}, row 1 (id i4_p2): the field 'participant' is missing, a cluster of the "
        "evaluation's statistics; add it.",
    ]
    written = json.loads((valid.folder / "out/problems.json").read_text())
    assert (written["problems"], written["warnings"]) == (1, 1)
    assert written["lines"] == [problem.as_json() for problem in report.problems]
    assert written["summary"][2] == {
        "entry": "small_test", "rows": 4, "images": 2, "videos": 0, "maps": 2, "people": 2, "categories": 1
    }  # fmt: skip


def test_warnings_alone_end_in_0(valid):
    valid.rows["test"][1].pop("participant")
    valid.validate()
    result = run(valid.folder)
    assert result.exit_code == 0 and "Problems: 0. Warnings: 1." in result.stdout


def test_the_limit_is_for_each_kind(valid):
    for number in range(4):
        valid.answer("test", number, f"A thing of number {number}\x07 is here.")
    valid.image(0).unlink()
    valid.validate()
    lines = run(valid.folder, "small", "--limit", 3).stdout.splitlines()
    assert sum("U+0007" in line for line in lines) == 3 and sum("does not exist" in line for line in lines) == 1
    assert "Problem: ... and 1 more of the kind control-character." in lines and "Problems: 5. Warnings: 0." in lines


@pytest.mark.parametrize(
    ("name", "prepare", "message"),
    [
        ("other", lambda data: None, "has neither an entry other nor other_stage1"),
        ("small", lambda data: (data.folder / "dataset_info.json").unlink(), "dataset_info.json does not exist"),
        ("small", lambda data: (data.folder / "dataset_info.json").write_text("{"), "is not valid JSON"),
        ("small_test", lambda data: data.entry("test", file_name="small/x.json"), "x.json does not exist"),
        ("small_test", lambda data: data.entry("test", file_name="small/maps"), "expected files in .json, .jsonl"),
        ("small_test", lambda data: data.entry("test", hf_hub_url="some/body"), "are not on this disk"),
        ("small_test", lambda data: data.entry("test", columns=["images"]), "expected an object of names"),
        ("small_test", lambda data: data.entry("test", file_name=""), "'file_name' of the entry small_test is ''"),
        ("small_test", lambda data: register(data.folder, {"small_test": {}}), "are not on this disk"),
    ],
)
def test_what_cannot_be_checked_ends_in_1(valid, name, prepare, message):
    valid.validate()
    prepare(valid)
    result = run(valid.folder, name)
    assert result.exit_code == 1 and message in result.stderr and "Traceback" not in result.output


def test_one_entry_alone(valid):
    valid.answer("stage1", 0, "")
    assert valid.found("small_test") == []
    assert valid.found("small_stage1") == [("empty-text", "stage1.json", 0, "i0_p1")]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"formatting": "sharegpt"}, "formatting"),
        ({"columns": {"messages": "conversations", "saliencies": "saliencies"}}, "column-unnamed"),
        ({"columns": {"images": "images", "saliencies": "saliencies"}}, "column-unnamed"),
        ({"columns": {"messages": "conversations", "images": "images"}}, "column-unnamed"),
        ({"file_name": "small/missing.json"}, "missing-rows"),
        ({"file_name": "small/maps/../test.json"}, "path-outside"),
    ],
)
def test_a_fault_of_an_entry(valid, changes, kind):
    valid.entry("test", **changes)
    assert valid.found() == [(kind, "dataset_info.json", None, None)]


def test_an_entry_that_is_missing(valid):
    path = valid.folder / "dataset_info.json"
    entries = json.loads(path.read_text())
    del entries["small_stage2"]
    path.write_text(json.dumps(entries))
    (problem,) = valid.validate().problems
    assert problem.kind == "missing-entry" and "small_stage2" in problem.message


@pytest.mark.parametrize(("content", "kind"), [(b"[{", "broken-rows"), (b"[]", "no-rows"), (b'"\xff"', "broken-rows")])
def test_a_file_that_cannot_be_read(valid, content, kind):
    valid.validate()
    valid.rows.pop("test")
    valid.file("test").write_bytes(content)
    assert valid.found() == [(kind, "test.json", None, None)]


def test_json_lines(valid):
    """Also in a file that ends in .json, as `datasets` reads it; a bad line is named, those before it are checked."""
    valid.answer("test", 1, "")
    rows = valid.rows.pop("test")
    lines = "\n".join(map(json.dumps, rows)) + "\n"
    for name in ("test.json", "test.jsonl"):
        (valid.folder / "small" / name).write_text(lines)
        valid.entry("test", file_name=f"small/{name}")
        assert valid.found() == [("empty-text", name, 1, "i4_p2")]
    (valid.folder / "small/test.jsonl").write_text(lines + "{broken\n")
    (empty, broken) = valid.validate().problems
    assert (empty.kind, broken.kind) == ("empty-text", "broken-rows") and "line 5 is not valid JSON" in broken.message


def embedded(valid, rows):
    def content(path):
        return {"bytes": (valid.folder / path).read_bytes(), "path": path.rpartition("/")[2]}

    return [
        {**row, "images": [content(p) for p in row["images"]], "saliencies": [content(p) for p in row["saliencies"]]}
        for row in rows
    ]


def test_parquet_with_embedded_pictures(valid):
    """They are checked like files; a leak is found by content."""
    import pandas

    save = {split: embedded(valid, rows) for split, rows in valid.rows.items()}
    valid.rows.clear()

    def write():
        for split, rows in save.items():
            pandas.DataFrame(rows).to_parquet(valid.folder / f"small/{split}.parquet")
            valid.entry(split, file_name=f"small/{split}.parquet")

    write()
    assert valid.found() == []
    save["test"][2]["images"] = save["stage2"][0]["images"]
    save["test"][3]["images"] = save["stage2"][0]["images"]
    save["test"][0]["saliencies"] = [{"bytes": b"no picture", "path": "i4.png"}]
    write()
    assert valid.found() == [
        ("map-unusable", "test.parquet", 0, "i4_p1"),
        ("leak-image", "test.parquet", 2, "i5_p1"),
    ]


def test_a_folder_of_files_is_one_data_set(valid):
    import pandas

    rows = valid.rows.pop("test")
    (valid.folder / "small/test").mkdir()
    for part in (0, 1):
        pandas.DataFrame(rows[part::2]).to_parquet(valid.folder / f"small/test/{part}.parquet")
    valid.entry("test", file_name="small/test")
    report = valid.validate()
    assert report.problems == [] and report.summary[2].rows == 4


def test_the_layout_of_the_hub_on_disk(valid, tmp_path_factory):
    """Also splits.json of that folder holds."""
    shared = tmp_path_factory.mktemp("hub") / "shared"
    for split in ("stage1", "stage2"):
        valid.rows[split][1]["participant"] = "p3"
    (valid.folder / "small/splits.json").write_text('{"by": "both"}')
    for row in valid.rows["test"]:
        row["participant"] = row["participant"].replace("p", "q")
    assert valid.found() == []
    share_dataset(ShareOptions("small", valid.folder, shared))
    valid.rows["test"].clear()  # the files are not used any more
    valid.validate()
    subsets = {"stage1": "train", "stage2": "train", "test": "test"}
    for subset, split in subsets.items():
        valid.entry(subset, hf_hub_url=str(shared), subset=subset, split=split)
    report = valid.validate()
    assert report.problems == [] and [line.rows for line in report.summary] == [8, 8, 4]
    (shared / "splits.json").write_text('{"by": "moon"}')
    assert valid.found() == [("splits", "splits.json", None, None)]
    valid.entry("test", hf_hub_url=str(shared), subset="moon")
    assert ("missing-rows", "dataset_info.json", None, None) in valid.found()


def test_nothing_is_changed(valid):
    valid.validate()

    def digests():
        return {
            path: hashlib.sha256(path.read_bytes()).hexdigest() for path in valid.folder.rglob("*") if path.is_file()
        }

    before = digests()
    run(valid.folder)
    assert digests() == before


def test_nothing_readable_is_an_error_in_python_too(valid):
    valid.validate()
    for split in valid.rows:
        valid.file(split).unlink()
    valid.rows.clear()
    with pytest.raises(DataError, match="does not exist"):
        valid.validate()
