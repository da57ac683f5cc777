"""What training and test share, by path, content, name, likeness or person; stages that differ; folds."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from llamafactory_gaze.data.registry import gaze_entry, register
from llamafactory_gaze.data.validation.leaks import check_originals
from llamafactory_gaze.data.validation.scan import Row


def test_the_same_file(valid):
    for row in valid.rows["test"][:2]:
        row["images"] = ["small/images/i1.png"]
    (problem,) = valid.validate().problems
    assert (problem.kind, problem.row, problem.id) == ("leak-image", 0, "i4_p1")
    assert f"is the same file as in {valid.file('stage2')}, row 2 (id i1_p1)" in problem.message


def test_the_same_content(valid):
    shutil.copyfile(valid.image(1), valid.image(5))
    (problem,) = valid.validate().problems
    assert (problem.kind, problem.row) == ("leak-image", 2) and "a file of the same content" in problem.message


def test_the_same_image_id(valid):
    for number, row in enumerate(valid.rows["test"][2:]):
        row.update(image_id="i2", participant=f"q{number}")
    assert valid.found() == [("leak-image-id", "test.json", 2, "i5_p1")]


def smooth(path, seed):
    """A picture with structure, as photographs have it."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((80, 60), Image.Resampling.BICUBIC).save(path)


def test_the_same_picture_compressed_anew(valid):
    for i in range(6):
        smooth(valid.image(i), i)
    assert valid.found() == []
    with Image.open(valid.image(1)) as image:
        image.resize((40, 30)).save(valid.image(5).with_suffix(".jpg"), quality=95)
    valid.image(5).unlink()
    for row in valid.rows["test"][2:]:
        row["images"] = ["small/images/i5.jpg"]
    (problem,) = valid.validate().problems
    assert (problem.kind, problem.row, problem.warning) == ("leak-alike", 2, True)
    assert f"looks like i1 of {valid.file('stage2')}, row 2" in problem.message


def test_flat_pictures_are_not_alike(valid):
    for i, grey in ((0, 10), (4, 200)):
        Image.new("RGB", (80, 60), (grey, grey, grey)).save(valid.image(i))
    assert valid.found() == []


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("image", ["leak-image", "leak-image"]),
        ("participant", ["leak-participant"]),
        ("both", ["leak-image", "leak-image", "leak-participant"]),
    ],
)
def test_what_splits_json_says_holds(valid, by, expected):
    """The test has both training images 0 and 1, seen by p1 of the training and by p9."""
    (valid.folder / "small/splits.json").write_text(json.dumps({"by": by, "seed": 1}))
    for i, row in enumerate(valid.rows["test"]):
        image = i // 2
        row.update(id=f"t{i}", images=[f"small/images/i{image}.png"], image_id=f"i{image}")
        row["participant"] = ("p1", "p9")[i % 2]
    assert [kind for kind, *_ in valid.found()] == expected


def test_splits_json_of_the_data_set_holds_for_folds_in_folders(valid):
    """small/fold1/test.json is split as small/splits.json says; a splits.json of the whole registry is nobody's."""
    (valid.folder / "small/splits.json").write_text('{"by": "participant"}')
    (valid.folder / "splits.json").write_text('{"by": "both"}')
    (valid.folder / "small/fold1").mkdir()
    every = valid.rows["stage2"] + valid.rows["test"]
    valid.rows = {f"fold1/{split}": [row for row in every if row["participant"] == who] for split, who in (
        ("stage1", "p1"), ("stage2", "p1"), ("test", "p2")
    )}  # fmt: skip
    for split in ("stage1", "stage2", "test"):
        register(valid.folder, {f"small_fold1_{split}": gaze_entry(f"small/fold1/{split}.json")})
    assert valid.found("small_fold1") == []
    (valid.folder / "small/splits.json").unlink()
    assert {kind for kind, *_ in valid.found("small_fold1")} == {"leak-image"}


@pytest.mark.parametrize("content", ["{", '{"by": "moon"}', "[]"])
def test_a_splits_json_that_cannot_be_used(valid, content):
    (valid.folder / "small/splits.json").write_text(content)
    assert valid.found() == [("splits", "splits.json", None, None)]


def test_stages_of_other_rows(valid):
    valid.rows["stage1"].pop(5)
    valid.rows["stage2"].pop(1)
    assert valid.found() == [("stages", "stage1.json", 1, "i0_p2"), ("stages", "stage2.json", 4, "i2_p2")]


def test_stage1_targets_in_the_test(valid):
    for i, row in enumerate(valid.rows["stage1"]):
        row["conversations"][1]["value"] = f"There is a thing with the number {i}."
    assert valid.found() == []  # the test has original descriptions: "So I can see"
    for row in valid.rows["test"]:
        row["conversations"][1]["value"] = f"There is a thing with the number {row['id']}."
    assert valid.found() == [("test-style", "test.json", None, None)]


def test_what_counts_as_the_style_of_stage_1():
    def rows(*answers):
        return [Row("f", i, *[None] * 5, answer, b"", *[()] * 6) for i, answer in enumerate(answers)]

    plain, spoken = rows("a cat", "a dog"), rows("well a cat", "well a dog")
    assert [p.kind for p in check_originals(plain, spoken, rows("a cow", "a fox"))] == ["test-style"]
    assert list(check_originals(plain, spoken, rows("well a cow", "a fox"))) == []
    assert list(check_originals(plain, plain, rows("a cow", "a fox"))) == []  # stage 1 is not normalised


def test_folds_are_checked_one_by_one(valid):
    """Fold 1 is clean by itself, although its test images are training images of the main split; fold 2 leaks."""
    folds = {1: ((2, 3, 4, 5), (0, 1)), 2: ((0, 1, 2), (2,))}
    every = {row["id"]: row for row in valid.rows["stage2"] + valid.rows["test"]}
    for fold, (training, test) in folds.items():
        for split, images in (("stage1", training), ("stage2", training), ("test", test)):
            rows = [row for row in every.values() if int(row["image_id"][1:]) in images]
            valid.rows[f"fold{fold}_{split}"] = rows
            register(valid.folder, {f"small_fold{fold}_{split}": gaze_entry(f"small/fold{fold}_{split}.json")})
    report = valid.validate()
    assert [line.entry for line in report.summary] == [
        f"small{fold}_{split}" for fold in ("", "_fold1", "_fold2") for split in ("stage1", "stage2", "test")
    ]
    assert [(p.kind, p.file, p.row) for p in report.problems] == [("leak-image", str(valid.file("fold2_test")), 0)]
