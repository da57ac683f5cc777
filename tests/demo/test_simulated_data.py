"""The demo's simulated world: deterministic, free of leaks, and telling by gaze alone what a caption is about."""

import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from llamafactory_gaze.demo.dataset import make_demo_data
from llamafactory_gaze.demo.observers import look, make_observers
from llamafactory_gaze.demo.scenes import CATEGORIES, SIZES, make_scene
from llamafactory_gaze.saliency.maps import check_aspect_ratio, read_saliency_map


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "data"
    make_demo_data(folder, train_images=10, test_images=5, observers=12)
    return folder


def rows(folder, name):
    return json.loads((folder / name).read_text())


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_seed_gives_the_same_files_and_another_seed_others(data, tmp_path):
    make_demo_data(tmp_path / "again", train_images=10, test_images=5, observers=12)
    assert files(tmp_path / "again") == files(data)
    make_demo_data(tmp_path / "other", train_images=10, test_images=5, observers=12, seed=1)
    assert (tmp_path / "other/test.json").read_text() != (data / "test.json").read_text()


def test_test_pictures_are_held_out_and_people_are_not(data):
    train, test = rows(data, "train_stage2.json"), rows(data, "test.json")
    assert not {row["image_id"] for row in train} & {row["image_id"] for row in test}
    assert {row["participant"] for row in train} == {row["participant"] for row in test}
    images = {(row["image_id"], row["category"]) for row in test}
    assert Counter(category for _, category in images) == dict.fromkeys(CATEGORIES, 1)


def test_both_stages_are_about_the_same_things_in_different_words(data):
    first, second = rows(data, "train_stage1.json"), rows(data, "train_stage2.json")
    assert [row["id"] for row in first] == [row["id"] for row in second]
    assert all(row["simulated"] for row in first + second)
    for styled, original in zip(first, second, strict=True):
        for row in (styled, original):
            caption = row["conversations"][1]["value"]
            for name in row["objects"]:
                assert (name in caption) == (name in row["looked_at"])
        assert original["conversations"][1]["value"] != styled["conversations"][1]["value"]


def test_maps_fit_their_pictures_and_lie_on_what_was_looked_at(data):
    for row in rows(data, "test.json"):
        with Image.open(data / row["images"][0]) as image:
            size = image.size
        saliency = read_saliency_map(data / row["saliencies"][0])
        check_aspect_ratio((saliency.shape[1], saliency.shape[0]), size)
        assert saliency.max() == 1 and min(size) > 112  # more than one window of the tower each way


def test_gaze_falls_on_the_chosen_things():
    rng = np.random.default_rng(0)
    (observer,) = make_observers(1, rng)
    inside = total = 0.0
    for i in range(100):
        viewing = look(observer, make_scene(CATEGORIES[i % 5], rng), rng)
        for fixation in viewing.fixations:
            on = any(t.box[0] <= fixation.x <= t.box[2] and t.box[1] <= fixation.y <= t.box[3] for t in viewing.things)
            inside, total = inside + on * fixation.duration, total + fixation.duration
    assert inside / total > 0.9


def test_the_picture_does_not_tell_what_is_looked_at():
    """Neither size nor place decides: each of four things is chosen about equally often."""
    rng = np.random.default_rng(0)
    (observer,) = make_observers(1, rng)
    by_size: Counter[int] = Counter()
    for i in range(400):
        scene = make_scene(CATEGORIES[i % 5], rng, count=4)
        ranked = sorted(scene.things, key=lambda t: (t.box[2] - t.box[0]) * (t.box[3] - t.box[1]))
        by_size.update(ranked.index(thing) for thing in look(observer, scene, rng).things)
    shares = np.array([by_size[i] for i in range(4)]) / sum(by_size.values())
    assert np.abs(shares - 0.25).max() < 0.05


def test_a_thing_has_one_name_in_its_picture():
    rng = np.random.default_rng(0)
    for i in range(50):
        scene = make_scene(CATEGORIES[i % 5], rng)
        assert scene.image.size in SIZES
        assert len({thing.colour for thing in scene.things}) == len(scene.things)


@pytest.mark.parametrize(
    ("file", "content"), [("thesis.txt", "years of work"), ("dataset_info.json", '{"osie_test": {}, "demo_test": {}}')]
)
def test_other_files_are_not_overwritten(tmp_path, file, content):
    (tmp_path / file).write_text(content)
    with pytest.raises(FileExistsError, match="holds other files"):
        make_demo_data(tmp_path, train_images=1, test_images=1, observers=1)
    assert (tmp_path / file).read_text() == content
