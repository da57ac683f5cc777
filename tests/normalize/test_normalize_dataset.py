"""From stage 2 to stage 1: which rows, what they say of themselves, what is asked again, and what is refused."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from safetensors.numpy import save_file

from llamafactory_gaze.data import registry
from llamafactory_gaze.data.maps.options import MapOptions
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.data.triples.build import build_dataset
from llamafactory_gaze.data.triples.card import STAGE1_NOT_NORMALIZED
from llamafactory_gaze.data.triples.exclusions import NO_RULES
from llamafactory_gaze.data.triples.options import DatasetOptions
from llamafactory_gaze.demo.run import BASE_MODEL
from llamafactory_gaze.normalize import normalize_dataset
from llamafactory_gaze.normalize.base_model import find_model
from llamafactory_gaze.normalize.journal import Answer
from llamafactory_gaze.normalize.prompts import PROMPTS, SLOT, find_prompt
from tests.normalize.conftest import PROMPT, files, journals, options, stage


def test_rows_are_those_of_stage_2_with_the_answers_as_targets(toy, engine):
    before = files(toy)
    done = normalize_dataset(options(toy))
    assert done.asked == 12 and done.changed
    originals, rows = stage(toy, 2), stage(toy, 1)
    records = json.loads((toy / "toy" / "stage1.normalization.json").read_text())
    (record,) = records
    for original, row in zip(originals, rows, strict=True):
        said = original["conversations"][1]["value"]
        assert row == {
            **original,
            "conversations": [
                original["conversations"][0],
                {"from": "gpt", "value": f"SAY IT AGAIN: {said.upper()}"},
            ],
            "original": said,
            "normalization": {"record": record, "prompt": "own text", "model": "base_model"},
        }
    assert engine.batches[0] == [f"Say it again: {row['conversations'][1]['value']}" for row in originals[:5]]
    assert [len(batch) for batch in engine.batches] == [5, 5, 2]
    after = files(toy)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"toy/stage1.json", "toy/stage1.normalization.json", "toy/README.md"}


def test_the_record_says_how(toy, engine):
    normalize_dataset(options(toy, image_max_pixels=5000))
    (record,) = json.loads((toy / "toy" / "stage1.normalization.json").read_text()).values()
    names = sorted(p.name for p in BASE_MODEL.iterdir() if p.suffix in (".json", ".safetensors", ".jinja"))
    lines = [f"{name} {hashlib.sha256((BASE_MODEL / name).read_bytes()).hexdigest()}\n" for name in names]
    assert record == {
        "prompt": {"name": "own text", "text": PROMPT, "stand_in": False},
        "model": {"name": "base_model", "files_sha256": hashlib.sha256("".join(lines).encode()).hexdigest()},
        "template": "qwen2_vl",
        "engine": "huggingface",
        "greedy": True,
        "max_new_tokens": 20,
        "image_max_pixels": 5000,
        "batch_size": 5,
        "runtime": {"device": "none"},
    }


def test_a_second_call_does_nothing(toy, engine):
    normalize_dataset(options(toy))
    before = {path: path.stat().st_mtime_ns for path in toy.rglob("*") if path.is_file() and path.name != "lock"}
    done = normalize_dataset(options(toy))
    assert (done.asked, done.changed, engine.asked) == (0, False, 12)
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_only_what_has_changed_is_asked_again(toy, engine):
    normalize_dataset(options(toy))
    rows = stage(toy, 2)
    rows[3]["conversations"][1]["value"] = "Something else."
    (toy / "toy" / "stage2.json").write_text(json.dumps(rows))
    changed = toy / rows[6]["images"][0]
    Image.open(changed).convert("L").save(changed)
    sharing = [row["id"] for row in rows if row["images"] == rows[6]["images"]]
    engine.batches.clear()
    assert normalize_dataset(options(toy, batch_size=100)).asked == 1 + len(sharing) == 3
    assert engine.batches[0][0] == "Say it again: Something else."
    assert stage(toy, 1)[3]["original"] == "Something else."


@pytest.mark.parametrize(
    "change", [{"prompt": "Differently: {description}"}, {"image_max_pixels": 5000}, {"template": "qwen2_vl_other"}]
)
def test_another_setting_begins_anew_and_loses_nothing(toy, engine, change):
    normalize_dataset(options(toy))
    first = files(toy)
    assert normalize_dataset(options(toy, **change)).asked == 12
    assert files(toy) != first and len(journals(toy)) == 2
    assert normalize_dataset(options(toy)).asked == 0
    assert files(toy) == first


def test_a_data_set_that_is_built_anew_finds_its_answers(toy, engine, built):
    normalize_dataset(options(toy))
    normalized = files(toy)
    for name in ("stage1.json", "README.md"):
        (toy / "toy" / name).write_bytes((built / "toy" / name).read_bytes())
    (toy / "toy" / "stage1.normalization.json").unlink()
    assert normalize_dataset(options(toy)).asked == 0
    assert files(toy) == normalized


def card(dataset_dir: Path) -> str:
    return (dataset_dir / "toy" / "README.md").read_text()


def test_the_card_tells_how_the_targets_were_made(toy, engine):
    before = card(toy)
    assert STAGE1_NOT_NORMALIZED in before
    normalize_dataset(options(toy))
    after = card(toy)
    assert STAGE1_NOT_NORMALIZED not in after and "not style-normalised" not in after
    assert re.search(
        r"^\| toy_stage1 \| 12 \| 6 \| 2 \| the descriptions, style-normalised .* \|$", after, re.MULTILINE
    )
    assert re.search(r"^\| toy_stage2 \| 12 \| 6 \| 2 \| the original descriptions \|$", after, re.MULTILINE)
    own = {"## Stage-1 targets of toy"}
    assert [line for line in after.splitlines() if line[:3] == "## " and line not in own] == [
        line for line in before.splitlines() if line[:3] == "## "
    ]
    maps = before.index("## Maps")
    assert after.endswith(before[maps:])  # and what stood behind is untouched
    normalize_dataset(options(toy, prompt="describe"))
    assert card(toy).count("## Stage-1 targets") == 1 and "a stand-in, **not style-normalised**" in card(toy)
    normalize_dataset(options(toy))
    assert card(toy) == after


def test_folds_share_a_card(built, tmp_path, engine):
    inputs = {name: built.parent / f"{name}.csv" for name in ("fixations", "descriptions")}
    images, making = built.parent / "demo/images", MapOptions(sigma_px=8.0)
    build_dataset(
        DatasetOptions(images, name="toy", dataset_dir=tmp_path, making=making, folds=2, rules=NO_RULES, **inputs)
    )
    normalize_dataset(options(tmp_path, name="toy_fold2"))
    halfway = card(tmp_path)
    assert STAGE1_NOT_NORMALIZED in halfway and "| the original descriptions, **not style-normalised** |" in halfway
    assert halfway.count("## Stage-1 targets of ") == halfway.count("## Stage-1 targets of toy_fold2\n") == 1
    normalize_dataset(options(tmp_path, name="toy_fold1"))
    whole = card(tmp_path)
    assert "not style-normalised" not in whole and STAGE1_NOT_NORMALIZED not in whole
    assert whole.count("## Stage-1 targets of toy_fold1\n") == whole.count("## Stage-1 targets of toy_fold2\n") == 1
    assert not normalize_dataset(options(tmp_path, name="toy_fold2")).changed


def test_an_empty_answer_is_asked_once_more(toy, engine):
    second = stage(toy, 2)[1]["conversations"][1]["value"]
    silent = {f"Say it again: {second}": 1}

    def answer(prompt: str) -> Answer:
        silent[prompt] = silent.get(prompt, 0) - 1
        return Answer("" if silent[prompt] >= 0 else "At last.", True, 1)

    engine.answers = answer
    assert normalize_dataset(options(toy)).asked == 13
    assert [len(batch) for batch in engine.batches] == [5, 5, 2, 1]
    assert stage(toy, 1)[1]["conversations"][1]["value"] == "At last."
    assert normalize_dataset(options(toy)).asked == 0


def test_answers_that_cannot_be_targets_are_refused_by_name(toy, engine):
    rows = stage(toy, 2)
    bad = {2: Answer("", True, 1), 4: Answer("And then", False, 20), 7: Answer("An <image>.", True, 3)}
    answers = {f"Say it again: {rows[i]['conversations'][1]['value']}": answer for i, answer in bad.items()}
    engine.answers = lambda prompt: answers.get(prompt, Answer("Fine.", True, 2))
    before = files(toy)
    ids = [rows[i]["id"] for i in bad]
    message = re.escape(f"3 of 12 answers cannot be targets: {ids[0]} (empty), {ids[1]} (cut off), {ids[2]} (contains")
    for asked in (13, 13):  # the second call asks nothing, and says the same
        with pytest.raises(DataError, match=message):
            normalize_dataset(options(toy))
        assert engine.asked == asked and files(toy) == before

    done = normalize_dataset(options(toy, keep_original=True))
    assert done.asked == 0
    kept = {i: row["normalization"]["kept_original"] for i, row in enumerate(stage(toy, 1)) if i in bad}
    assert kept == {2: "empty", 4: "cut off", 7: "contains <image>"}
    for i, row in enumerate(stage(toy, 1)):
        assert row["original"] == rows[i]["conversations"][1]["value"]
        assert row["conversations"][1]["value"] == (row["original"] if i in bad else "Fine.")
        assert ("kept_original" in row["normalization"]) == (i in bad)
    assert "Rows that keep the original as their target: 3." in card(toy)


def test_with_more_tokens_only_what_was_cut_off_is_asked_again(toy, engine):
    long = f"Say it again: {stage(toy, 2)[5]['conversations'][1]['value']}"
    engine.answers = lambda prompt: Answer("Well", prompt != long, 4)
    with pytest.raises(DataError, match=r"1 of 12 .*raise --max-new-tokens \(now 20; only what was cut off"):
        normalize_dataset(options(toy))
    engine.answers = lambda prompt: Answer("Well said.", True, 30)
    engine.batches.clear()
    assert normalize_dataset(options(toy, max_new_tokens=40)).asked == 1
    assert engine.batches == [[long]]
    limits = {n: r["max_new_tokens"] for n, r in json.loads(files(toy)["toy/stage1.normalization.json"]).items()}
    used = [limits[row["normalization"]["record"]] for row in stage(toy, 1)]
    assert used == [20] * 5 + [40] + [20] * 6


def test_a_data_set_that_changes_meanwhile_is_not_written_over(toy, engine):
    def answer(prompt: str) -> Answer:
        change_row(11, participant="p99")(toy)
        return Answer("Fine.", True, 2)

    before = stage(toy, 1)
    engine.answers = answer
    with pytest.raises(DataError, match=r"stage2\.json has changed since this call began, so .*stage1\.json was not"):
        normalize_dataset(options(toy))
    assert stage(toy, 1) == before
    assert normalize_dataset(options(toy)).asked == 0
    assert stage(toy, 1)[11]["participant"] == "p99"


def test_targets_that_others_made_stay_unless_asked(toy, engine):
    rows = stage(toy, 1)
    rows[4]["conversations"][1]["value"] = "Made by hand."
    (toy / "toy" / "stage1.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match=r"stage1\.json, row 5 has a target that this command did not make"):
        normalize_dataset(options(toy))
    assert engine.asked == 0 and stage(toy, 1) == rows
    normalize_dataset(options(toy, overwrite=True))
    assert "Made by hand." not in (toy / "toy" / "stage1.json").read_text()


def test_an_entry_that_others_made_stays_unless_asked(toy, engine):
    entry = registry.gaze_entry("toy/stage1.json")
    del entry["made_by"]
    registry.register(toy, {"toy_stage1": entry})
    with pytest.raises(DataError, match=r"entry toy_stage1 that `llamafactory-gaze dataset` did not make"):
        normalize_dataset(options(toy))
    normalize_dataset(options(toy, overwrite=True))
    assert registry.read_registry(toy)["toy_stage1"] == entry


def test_one_call_at_a_time(toy, engine):
    (toy / ".normalize" / "toy").mkdir(parents=True)
    with FileLock(toy / ".normalize" / "toy" / "lock"), pytest.raises(DataError, match="Another call normalises toy"):
        normalize_dataset(options(toy))
    assert normalize_dataset(options(toy)).asked == 12


def change_row(i: int, **fields):
    def change(dataset_dir: Path) -> None:
        rows = stage(dataset_dir, 2)
        rows[i].update(fields)
        (dataset_dir / "toy" / "stage2.json").write_text(json.dumps(rows))

    return change


def said(text: object) -> list[dict]:
    return [{"from": "human", "value": "<image>What is it?"}, {"from": "gpt", "value": text}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_row(2, images=[]), r"stage2\.json, row 3 \(.*\) has no images; the model is shown the image"),
        (change_row(2, images=None), r"row 3 .* has no images"),
        (change_row(2, images=["toy/images/none.png"]), r"row 3 .*: the image .*none\.png does not exist"),
        (change_row(1, conversations=said(" ")), r"row 2 .* has no description"),
        (change_row(1, conversations=said("a <video>")), r"row 2 .*: the description contains <video>"),
        (
            change_row(1, conversations=said("a")[::-1]),
            r"row 2 .* must be one question \(human\) and one answer \(gpt\)",
        ),
        (change_row(1, conversations=said("a") * 2), r"row 2 .* must be one question"),
        (change_row(0, id=7), r"row 1 has no `id`"),
        (
            change_row(0, id="same") and (lambda d: [change_row(i, id="same")(d) for i in (0, 3)]),
            r"row 4 has the id 'same'",
        ),
        (change_row(0, original="mine"), r"row 1 has a field 'original', which this command writes itself"),
        (lambda d: (d / "toy/stage2.json").write_text("[]"), r"stage2\.json has no rows"),
        (lambda d: (d / "toy/stage2.json").write_text("{}"), r"holds a JSON dict; expected a list"),
        (lambda d: (d / "toy/stage2.json").write_text("[{"), r"is not valid JSON"),
        (lambda d: (d / "toy/stage2.json").unlink(), r"stage2\.json does not exist"),
        (
            lambda d: registry.register(d, {"toy_stage2": {"hf_hub_url": "x/y"}}),
            r"toy_stage2 is not an entry as `llamafactory-gaze dataset` makes it",
        ),
    ],
)
def test_bad_data_are_named_and_nothing_is_written(toy, engine, change, message):
    change(toy)
    before = files(toy)
    with pytest.raises(DataError, match=message):
        normalize_dataset(options(toy))
    assert engine.asked == 0 and files(toy) == before and not (toy / ".normalize").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "tox"}, r"has no data set tox_stage2; the names in it are toy\."),
        ({"name": "../toy"}, r"has no data set \.\./toy_stage2"),
        ({"template": "qwen2_5_vl_gaze"}, "is the one with gaze"),
        ({"prompt": "Say it."}, r"--prompt 'Say it\.' is no prompt; expected one of rewrite, describe"),
        ({"prompt": "<image>{description}"}, "The prompt contains <image>"),
        ({"model": "none/such model"}, "No model is found at none/such model"),
    ],
)
def test_bad_settings(toy, engine, changes, message):
    before = files(toy)
    with pytest.raises(DataError, match=message):
        normalize_dataset(options(toy, **changes))
    assert engine.asked == 0 and files(toy) == before


def test_prompts(tmp_path):
    assert SLOT in PROMPTS["rewrite"] and find_prompt("describe").stand_in and not find_prompt("rewrite").stand_in
    assert find_prompt("rewrite").about("a {red} cat").count("a {red} cat") == 1
    file = tmp_path / "mine.txt"
    file.write_text("Again: {description}\n")
    assert find_prompt(str(file)).text == "Again: {description}" and find_prompt(str(file)).name == "file mine.txt"
    file.write_text("Again.")
    with pytest.raises(DataError, match=r"mine\.txt lacks \{description\}"):
        find_prompt(str(file))


def test_models(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "qwen2_5_vl_gaze"}')
    with pytest.raises(DataError, match=r"is a model of type qwen2_5_vl_gaze; .* a stock"):
        find_model(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "qwen2_5_vl"}')
    with pytest.raises(DataError, match="is not whole"):
        find_model(str(tmp_path))
    save_file({"weights": np.zeros(1)}, tmp_path / "model.safetensors")
    first = find_model(str(tmp_path)).identity
    (tmp_path / "README.md").write_text("not read by the model")
    assert find_model(str(tmp_path)).identity == first
    save_file({"weights": np.ones(1)}, tmp_path / "model.safetensors")
    assert find_model(str(tmp_path)).identity["files_sha256"] != first["files_sha256"]
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(DataError, match="is an adapter"):
        find_model(str(tmp_path))
    with pytest.raises(DataError, match=r"holds no config\.json"):
        find_model(str(tmp_path.parent))


def test_a_model_of_the_hub_is_named_by_its_commit(tmp_path, monkeypatch):
    folder = tmp_path / "snapshots" / "0123abcd"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "qwen2_5_vl"}')
    save_file({"weights": np.zeros(1)}, folder / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, allow_patterns: str(folder))
    found = find_model("Qwen/Qwen2.5-VL-3B-Instruct")
    assert found.folder == folder
    assert found.identity == {"name": "Qwen/Qwen2.5-VL-3B-Instruct", "revision": "0123abcd"}
