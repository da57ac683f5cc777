"""Splits without leaks: what the test set is made of (images, participants, or both) stands in no training set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from llamafactory_gaze.data.tables import DataError


By = Literal["image", "participant", "both"]
Side = Literal["training", "test"]


@dataclass(frozen=True)
class Split:
    """One division into a training and a test set; None where the images, or the participants, are not divided."""

    name: str  # "", or "fold1", "fold2", ...
    test_images: frozenset[str] | None
    test_participants: frozenset[str] | None

    def side(self, image: str, participant: str) -> Side | None:
        """Where a row belongs; None where its image and its participant are on different sides."""
        sides = []
        if self.test_images is not None:
            sides.append(image in self.test_images)
        if self.test_participants is not None:
            sides.append(participant in self.test_participants)
        if len(set(sides)) > 1:
            return None
        return "test" if sides[0] else "training"


def same_content(sha256: Mapping[str, str]) -> dict[str, str]:
    """For each image whose file equals that of another, the first of them by name: for a split they are one image."""
    copies: dict[str, list[str]] = {}
    for image in sorted(sha256):
        copies.setdefault(sha256[image], []).append(image)
    return {image: names[0] for names in copies.values() if len(names) > 1 for image in names}


def make_splits(
    categories: Mapping[str, str],
    participants: Sequence[str],
    by: By,
    test_fraction: float,
    folds: int | None,
    seed: int,
    originals: Mapping[str, str],
) -> list[Split]:
    """Divide a data set once, or into folds, each of which is the test set of one split.

    Args:
        categories: the category of each image.
        participants: everybody who said something.
        by: what may stand on one side only.
        test_fraction: share of the images, of the participants, or of each, that is held out; without folds only.
        folds: number of folds, at least 2; None holds out one test set.
        seed: of the random choice.
        originals: image -> the image of equal content that stands for it; all others stand for themselves.

    Raises:
        DataError: fewer images or participants than sides, or a fraction outside (0, 1).
    """

    def test_sets(members: Mapping[str, str], what: str) -> list[set[str]]:
        if folds is None:
            return [hold_out(members, test_fraction, seed, what)]
        return make_folds(members, folds, seed, what)

    count = folds or 1
    images: list[frozenset[str] | None] = [None] * count
    people: list[frozenset[str] | None] = [None] * count
    if by != "participant":
        contents: dict[str, str] = {}
        for image in sorted(categories):
            contents.setdefault(originals.get(image, image), categories[image])
        images = [
            frozenset(image for image in categories if originals.get(image, image) in test)
            for test in test_sets(contents, "image")
        ]
    if by != "image":
        people = [frozenset(test) for test in test_sets(dict.fromkeys(participants, ""), "participant")]
    names = [""] if folds is None else [f"fold{i + 1}" for i in range(count)]
    return [Split(*split) for split in zip(names, images, people, strict=True)]


def hold_out(categories: Mapping[str, str], test_fraction: float, seed: int, what: str = "image") -> set[str]:
    """Choose the images (or participants) of the test set.

    Of n, round(n * test_fraction) are chosen (at least one, at most all but one), from each category in proportion to
    its size; what rounding leaves over goes to the categories that lost most by it. The choice depends on the names and
    the seed, not on the order.

    Args:
        categories: the category of each.
        test_fraction: share that is held out, between 0 and 1.
        seed: of the random choice within a category.
        what: a word for them, for messages.

    Raises:
        DataError: fewer than two, or a fraction outside (0, 1).
    """
    if not 0 < test_fraction < 1:
        raise DataError(f"The test fraction is {test_fraction}; expected a number between 0 and 1, such as 0.25.")
    if len(categories) < 2:
        raise DataError(f"A split by {what} needs at least two {what}s with usable rows, found {len(categories)}.")
    members = _members(categories)
    total = min(max(round(len(categories) * test_fraction), 1), len(categories) - 1)
    share = {category: len(names) * total / len(categories) for category, names in members.items()}
    count = {category: int(share[category]) for category in members}
    by_loss = sorted(
        members, key=lambda category: (count[category] - share[category], -len(members[category]), category)
    )
    for category in by_loss[: total - sum(count.values())]:
        count[category] += 1

    rng = _generator(seed, what)
    test: set[str] = set()
    for category in sorted(members):
        order = rng.permutation(len(members[category]))
        test.update(members[category][i] for i in order[: count[category]])
    return test


def make_folds(categories: Mapping[str, str], folds: int, seed: int, what: str = "image") -> list[set[str]]:
    """Deal the images (or participants) into folds: the sizes of two folds, in all and in each category, differ by at
    most one. The result depends on the names and the seed, not on the order.

    Raises:
        DataError: fewer than two folds, or more folds than there are images (or participants).
    """
    if folds < 2:
        raise DataError(f"--folds is {folds}; expected at least 2.")
    if len(categories) < folds:
        raise DataError(
            f"{folds} folds by {what} need at least {folds} {what}s with usable rows, found {len(categories)}."
        )
    rng = _generator(seed, what)
    dealt: list[str] = []
    for _, names in sorted(_members(categories).items()):
        dealt += [names[i] for i in rng.permutation(len(names))]
    return [set(dealt[i::folds]) for i in range(folds)]


def _generator(seed: int, what: str) -> np.random.Generator:
    """Of its own for images and for participants: where both are split, the two choices are independent."""
    return np.random.default_rng(seed if what == "image" else [seed, 1])


def _members(categories: Mapping[str, str]) -> dict[str, list[str]]:
    """category -> its members, sorted."""
    members: dict[str, list[str]] = {}
    for name in sorted(categories):
        members.setdefault(categories[name], []).append(name)
    return members


def check_split(training: Sequence[Mapping[str, Any]], test: Sequence[Mapping[str, Any]], by: By) -> None:
    """Refuse rows of a training and of a test set that share what they must not share.

    Rows are those of the data set's JSON files. An image is known by `image_id` (or else by its first path), by its
    paths, and, where files of different names have equal content, by `same_image_as`. By participant, the two sides may
    not share a map either: it would hold the gaze of people of both.

    Raises:
        DataError: names what is shared, or the row that lacks the field.
    """
    if by != "participant":
        _refuse_shared(training, test, _images, "image", by)
    if by != "image":
        _refuse_shared(training, test, _participant, "participant", by)
        _refuse_shared(training, test, lambda row, _: _paths(row, "saliencies"), "map", by)


def _refuse_shared(
    training: Sequence[Mapping[str, Any]],
    test: Sequence[Mapping[str, Any]],
    names: Callable[[Mapping[str, Any], str], Sequence[str]],
    what: str,
    by: By,
) -> None:
    first: dict[str, str] = {}
    for i, row in enumerate(training):
        for name in names(row, f"row {i} of the training set"):
            first.setdefault(name, str(row.get("id", f"row {i}")))
    for i, row in enumerate(test):
        for name in sorted(set(names(row, f"row {i} of the test set")) & set(first)):
            raise DataError(
                f"The training and the test set share the {what} {name} (training: {first[name]}; test: "
                f"{row.get('id', f'row {i}')}), but the split is by {'image and participant' if by == 'both' else by}."
            )


def _images(row: Mapping[str, Any], where: str) -> list[str]:
    paths = _paths(row, "images")
    names = [row[key] for key in ("image_id", "same_image_as") if row.get(key)]
    if not names and not paths:
        raise DataError(f"The {where} has neither an image_id nor an image, so the split cannot be checked.")
    return [str(name) for name in names] + paths


def _participant(row: Mapping[str, Any], where: str) -> list[str]:
    if not row.get("participant"):
        raise DataError(f"The {where} has no participant, so the split cannot be checked.")
    return [str(row["participant"])]


def _paths(row: Mapping[str, Any], key: str) -> list[str]:
    """The paths of a row's images or maps; embedded ones have none."""
    return [path for path in row.get(key) or [] if isinstance(path, str)]
