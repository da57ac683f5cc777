"""`llamafactory-gaze explain`: the files it writes, whole or not at all, and what it says where it cannot."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from llamafactory_gaze.cli import app
from llamafactory_gaze.data.maps.heatmaps import encode_map
from llamafactory_gaze.demo.run import BASE_MODEL
from llamafactory_gaze.explain import report
from llamafactory_gaze.explain.draw import _ticks, draw_attention, draw_moved
from llamafactory_gaze.explain.measure import Explanation
from llamafactory_gaze.saliency.label import label_texts
from tests.explain.conftest import DEPTH, PROMPT, make_image, random_map, save_map


FILES = ["attention.png", "explanation.json", "moved.png"]


@pytest.fixture
def case(tmp_path):
    """An image and its map as files: (image, map)."""
    make_image().save(tmp_path / "image.png")
    return tmp_path / "image.png", save_map(tmp_path / "map.png", random_map())


def run(*arguments: object):
    return CliRunner().invoke(app, ["explain", *map(str, arguments)])


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_end_to_end(exported, case, tmp_path):
    model, output = exported(), tmp_path / "new" / "folder"
    result = run(model, *case, "--output", output, "--prompt", "What is this?")
    assert result.exit_code == 0, result.output
    assert str(output) in result.stdout.replace("\n", "")
    assert names(output) == FILES and names(output.parent) == ["folder"]
    for name in ("attention.png", "moved.png"):
        picture = np.asarray(Image.open(output / name).convert("RGB"))
        assert min(picture.shape[:2]) > 300 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 1000

    numbers = json.loads((output / "explanation.json").read_text())
    assert numbers["settings"]["gaze_layers"] == [DEPTH * 7 // 8] and numbers["prompt"] == "What is this?"
    assert numbers["image_size"] == numbers["map_size"] == [224, 168]
    assert numbers["grid"] == {"patches": [12, 16], "visual_tokens": [6, 8]}
    assert np.shape(numbers["moved"]) == (6, 8) and np.max(numbers["moved"]) > 0
    (heads,) = numbers["attention"].values()
    assert np.shape(heads)[1:] == (12, 16)
    np.testing.assert_allclose(np.sum(heads, axis=(1, 2)), 1, rtol=1e-4)
    assert {"llamafactory-gaze", "transformers", "peft", "torch"} == set(numbers["versions"])
    assert f"With the map: {numbers['caption_with']}" in result.stdout
    assert numbers["map_source"] is None and "eye tracker" not in result.stdout


def test_a_map_that_is_of_no_eye_tracker_is_said_to_be_so(exported, case, tmp_path):
    image, saliency = case
    saliency.write_bytes(encode_map(random_map().astype(np.float32), label_texts({"source": "click"})))
    result = run(exported(), image, saliency, "--output", tmp_path / "output")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("The map was not recorded by an eye tracker: click.\n")
    assert json.loads((tmp_path / "output/explanation.json").read_text())["map_source"] == "click"


def test_an_earlier_explanation_is_replaced(exported, case, tmp_path):
    output = tmp_path / "output"
    assert run(exported(), *case, "--output", output).exit_code == 0
    result = run(exported("score_modulation", 1), *case, "--output", output, "--max-pixels", 12000)
    assert result.exit_code == 0, result.output
    assert names(output) == ["explanation.json", "moved.png"]  # no attention of its own
    numbers = json.loads((output / "explanation.json").read_text())
    assert numbers["attention"] == {} and numbers["max_pixels"] == 12000
    assert np.prod(numbers["grid"]["patches"]) * 14 * 14 <= 12000


def test_other_files_are_left_alone(exported, case, tmp_path):
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "thesis.txt").write_text("all of it")
    result = run(exported(), *case, "--output", tmp_path / "output")
    assert result.exit_code == 1 and "holds other files, thesis.txt for one" in result.stderr
    assert names(tmp_path / "output") == ["thesis.txt"]


def test_nothing_is_written_where_drawing_fails(exported, case, tmp_path, monkeypatch):
    def fail(*arguments):
        raise RuntimeError("no ink")

    monkeypatch.setattr(report, "draw_moved", fail)
    assert isinstance(run(exported(), *case, "--output", tmp_path / "output").exception, RuntimeError)
    assert names(tmp_path) == ["image.png", "map.png"]


def test_what_cannot_be_explained_is_said_in_one_sentence(exported, case, tmp_path):
    image, saliency = case
    turned, text = tmp_path / "turned.png", tmp_path / "text.png"
    make_image(168, 224).save(turned)
    text.write_text("no picture")
    for arguments, message in (
        ((BASE_MODEL, image, saliency), "knows nothing of gaze"),
        ((exported("overlay"), image, saliency), "gaze_fusion overlay takes in no map"),
        ((tmp_path / "nothing", image, saliency), "No model is found at"),
        ((exported(), tmp_path / "nothing.png", saliency), "does not exist: correct the path"),
        ((exported(), text, saliency), "cannot be decoded (UnidentifiedImageError"),
        ((exported(), image, tmp_path / "nothing.png"), "nothing.png does not exist; expected the path of an image"),
        ((exported(), image, image), "image.png is an RGB colour image"),
        ((exported(), turned, saliency), "map.png, 224x168, does not have the aspect ratio of"),
        ((exported(), image, saliency, "--adapter", tmp_path), "holds no adapter"),
    ):
        result = run(*arguments, "--output", tmp_path / "output")
        assert result.exit_code == 1 and message in result.stderr, result.output
        assert "Traceback" not in result.output and result.stderr.endswith(".\n")
        assert result.stderr.count("Error: ") == 1 and result.stderr.rpartition("Error: ")[2].count("\n") == 1
    assert not (tmp_path / "output").exists()
    assert "is a file" in run(exported(), *case, "--output", image).stderr


def draw(tmp_path, explanation: Explanation, size: tuple[int, int]) -> np.ndarray:
    """Both pictures, over a grey image -> (height, width, 3) int, the pixels of attention.png."""
    image, saliency = Image.new("L", size, 200), np.zeros((9, 9), dtype=np.float32)
    draw_moved(explanation, image, saliency, tmp_path / "moved.png")
    draw_attention(explanation, image, saliency, tmp_path / "attention.png")
    return np.asarray(Image.open(tmp_path / "attention.png").convert("RGB")).astype(int)


def one_place() -> np.ndarray:
    """One head that looks at one of 4 x 6 patches."""
    attention = np.zeros((1, 4, 6), dtype=np.float32)
    attention[0, 1, 2] = 1
    return attention


def test_no_attention_at_all_does_not_look_like_chance(tmp_path):
    still = np.zeros((2, 3), dtype=np.float32)
    pixels = draw(tmp_path, Explanation({3: one_place()}, still, "", ""), (300, 300))
    pixels = pixels[pixels.shape[0] // 2 : -130]  # the head's panel, without the colour bar
    red, blue = pixels[..., 0] - pixels[..., 2] > 60, pixels[..., 2] - pixels[..., 0] > 60
    assert blue.sum() / red.sum() == pytest.approx(23, rel=0.15)


@pytest.mark.parametrize("size", [(1400, 300), (30, 90)])
def test_pictures_of_other_shapes_and_extreme_numbers(tmp_path, size):
    """Nothing moved; sixteen heads at chance; signs that matplotlib takes for TeX."""
    words = "It costs $5 and $6, x_1^2. " * 20
    draw(tmp_path, Explanation({3: one_place()}, np.zeros((2, 3), dtype=np.float32), words, ""), size)
    many = np.full((16, 4, 6), 1 / 24, dtype=np.float32)
    draw(tmp_path, Explanation({3: many, 5: many}, np.ones((2, 3), dtype=np.float32), "", PROMPT), size)


@pytest.mark.parametrize(("limit", "count"), [(2.0, 3), (3.9, 3), (16.0, 9), (30.0, 9), (1000.0, 7), (1e4, 7)])
def test_the_scale_has_few_ticks_around_chance(limit, count):
    ticks = _ticks(limit)
    assert len(ticks) == count and 1 in ticks and ticks[0] == 1 / ticks[-1] and ticks[-1] <= limit
