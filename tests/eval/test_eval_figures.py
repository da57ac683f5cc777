"""Examples are drawn by a stated rule, differing words are found, pictures are embedded, the plot is to scale."""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from eval.inputs.joining import read_joined
from eval.metrics import HEADLINE
from eval.report.charts import ForestPlot
from eval.report.gallery import draw_rows, make_examples, mark_differences


@pytest.fixture
def joined(study):
    return read_joined(study.dataset, {name: study.file(name) for name in ("baseline", "injected")})


def test_one_row_per_category_by_seed(joined):
    drawn = draw_rows(joined.rows, seed=0, count=None)
    assert [row.category for row in drawn] == ["Abstraction", "Object", "Social"]
    assert drawn == draw_rows(joined.rows, seed=0, count=None)
    assert any(drawn != draw_rows(joined.rows, seed=seed, count=None) for seed in range(1, 5))


def test_categories_take_turns_and_images_do_not_repeat_while_others_are_left(joined):
    drawn = draw_rows(joined.rows, seed=1, count=6)
    assert [row.category for row in drawn] == ["Abstraction", "Object", "Social"] * 2
    assert len({row.image_id for row in drawn}) == 6


@pytest.mark.parametrize(("count", "expected"), [(0, 0), (1, 1), (24, 24), (99, 24)])
def test_number_of_examples(joined, count, expected):
    assert len({row.row for row in draw_rows(joined.rows, seed=0, count=count)}) == expected


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
    (example,) = make_examples(joined, joined.rows[:1], study.folder)
    assert example.problem is None and example.image.startswith("data:image/png;base64,")
    plain, heat = pixels(example.image), pixels(example.heat)
    assert plain.shape == heat.shape == (24, 32, 3)
    changed = np.abs(heat - plain).sum(axis=2)
    assert changed[10:14, 8:16].mean() > 50  # the map is set in rows 4 to 7 and columns 3 to 8 of 12 x 16
    assert changed[:4].max() == 0 and changed[:, 24:].max() == 0


def test_a_large_photograph_is_made_smaller(study, joined):
    Image.new("RGB", (2000, 1500), "red").save(study.folder / "images" / "scene0.png")
    (example,) = make_examples(joined, joined.rows[:1], study.folder)
    assert example.image.startswith("data:image/jpeg;base64,")
    assert pixels(example.heat).shape == (480, 640, 3)


@pytest.mark.parametrize(
    ("path", "image", "heat", "problem"),
    [("images/scene0.png", False, False, "Image not found"), ("maps/scene0_p0.png", True, False, "does not exist")],
)
def test_a_missing_picture_is_said(study, joined, path, image, heat, problem):
    (study.folder / path).unlink()
    (example,) = make_examples(joined, joined.rows[:1], study.folder)
    assert (example.image is not None, example.heat is not None) == (image, heat)
    assert problem in example.problem


def entry(diff, ci95):
    return {"diff": diff, "ci95": ci95}


def test_plot_is_to_scale():
    results = {
        "metrics": {name: entry(0.1, (0.05, 0.15)) for name in HEADLINE},
        "controls": {"off": {"metrics": {name: {"vs_baseline": entry(-0.1, None)} for name in HEADLINE}}},
    }
    plot = ForestPlot(results)
    injected, off = plot.dots[:2]
    assert (injected.system, off.system, off.interval) == (0, 1, None)
    assert injected.x - plot.x(0) == pytest.approx(plot.x(0) - off.x)
    assert injected.interval == pytest.approx((plot.x(0.05), plot.x(0.15)))
    places = {text: x for x, text in plot.ticks}
    assert places["+0.10"] == pytest.approx(injected.x) and places["0"] == pytest.approx(plot.x(0))
    assert all(plot.left <= x <= plot.width - plot.right for x in places.values())
    assert len(plot.labels) == 7 and plot.dots[-1].y < plot.bottom


def test_plot_without_any_difference():
    plot = ForestPlot({"metrics": {name: entry(0.0, None) for name in HEADLINE}, "controls": {}})
    assert [text for _, text in plot.ticks] == ["0"]
