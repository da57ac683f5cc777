"""Splits by image, participant or both, and folds: who is where, and that a leak is refused by name."""

from collections import Counter

import numpy as np
import pytest

from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.data.triples.split import check_split, make_folds, make_splits, same_content


CATEGORIES = {f"{i:02d}.png": "ABC"[i % 3] for i in range(20)}
PEOPLE = [f"p{i}" for i in range(7)]


def splits_by(by, folds=None, seed=3, originals=None):
    return make_splits(CATEGORIES, PEOPLE, by, 0.3, folds, seed, originals or {})


def members(split):
    """side -> the (image, participant) pairs of a complete recording."""
    pairs = {"training": set(), "test": set(), None: set()}
    for image in CATEGORIES:
        for participant in PEOPLE:
            pairs[split.side(image, participant)].add((image, participant))
    return pairs


def test_each_way_divides_what_it_says():
    for by, shares_images, shares_people in (
        ("image", False, True),
        ("participant", True, False),
        ("both", False, False),
    ):
        (split,) = splits_by(by)
        pairs = members(split)
        training, test = pairs["training"], pairs["test"]
        assert training and test
        assert bool({image for image, _ in training} & {image for image, _ in test}) == shares_images
        assert bool({person for _, person in training} & {person for _, person in test}) == shares_people
        assert bool(pairs[None]) == (by == "both")
    assert len(test) == 6 * 2 and len(training) == 14 * 5  # 30% of 20 images by 30% of 7 people


@pytest.mark.parametrize("by", ["image", "participant", "both"])
def test_every_fold_is_the_test_set_once(by):
    splits = splits_by(by, folds=5)
    assert [split.name for split in splits] == ["fold1", "fold2", "fold3", "fold4", "fold5"]
    for name, everything in (("test_images", set(CATEGORIES)), ("test_participants", set(PEOPLE))):
        tests = [getattr(split, name) for split in splits]
        if None in tests:
            assert tests == [None] * 5 and by in ("image", "participant")
        else:
            assert set.union(*map(set, tests)) == everything and sum(map(len, tests)) == len(everything)


def test_folds_are_balanced_over_random_data_sets():
    rng = np.random.default_rng(4)
    for _ in range(200):
        sizes = rng.integers(1, 12, rng.integers(1, 6))
        categories = {f"{c}-{i}": f"c{c}" for c, size in enumerate(sizes) for i in range(size)}
        count = int(rng.integers(2, 8))
        if len(categories) < count:
            continue
        folds = make_folds(categories, count, seed=int(rng.integers(9)))
        assert sorted(name for fold in folds for name in fold) == sorted(categories)
        assert max(map(len, folds)) - min(map(len, folds)) <= 1
        for c in range(len(sizes)):
            of_category = [Counter(categories[name] for name in fold)[f"c{c}"] for fold in folds]
            assert max(of_category) - min(of_category) <= 1


def test_folds_depend_on_the_seed_and_not_on_the_order():
    backwards = dict(reversed(CATEGORIES.items()))
    assert make_folds(CATEGORIES, 4, 1) == make_folds(backwards, 4, 1) != make_folds(CATEGORIES, 4, 2)


def test_copies_of_an_image_are_one_image():
    originals = same_content({f"{i}.png": "xyxzxy"[i] for i in (5, 4, 3, 2, 1, 0)})
    assert originals == {"0.png": "0.png", "2.png": "0.png", "4.png": "0.png", "1.png": "1.png", "5.png": "1.png"}

    copies = dict.fromkeys(list(CATEGORIES)[:6], "00.png") | {"18.png": "07.png", "07.png": "07.png"}
    sides = set()
    for seed in range(20):
        (split,) = splits_by("image", seed=seed, originals=copies)
        assert len({image in split.test_images for image in list(CATEGORIES)[:6]}) == 1
        assert ("18.png" in split.test_images) == ("07.png" in split.test_images)
        sides.add("00.png" in split.test_images)
    assert sides == {True, False}
    with pytest.raises(DataError, match="20 folds by image need at least 20 images with usable rows, found 14"):
        splits_by("image", folds=20, originals=copies)


@pytest.mark.parametrize(
    ("by", "folds", "message"),
    [
        ("image", 1, "--folds is 1; expected at least 2"),
        ("participant", 8, "8 folds by participant need at least 8 participants with usable rows, found 7"),
        ("both", 21, "21 folds by image"),
    ],
)
def test_impossible_folds(by, folds, message):
    with pytest.raises(DataError, match=message):
        splits_by(by, folds=folds)


def test_one_participant_cannot_be_split():
    with pytest.raises(DataError, match="A split by participant needs at least two participants"):
        make_splits(CATEGORIES, ["p1"], "both", 0.3, None, 0, {})


def row(image, participant, **more):
    paths = {"images": [f"d/images/{image}.png"], "saliencies": [f"d/maps/{image}_{participant}.png"]}
    return {"id": f"{image}_{participant}", "image_id": image, "participant": participant} | paths | more


def test_a_clean_split_passes():
    check_split([row("a", "p1"), row("a", "p2")], [row("b", "p1")], "image")
    check_split([row("a", "p1"), row("b", "p1")], [row("a", "p2")], "participant")
    check_split([row("a", "p1")], [row("b", "p2")], "both")
    check_split([], [row("b", "p2")], "both")
    check_split(
        [{"images": [{"bytes": b"x"}], "image_id": "a"}], [{"images": [{"bytes": b"x"}], "image_id": "b"}], "image"
    )


@pytest.mark.parametrize(
    ("by", "training", "test", "message"),
    [
        ("image", row("a", "p1"), row("a", "p2"), r"share the image a \(training: a_p1; test: a_p2\).*by image\."),
        ("both", row("a", "p1"), row("a", "p2"), r"share the image a .*by image and participant"),
        ("participant", row("a", "p1"), row("b", "p1"), r"share the participant p1 \(training: a_p1; test: b_p1\)"),
        ("both", row("a", "p1"), row("b", "p1"), "share the participant p1"),
        ("image", row("a", "p1"), row("b", "p2", same_image_as="a"), "share the image a "),
        ("image", row("c", "p1", same_image_as="a"), row("b", "p2", same_image_as="a"), "share the image a "),
        ("image", row("a", "p1"), row("b", "p2", images=["d/images/a.png"]), r"share the image d/images/a\.png"),
        (
            "image",
            {"images": ["a.png"]},
            {"images": ["a.png"]},
            r"share the image a\.png \(training: row 0; test: row 0\)",
        ),
        (
            "participant",
            row("a", "p1", saliencies=["d/maps/a.png"]),
            row("a", "p2", saliencies=["d/maps/a.png"]),
            r"share the map d/maps/a\.png",
        ),
        ("image", {"id": "x"}, row("a", "p1"), "row 0 of the training set has neither an image_id nor an image"),
        ("participant", row("a", "p1"), {"image_id": "b"}, "row 0 of the test set has no participant"),
    ],
)
def test_a_leak_is_named(by, training, test, message):
    with pytest.raises(DataError, match=message):
        check_split([training], [test], by)
