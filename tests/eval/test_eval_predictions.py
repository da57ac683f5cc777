"""Reading predictions and joining them to their data set: what is accepted, and how a fault is named."""

from __future__ import annotations

import json

import pytest

from eval.errors import InputError
from eval.inputs.dataset import SIMULATED, read_dataset
from eval.inputs.joining import read_joined


def join(study, systems=("baseline", "injected")):
    study.write()
    return read_joined(study.dataset, {name: study.file(name) for name in systems})


def test_rows_and_captions_are_joined_in_order(study):
    joined = join(study)
    assert [row.id for row in joined.rows] == [record["id"] for record in study.rows]
    assert joined.rows[5].image_id == "scene1" and joined.rows[5].participant == "p1"
    assert joined.rows[5].category == "Object" and joined.rows[5].saliency == "maps/scene1_p1.png"
    assert joined.captions["injected"][5] == study.predictions["injected"][5]["predict"]
    assert joined.simulated is None


def test_other_number_of_rows(study):
    study.predictions["injected"].pop()
    with pytest.raises(
        InputError, match=r"injected\.jsonl has 23 predictions but .*test\.json has 24 rows: .*max_samples"
    ):
        join(study)


def test_first_row_with_another_label_is_named(study):
    for number in (9, 13):
        study.predictions["baseline"][number]["label"] = "something else"
    with pytest.raises(InputError) as error:
        join(study)
    message = str(error.value)
    assert "baseline.jsonl, line 10 does not belong to row 9 of" in message
    assert (
        '"something else"' in message
        and "person 1 sees a triangle" in message
        and "predict on this data set" in message
    )


def test_a_cut_label_is_explained(study):
    study.predictions["baseline"][0]["label"] = study.predictions["baseline"][0]["label"][:12]
    with pytest.raises(InputError, match="cutoff_len"):
        join(study)


def test_labels_may_differ_in_white_space_special_tokens_and_unicode_form(study):
    caption = "a cafe\N{COMBINING ACUTE ACCENT} sign"
    study.rows[0]["conversations"][1]["value"] = caption
    for records in study.predictions.values():
        records[0]["label"] = " a  caf\N{LATIN SMALL LETTER E WITH ACUTE}\nsign<|im_end|>\n"
    study.predictions["injected"][0]["predict"] = "a caf\N{LATIN SMALL LETTER E WITH ACUTE}<|im_end|>"
    assert join(study).captions["injected"][0] == "a caf\N{LATIN SMALL LETTER E WITH ACUTE}"


def test_a_line_separator_inside_a_caption_is_no_new_line(study):
    text = "one\N{LINE SEPARATOR}two"
    study.predictions["injected"][0]["predict"] = text
    study.write()
    lines = (json.dumps(record, ensure_ascii=False) for record in study.predictions["injected"])
    study.file("injected").write_text("\n".join(lines), encoding="utf-8")
    joined = read_joined(study.dataset, {"injected": study.file("injected")})
    assert joined.captions["injected"][0] == text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ('{"predict": "a", "label": "b"}\n{"predict": "a", "la', r"line 2 is no JSON"),
        ('{"predict": "a"}', r"line 1 has no id, and not all rows"),
        ('{"predict": 3, "label": "a"}', r"line 1 has no text in predict"),
        ("[1]", r"row 0 is no JSON object"),
    ],
)
def test_broken_prediction_files(study, content, message):
    study.file("baseline").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=rf"baseline\.jsonl.*{message}"):
        read_joined(study.dataset, {"baseline": study.file("baseline")})


def test_missing_file(study):
    with pytest.raises(InputError, match=r"nothing\.jsonl cannot be read: No such file"):
        read_joined(study.dataset, {"baseline": study.file("nothing")})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: row.pop("conversations"), "row 2 has no human caption"),
        (lambda row: row["conversations"].pop(), "row 2 has no human caption"),
        (lambda row: row["conversations"][1].update(value=" "), "row 2 has no human caption"),
        (lambda row: (row.pop("image_id"), row.pop("images")), "row 2 has neither an image_id nor an image"),
    ],
)
def test_broken_rows(study, change, message):
    change(study.rows[2])
    study.write()
    with pytest.raises(InputError, match=rf"test\.json, {message}"):
        read_dataset(study.dataset)


@pytest.mark.parametrize("content", ["", "[]", "[1, 2", '["text"]'])
def test_broken_data_sets(tmp_path, content):
    path = tmp_path / "test.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"test\.json"):
        read_dataset(path)


def test_openai_style_json_lines_and_defaults(tmp_path):
    path = tmp_path / "test.jsonl"
    turns = [("user", "<image>What?"), ("assistant", "no"), ("user", "Again?"), ("assistant", "a dog")]
    record = {"messages": [{"role": role, "content": text} for role, text in turns], "images": "dog.png"}
    path.write_text(json.dumps(record) + "\n" + json.dumps(record | {"image_id": 7, "participant": 3}) + "\n")
    (first, second), simulated = read_dataset(path)
    assert first.target == "a dog"
    assert (first.id, first.image_id, first.participant, first.category) == ("0", "dog.png", None, None)
    assert (second.id, second.image_id, second.participant) == ("1", "7", "3")
    assert simulated is None


@pytest.mark.parametrize(("value", "expected"), [(True, SIMULATED), ("Drawn by a program.", "Drawn by a program.")])
def test_a_data_set_can_call_itself_simulated(study, value, expected):
    study.rows[3]["simulated"] = value
    assert join(study).simulated == expected
