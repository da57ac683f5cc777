"""Examples are drawn by a stated rule, differing words are found, pictures are embedded."""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from eval.inputs.joining import read_joined
from eval.metrics import HEADLINE
from eval.report.gallery import draw_rows, make_examples, mark_differences
from eval.scoring.column import Column


@pytest.fixture
def joined(study):
    return read_joined(study.dataset, {name: study.file(name) for name in ("baseline", "injected")})


def scores(joined):
    """Columns of which only ROUGE-L has scores: the first system 0.25, each further one 0.25 more."""
    of = {name: np.full(len(joined.rows), 0.25 * (i + 1)) for i, name in enumerate(joined.captions)}
    return {name: Column(of if name == "rougeL" else None) for name in HEADLINE}


def test_one_row_per_category_by_seed(joined):
    drawn = draw_rows(joined.rows, seed=0, count=3)
    assert [joined.rows[i].category for i in drawn] == ["Abstraction", "Object", "Social"]
    assert drawn == draw_rows(joined.rows, seed=0, count=3)
    assert any(drawn != draw_rows(joined.rows, seed=seed, count=3) for seed in range(1, 5))


def test_categories_take_turns_and_images_do_not_repeat_while_others_are_left(joined):
    drawn = draw_rows(joined.rows, seed=1, count=6)
    assert [joined.rows[i].category for i in drawn] == ["Abstraction", "Object", "Social"] * 2
    assert len({joined.rows[i].image_id for i in drawn}) == 6


@pytest.mark.parametrize(("count", "expected"), [(0, 0), (1, 1), (24, 24), (99, 24)])
def test_number_of_examples(joined, count, expected):
    assert len(set(draw_rows(joined.rows, seed=0, count=count))) == expected


def test_words_that_differ_are_marked():
    first, second = mark_differences("A red circle, on the left", "a blue circle on the far left")
    assert first == [("A", False), ("red", True), ("circle, on the", False), ("left", False)] or first == [
        ("A", False),
        ("red", True),
        ("circle, on the left", False),
    ]
    assert second == [("a", False), ("blue", True), ("circle on the", False), ("far", True), ("left", False)]


@pytest.mark.parametrize(("first", "second"), [("same words", "Same words."), ("", "")])
def test_equal_texts_have_no_marks(first, second):
    for side in mark_differences(first, second):
        assert not any(differs for _, differs in side)


def test_an_empty_caption_marks_all_of_the_other():
    assert mark_differences("", "a dog") == ([], [("a dog", True)])


def pixels(uri):
    return np.asarray(Image.open(BytesIO(base64.b64decode(uri.split(",", 1)[1]))).convert("RGB")).astype(int)


def test_map_is_laid_over_the_image_where_people_looked(study, joined):
    (example,) = make_examples(joined, scores(joined), [0], study.folder)
    assert example.problem is None and example.image.startswith("data:image/png;base64,")
    plain, heat = pixels(example.image), pixels(example.heat)
    assert plain.shape == heat.shape == (24, 32, 3)
    changed = np.abs(heat - plain).sum(axis=2)
    assert changed[10:14, 8:16].mean() > 50  # the map is set in rows 4 to 7 and columns 3 to 8 of 12 x 16
    assert changed[:4].max() == 0 and changed[:, 24:].max() == 0


def test_a_large_photograph_is_made_smaller(study, joined):
    Image.new("RGB", (2000, 1500), "red").save(study.folder / "images" / "scene0.png")
    (example,) = make_examples(joined, scores(joined), [0], study.folder)
    assert example.image.startswith("data:image/jpeg;base64,")
    assert pixels(example.heat).shape == (480, 640, 3)


@pytest.mark.parametrize(
    ("path", "image", "heat", "problem"),
    [("images/scene0.png", False, False, "Image not found"), ("maps/scene0_p0.png", True, False, "does not exist")],
)
def test_a_missing_picture_is_said(study, joined, path, image, heat, problem):
    (study.folder / path).unlink()
    (example,) = make_examples(joined, scores(joined), [0], study.folder)
    assert (example.image is not None, example.heat is not None) == (image, heat)
    assert problem in example.problem


def test_captions_are_marked_against_the_reference_and_gains_are_of_the_main_system(study):
    files = {name: study.file(name) for name in ("baseline", "injected", "off")}
    for name, text in (("baseline", "a red circle"), ("injected", "a blue circle"), ("off", "one red square")):
        study.predictions[name][0]["predict"] = text
    study.write()
    joined = read_joined(study.dataset, files)
    (example,) = make_examples(joined, scores(joined), [0], study.folder)
    assert example.captions == {
        "baseline": [("a", False), ("red", True), ("circle", False)],
        "injected": [("a", False), ("blue", True), ("circle", False)],
        "off": [("one", True), ("red", False), ("square", True)],
    }
    assert example.gains == {"rougeL": 0.25}
