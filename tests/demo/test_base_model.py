"""The tiny base model that ships with the project."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

from llamafactory_gaze.demo.pretraining import describe, parse_plain
from llamafactory_gaze.demo.run import BASE_MODEL
from llamafactory_gaze.demo.scenes import CATEGORIES, make_scene


@pytest.fixture(scope="module")
def model():
    return AutoModelForImageTextToText.from_pretrained(BASE_MODEL, dtype="auto")


def test_it_is_small_and_loads_in_single_precision(model):
    assert sum(path.stat().st_size for path in BASE_MODEL.iterdir()) < 5_000_000
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.config.model_type == "qwen2_5_vl"


def test_its_tokenizer_takes_any_text():
    tokenizer = AutoTokenizer.from_pretrained(BASE_MODEL)
    for text in ("A dog, naïve café — 東京 🙂\n\ttab", "", "um, I see a red circle and then a woman in blue."):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert tokenizer.eos_token == "<|im_end|>" and tokenizer.pad_token == "<|endoftext|>"
    assert len(tokenizer("um, I see a red circle and then a woman in blue.")["input_ids"]) < 20


def test_it_names_what_is_in_pictures_that_it_has_not_seen(model):
    processor = AutoProcessor.from_pretrained(BASE_MODEL)
    rng = np.random.default_rng(31_415)
    for category in CATEGORIES:
        scenes = [make_scene(category, rng) for _ in range(8)]
        said = [set(parse_plain(caption)) for caption in describe(model, processor, scenes)]
        there = [{thing.name for thing in scene.things} for scene in scenes]
        named = sum(len(a & b) for a, b in zip(said, there, strict=True)) / sum(map(len, there))
        assert named > 0.95, category
