"""Maps moved by hand from one thing to another, against a slow copy of the same, and on the demo's own data."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llamafactory_gaze.demo.dataset import make_demo_data
from llamafactory_gaze.demo.observers import MAP_SCALE, SIGMA
from llamafactory_gaze.demo.run import copy_test_set
from llamafactory_gaze.saliency.maps import read_saliency_map
from llamafactory_gaze.study.definition import StudyError
from llamafactory_gaze.study.moved import Move, follows, make_moved, move_map, read_moves


def shifted_slowly(saliency: np.ndarray, dx: int, dy: int) -> np.ndarray:
    height, width = saliency.shape
    result = np.zeros_like(saliency)
    for y in range(height):
        for x in range(width):
            if 0 <= y + dy < height and 0 <= x + dx < width:
                result[y + dy, x + dx] = saliency[y, x]
    return result


@pytest.mark.parametrize("dx", [0, 1, -1, 3, -4, 11, -11, 12, -12, 50, -50])
@pytest.mark.parametrize("dy", [0, 2, -2, 8, -8, 9, -9, 40, -40])
def test_every_pixel_goes_the_same_way(dx, dy):
    """Also as far as the border of the map, 12 x 9, and beyond."""
    saliency = np.random.default_rng(0).random((9, 12), dtype=np.float32)
    before = saliency.copy()
    left = (2.0, 3.0, 6.0, 5.0)
    reached = (left[0] + dx, left[1] + dy, left[2] + dx, left[3] + dy)
    found = move_map(saliency, (12, 9), left, reached)
    assert np.array_equal(found, shifted_slowly(saliency, dx, dy)) and found.dtype == saliency.dtype
    assert np.array_equal(saliency, before)


@pytest.mark.parametrize(("shape", "dx", "dy"), [((9, 12), 3, -2), ((18, 24), 6, -4), ((36, 24), 6, -8)])
def test_boxes_are_in_pixels_of_the_image_whatever_the_maps_size(shape, dx, dy):
    """Of an image of 24 x 18 pixels, from middle (6, 10) to middle (12, 6), between boxes of different sizes."""
    saliency = np.random.default_rng(1).random(shape)
    found = move_map(saliency, (24, 18), (4, 8, 8, 12), (11, 2, 13, 10))
    assert np.array_equal(found, shifted_slowly(saliency, dx, dy))


@pytest.mark.parametrize(
    ("before", "after", "went"),
    [
        ("a red cup.", "a blue car.", True),
        ("I see a red cup.", "well, the blue car and dots.", True),
        ("a red cup.", "a red cup.", False),  # stayed
        ("a blue car.", "a blue car.", False),  # had been there
        ("a blue car.", "a red cup.", False),  # the other way round
        ("a red cup.", "a red cup and a blue car.", False),  # named both after
        ("a red cup and a blue car.", "a blue car.", False),  # named both before
        ("a red cup.", "a green dog.", False),  # went elsewhere
        ("a green dog.", "a blue car.", False),  # came from elsewhere
        ("", "", False),
    ],
)
def test_a_caption_follows_if_it_leaves_the_one_and_reaches_the_other(before, after, went):
    assert follows(Move(0, "red cup", "blue car"), before, after) is went


@pytest.fixture(scope="module")
def test_rows(tmp_path_factory) -> Path:
    """The demo's test set as a study has it: test.json in another folder than the data."""
    folder = tmp_path_factory.mktemp("demo")
    make_demo_data(folder / "data", train_images=1, test_images=5, observers=4)
    (folder / "study").mkdir()
    copy_test_set(folder / "data", "demo_test", folder / "study/test.json")
    return folder / "study/test.json"


def read(file: Path) -> list[dict]:
    return json.loads(file.read_text())


def test_each_row_at_which_one_thing_was_looked_at_is_moved(test_rows, tmp_path):
    moves = make_moved(test_rows, tmp_path / "moved")
    rows, moved = read(test_rows), read(tmp_path / "moved/moved.json")
    single = [number for number, row in enumerate(rows) if len(row["looked_at"]) == 1]
    assert 0 < len(single) < len(rows) == 20
    assert [move.row for move in moves] == single and len(moved) == len(single)
    assert read_moves(tmp_path / "moved") == moves
    for move, after in zip(moves, moved, strict=True):
        before = rows[move.row]
        assert [move.left] == before["looked_at"] and [move.reached] == after["looked_at"]
        assert move.reached in before["objects"] and move.reached != move.left
        said, says = before["conversations"][1]["value"], after["conversations"][1]["value"]
        assert move.left in said and move.left not in says
        assert says.replace(move.reached, move.left) == said
        assert after["conversations"][0] == before["conversations"][0]
        assert after["simulated"] is True
        copy, original = tmp_path / "moved" / after["images"][0], test_rows.parent / before["images"][0]
        assert copy.read_bytes() == original.read_bytes() and copy.is_relative_to(tmp_path / "moved/images")
    assert len({(move.left, move.reached) for move in moves}) > 1


def test_the_moved_map_lies_on_the_thing_that_it_reached(test_rows, tmp_path):
    """Where no gaze strayed, the centre of mass is in the box, as far from its middle as it was from that of the other.

    A fixation falls off a thing's middle by at most 0.14 of the thing's size (one standard deviation), so that a map
    is hardly wider than the Gaussian and that together; one that is wider has stray gaze. Five fixations' mean is off
    by 0.14 / sqrt(5) = 0.063 of the size: 0.25, which is inside of any box, is four standard errors. Rounding to the
    map's pixels moves the centre by at most one pixel of the image, and what is lost at the border by less than two.
    """
    make_moved(test_rows, tmp_path / "moved")
    rows, checked = read(test_rows), 0
    for after in read(tmp_path / "moved/moved.json"):
        move, before = Move(**after["move"]), rows[after["move"]["row"]]
        box = dict(zip(before["objects"], np.array(before["boxes"]), strict=True))
        left, reached = box[move.left], box[move.reached]
        old = read_saliency_map(test_rows.parent / before["saliencies"][0])
        new = read_saliency_map(tmp_path / "moved" / after["saliencies"][0])
        assert new.shape == old.shape and new.sum() <= old.sum() * 1.001
        if spread(old) > np.hypot(SIGMA, 0.14 * max(left[2:] - left[:2])):
            continue
        assert "child" not in move.left  # looked at in the lower half of its box; there is none in these pictures
        assert all(abs(centre(old) - middle(left)) < 0.25 * (left[2:] - left[:2]))
        assert all(reached[:2] < centre(new)) and all(centre(new) < reached[2:]), (move, centre(new))
        assert all(abs((centre(new) - middle(reached)) - (centre(old) - middle(left))) < 3)
        assert not (all(reached[:2] < centre(old)) and all(centre(old) < reached[2:]))  # it was not there before
        checked += 1
    assert checked >= 6


def middle(box: np.ndarray) -> np.ndarray:
    return (box[:2] + box[2:]) / 2


def centre(saliency: np.ndarray) -> np.ndarray:
    """(x, y) of the centre of mass in pixels of the image, twice as large as the map."""
    ys, xs = (np.indices(saliency.shape) + 0.5) * MAP_SCALE
    return np.array([(xs * saliency).sum(), (ys * saliency).sum()]) / saliency.sum()


def spread(saliency: np.ndarray) -> float:
    """The larger standard deviation of the map, along x or y, in pixels of the image."""
    x, y = centre(saliency)
    ys, xs = (np.indices(saliency.shape) + 0.5) * MAP_SCALE
    weights = saliency / saliency.sum()
    return float(np.sqrt(max(((xs - x) ** 2 * weights).sum(), ((ys - y) ** 2 * weights).sum())))


def test_the_same_seed_gives_the_same_files(test_rows, tmp_path):
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        make_moved(test_rows, tmp_path / name, seed=seed)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) > 3
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
    assert read_moves(tmp_path / "one") != read_moves(tmp_path / "other")


def test_llama_factory_reads_the_moved_data(test_rows, tmp_path):
    """Its own loader finds the pictures, and the plug-in the maps."""
    from tests.integration.conftest import load_data

    moves = make_moved(test_rows, tmp_path / "moved")
    _, batch = load_data(tmp_path / "moved", dataset="moved")
    assert len(batch["input_ids"]) == len(moves)


@pytest.mark.parametrize("field", ["objects", "boxes", "looked_at"])
@pytest.mark.parametrize("how", ["missing", "empty"])
def test_rows_that_do_not_name_what_is_where_are_refused(test_rows, tmp_path, field, how):
    rows = read(test_rows)
    if how == "missing":
        del rows[3][field]
    else:
        rows[3][field] = []
    (tmp_path / "test.json").write_text(json.dumps(rows))
    with pytest.raises(StudyError, match=f"some rows have no `{field}`") as error:
        make_moved(tmp_path / "test.json", tmp_path / "moved")
    assert str(tmp_path / "test.json") in str(error.value)
    assert not (tmp_path / "moved").exists()


def test_rows_of_two_things_each_cannot_be_moved(test_rows, tmp_path):
    rows = [{**row, "looked_at": row["objects"][:2]} for row in read(test_rows)]
    (tmp_path / "test.json").write_text(json.dumps(rows))
    with pytest.raises(StudyError, match="needs rows at which one thing alone was looked at"):
        make_moved(tmp_path / "test.json", tmp_path / "moved")


def test_a_map_of_16_bits_stays_one(test_rows, tmp_path):
    make_moved(test_rows, tmp_path / "moved")
    for file in (tmp_path / "moved/maps").iterdir():
        with Image.open(file) as image:
            assert image.mode == "I;16"
