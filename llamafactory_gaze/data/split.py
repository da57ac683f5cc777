"""Splits by image: no image stands in both the training and the test set, and both hold every category."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from llamafactory_gaze.data.tables import DataError


def split_by_image(categories: Mapping[str, str], test_fraction: float, seed: int) -> set[str]:
    """Choose the images of the test set.

    Of n images, round(n * test_fraction) are chosen (at least one, at most all but one), from each category in
    proportion to its size; what rounding leaves over goes to the categories that lost most by it. The choice depends on
    the names and the seed, not on the order.

    Args:
        categories: the category of each image.
        test_fraction: share of the images, between 0 and 1.
        seed: of the random choice within a category.

    Raises:
        DataError: fewer than two images, or a fraction outside (0, 1).
    """
    if not 0 < test_fraction < 1:
        raise DataError(f"The test fraction is {test_fraction}; expected a number between 0 and 1, such as 0.25.")
    if len(categories) < 2:
        raise DataError(f"A split by image needs at least two images with usable rows, found {len(categories)}.")
    members: dict[str, list[str]] = {}
    for image in sorted(categories):
        members.setdefault(categories[image], []).append(image)

    total = min(max(round(len(categories) * test_fraction), 1), len(categories) - 1)
    share = {category: len(images) * total / len(categories) for category, images in members.items()}
    count = {category: int(share[category]) for category in members}
    by_loss = sorted(
        members, key=lambda category: (count[category] - share[category], -len(members[category]), category)
    )
    for category in by_loss[: total - sum(count.values())]:
        count[category] += 1

    rng = np.random.default_rng(seed)
    test: set[str] = set()
    for category in sorted(members):
        order = rng.permutation(len(members[category]))
        test.update(members[category][i] for i in order[: count[category]])
    return test
