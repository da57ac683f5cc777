"""How probable the looked-at things' names are: which tokens count, and that it is the model that finds them so."""

import json
from math import prod
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

from llamafactory_gaze.demo.dataset import make_demo_data
from llamafactory_gaze.demo.run import BASE_MODEL, RECIPES
from llamafactory_gaze.integration.teacher_forcing import TeacherForcing
from llamafactory_gaze.study import words
from llamafactory_gaze.study.words import probability_of


def tokens(*pieces: tuple[str, float]) -> list[tuple[str, float]]:
    """(a token's own text, its probability) -> (the text up to it, its probability)"""
    return [("".join(text for text, _ in pieces[: i + 1]), p) for i, (_, p) in enumerate(pieces)]


CAPTION = [
    ("I", 0.9), (" see", 0.8), (" a", 0.7), (" red", 0.5), (" cir", 0.3), ("cle", 0.2), (".", 0.6), ("<end>", 0.4)
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "factors"),
    [
        ("red circle", [0.5, 0.3, 0.2]),  # in the middle, over three tokens
        ("red", [0.5]),
        ("circle", [0.3, 0.2]),
        ("I", [0.9]),  # at the start
        ("I see", [0.9, 0.8]),
        ("ircle.", [0.3, 0.2, 0.6]),  # half a token at its start
        ("see a r", [0.8, 0.7, 0.5]),  # half a token at its end
        ("ircl", [0.3, 0.2]),  # half a token at both ends
        ("e", [0.8]),  # said twice: the first time counts, inside " see"
        (".<end>", [0.6, 0.4]),  # at the end
    ],
)
def test_the_tokens_of_the_name_are_multiplied(name, factors):
    assert probability_of(name, tokens(*CAPTION)) == pytest.approx(prod(factors), rel=1e-12)


def test_of_a_name_said_twice_the_first_mention_counts():
    said = tokens(("a", 0.9), (" red", 0.5), (" cup", 0.3), (" and", 0.8), (" a", 0.7), (" red", 0.1), (" cup", 0.1))
    assert probability_of("red cup", said) == pytest.approx(0.15)


@pytest.mark.parametrize("said", [CAPTION, CAPTION[:4], []])
def test_a_name_that_is_not_said_has_no_probability(said):
    assert probability_of("blue circle", tokens(*said)) is None
    assert probability_of("circles", tokens(*said)) is None


def test_a_word_without_probability_makes_the_name_impossible():
    assert probability_of("red circle", tokens(("a red", 0.5), (" circle", 0.0))) == 0.0


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Two rows: one picture, two observers."""
    folder = tmp_path_factory.mktemp("words") / "data"
    make_demo_data(folder, train_images=1, test_images=1, observers=2)
    return folder


def untrained(data: Path, **values) -> dict:
    """The demo's prediction recipe with the base model itself."""
    recipe = yaml.safe_load((RECIPES / "predict_injected.yaml").read_text())
    del recipe["adapter_name_or_path"]
    folders = {"model_name_or_path": str(BASE_MODEL), "dataset_dir": str(data), "output_dir": str(data / "output")}
    return {**recipe, **folders, **values}


def rows_of(data: Path) -> list[dict]:
    return json.loads((data / "test.json").read_text())


def captions_of(data: Path) -> list[str]:
    return [row["conversations"][1]["value"] for row in rows_of(data)]


def stock_probabilities(data: Path, row: dict) -> list[float]:
    """Of the answer's tokens, as transformers alone computes them. A fresh calibrator changes nothing."""
    processor = AutoProcessor.from_pretrained(BASE_MODEL)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(BASE_MODEL).eval()
    question = row["conversations"][0]["value"].removeprefix("<image>")
    asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]
    prompt = processor.apply_chat_template(asked, add_generation_prompt=True)
    with Image.open(data / row["images"][0]) as image:
        inputs = processor(text=[prompt], images=[image.convert("RGB")], return_tensors="pt")
    answer = row["conversations"][1]["value"] + "<|im_end|>\n"
    ids = processor.tokenizer(answer, add_special_tokens=False, return_tensors="pt").input_ids
    asked_length = inputs["input_ids"].shape[1]
    for key in ("input_ids", "attention_mask", "mm_token_type_ids"):
        if key in inputs:
            more = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}.get(key, torch.zeros_like(ids))
            inputs[key] = torch.cat([inputs[key], more], 1)
    with torch.inference_mode():
        logits = model(**inputs).logits[0]
    probabilities = logits.double().softmax(-1)
    return [float(probabilities[asked_length + i - 1, token]) for i, token in enumerate(ids[0])]


def test_the_probabilities_are_those_of_the_model_itself(data):
    found = list(TeacherForcing(untrained(data)).captions())
    rows = rows_of(data)
    assert len(found) == len(rows) == 2
    for row, said in zip(rows, found, strict=True):
        expected = stock_probabilities(data, row)
        assert [p for _, p in said] == pytest.approx(expected, rel=1e-3, abs=1e-7)
        assert min(expected) < 0.5 < max(expected)  # the comparison is of more than zeros or ones


def test_the_texts_of_the_tokens_join_to_the_caption(data):
    for caption, said in zip(captions_of(data), TeacherForcing(untrained(data)).captions(), strict=True):
        texts = [text for text, _ in said]
        assert texts[-1] == f"{caption}<|im_end|>\n"
        assert all(texts[-1].startswith(text) for text in texts)
        assert [len(text) for text in texts] == sorted({len(text) for text in texts})


def test_a_key_set_otherwise_changes_the_map_that_the_model_gets(data):
    """With the map drawn over the picture gaze matters without any training. Small batches give the same numbers."""
    forcing = TeacherForcing(untrained(data, gaze_fusion="overlay"))
    with_map, without = list(forcing.captions()), list(forcing.captions(gaze_ablation="off"))
    again = list(forcing.captions(per_device_eval_batch_size=1))
    for number, row in enumerate(rows_of(data)):
        stock = stock_probabilities(data, row)
        assert [p for _, p in without[number]] == pytest.approx(stock, rel=1e-3, abs=1e-7)
        assert [p for _, p in with_map[number]] != pytest.approx(stock, rel=0.05)
        assert [p for _, p in again[number]] == pytest.approx([p for _, p in with_map[number]], rel=1e-3, abs=1e-7)


def test_the_command_writes_a_line_for_each_name_and_control(data, tmp_path):
    recipe = tmp_path / "predict.yaml"
    recipe.write_text(yaml.safe_dump(untrained(data)))
    rows = rows_of(data)
    names = [(number, name) for number, row in enumerate(rows) for name in row["looked_at"]]
    assert all(name in captions_of(data)[number] for number, name in names)
    rows[0]["looked_at"] = [*rows[0]["looked_at"], "green unicorn"]  # not said: no line
    (tmp_path / "test.json").write_text(json.dumps(rows))
    words.main(
        [
            str(recipe), "--output", str(tmp_path / "words"), f"--test={tmp_path / 'test.json'}",
            "--control=none", "--control=off", "gaze_fusion=overlay", "seed=7",
        ]
    )  # fmt: skip
    lines = [json.loads(line) for line in (tmp_path / "words" / words.FILE).read_text().splitlines()]
    assert [(line["row"], line["name"]) for line in lines] == names * 2
    assert [line["control"] for line in lines] == ["none"] * len(names) + ["off"] * len(names)
    forcing = TeacherForcing(untrained(data, gaze_fusion="overlay"))
    for control, values in (("none", {}), ("off", {"gaze_ablation": "off"})):
        said = list(forcing.captions(**values))
        expected = [probability_of(name, said[number]) for number, name in names]
        found = [line["probability"] for line in lines if line["control"] == control]
        assert found == pytest.approx(expected, rel=1e-4)
