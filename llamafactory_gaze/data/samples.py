"""Which descriptions become samples: the rules are applied to each, and the review by hand over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from llamafactory_gaze.data.descriptions import Description
from llamafactory_gaze.data.exclusions import (
    Excluded,
    Failure,
    count_words,
    judge_description,
    judge_fixations,
    judge_map,
)
from llamafactory_gaze.data.fixations import Fixations
from llamafactory_gaze.data.inputs import Inputs
from llamafactory_gaze.data.tables import DataError


if TYPE_CHECKING:
    from llamafactory_gaze.data.build import DatasetOptions

NO_FIXATIONS = "no fixations"  # what no verdict of the review can change
Weight = Callable[[Fixations], np.ndarray]  # n fixations -> (n,), not negative


@dataclass(frozen=True)
class Judged:
    samples: list[Description]
    excluded: list[Excluded]
    automatic: dict[str, str]  # id -> why a rule excludes it, whatever the review says
    fixations: dict[str, Fixations]  # of described images, without those that break a rule


def judge(inputs: Inputs, sizes: Mapping[str, tuple[int, int]], weight: Weight, options: DatasetOptions) -> Judged:
    """Apply the rules, and over them the review.

    Somebody's fixations on an image that break a rule are in no map, unless the review accepts them. A verdict against
    a sample takes its description away, not the fixations: the map of all is not made of what one person said.

    Args:
        sizes: image -> (width, height).
        weight: of each fixation in a map.

    Raises:
        DataError: nothing is left.
    """

    def verdict(image: str, participant: str) -> str:
        line = inputs.review.get(f"{PurePosixPath(image).with_suffix('')}_{participant}")
        return line.verdict if line else ""

    broken: dict[tuple[str, str], Failure] = {}
    fixations: dict[str, Fixations] = {}
    for image, size in sizes.items():
        if image not in inputs.fixations:
            continue
        of = inputs.fixations[image]
        left_out = []
        for participant in np.unique(of.participant).tolist():
            own = of.where(of.participant == participant)
            failure = judge_fixations(own.on_image(size), own.duration_ms, options.rules)
            if failure is not None:
                broken[image, participant] = failure
                if verdict(image, participant) != "accept":
                    left_out.append(participant)
        fixations[image] = of.where(~np.isin(of.participant, left_out))

    samples: list[Description] = []
    excluded: list[Excluded] = []
    automatic: dict[str, str] = {}
    for one in inputs.descriptions:
        line = inputs.review.get(one.id)
        failure = hopeless = _hopeless(one, inputs.fixations, sizes, weight, options)
        failure = failure or broken.get((one.image, one.participant))
        failure = failure or _judge_map(one, fixations[one.image], sizes[one.image], weight, options)
        failure = failure or judge_description(one.extra.get("spoken", one.text), one.text, options.rules)
        if failure is not None:
            automatic[one.id] = failure.reason
        if line is not None and line.verdict == "accept" and hopeless is None:
            failure = None
        elif line is not None and line.verdict == "reject":
            reason = f"rejected in the review{': ' * bool(line.note)}{line.note}"
            failure = Failure("review", "reject", "accept, or no verdict", reason)
        if failure is None:
            samples.append(one)
        else:
            excluded.append(Excluded(one.id, one.where, one.image, one.participant, *astuple(failure)))
    if not samples:
        hint = (
            f"do the names of images and participants agree with {options.fixations}?"
            if all(row.rule == NO_FIXATIONS for row in excluded)
            else "do the rules on exclusions fit these data?"
        )
        raise DataError(
            f"No row of {options.descriptions} can be used: {excluded[0].where} is excluded because "
            f"{excluded[0].reason}; {hint}"
        )
    return Judged(samples, excluded, automatic, fixations)


def _hopeless(
    one: Description,
    fixations: Mapping[str, Fixations],
    sizes: Mapping[str, tuple[int, int]],
    weight: Weight,
    options: DatasetOptions,
) -> Failure | None:
    """Why a description can be no sample, whatever the rules and the review say."""
    reason = None
    if one.image not in fixations:
        reason = "nobody has fixations on this image"
    else:
        on_this = fixations[one.image]
        own = on_this.where(on_this.participant == one.participant)
        seen = own.where(own.on_image(sizes[one.image]))
        if not len(own):
            reason = "the participant has no fixations on this image"
        elif not len(seen):
            reason = f"all of the participant's fixations ({len(own)}) lie outside the image"
        elif not weight(seen).any():
            reason = "the participant's fixations on this image last 0 ms"
    if reason is not None:
        return Failure(NO_FIXATIONS, "none", "at least 1 with a weight", reason)
    if options.clean_speech and not count_words(one.text):
        return Failure("words", "0 words", "at least 1", "nothing is left of the description without its fillers")
    return None


def _judge_map(
    one: Description, of: Fixations, size: tuple[int, int], weight: Weight, options: DatasetOptions
) -> Failure | None:
    if options.maps == "participant":
        of = of.where(of.participant == one.participant)
    of = of.where(of.on_image(size))
    return judge_map(of.x, of.y, weight(of), size, options.rules)
