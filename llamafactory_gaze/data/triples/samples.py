"""Which descriptions become samples: the rules are applied to each, and the review by hand over them."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.data.triples.dataset_maps import MadeMaps, ReadyMaps
from llamafactory_gaze.data.triples.descriptions import Description
from llamafactory_gaze.data.triples.exclusions import (
    Excluded,
    Failure,
    Rules,
    count_words,
    judge_description,
    judge_fixations,
    judge_map,
)
from llamafactory_gaze.data.triples.inputs import Inputs


if TYPE_CHECKING:
    from llamafactory_gaze.data.triples.options import DatasetOptions

NO_MAP = "no map"  # what no verdict of the review can change


@dataclass(frozen=True)
class Judged:
    samples: list[Description]
    excluded: list[Excluded]
    automatic: dict[str, str]  # id -> why a rule excludes it, whatever the review says
    maps: MadeMaps | ReadyMaps  # without fixations that break a rule


def judge(inputs: Inputs, maps: MadeMaps | ReadyMaps, options: DatasetOptions) -> Judged:
    """Apply the rules, and over them the review.

    Somebody's fixations on an image that break a rule are in no map, unless the review accepts them. A verdict against
    a sample takes its description away, not the fixations: the map of all is not made of what one person said. Of
    ready-made maps nothing is known but that they are there, so only the rules on descriptions apply.

    Raises:
        DataError: nothing is left, or a rule on looking times where durations are not known.
    """
    verdicts = {one.id: inputs.review[one.id].verdict for one in inputs.descriptions if one.id in inputs.review}
    broken: dict[tuple[str, str], Failure] = {}
    lawful = maps
    if isinstance(maps, MadeMaps):
        if options.rules.min_looking_ms > 0:
            maps.plan.fixations.require_durations()
        broken = _broken(maps, options.rules)
        accepted = {(one.image, one.participant) for one in inputs.descriptions if verdicts.get(one.id) == "accept"}
        lawful = maps.without(broken.keys() - accepted)

    samples: list[Description] = []
    excluded: list[Excluded] = []
    automatic: dict[str, str] = {}
    for one in inputs.descriptions:
        verdict = verdicts.get(one.id, "")
        failure = hopeless = _hopeless(one, maps, options)
        failure = failure or broken.get((one.image, one.participant))
        if failure is None or (verdict == "accept" and hopeless is None):
            hopeless = _hopeless(one, lawful, options)
            failure = failure or hopeless or _judge_map(one, lawful, options.rules)
        failure = failure or judge_description(one.extra.get("spoken", one.text), one.text, options.rules)
        if failure is not None:
            automatic[one.id] = failure.reason
        if verdict == "accept":
            failure = hopeless
        elif verdict == "reject":
            # Without the note, which may say what the description is rejected for not to say; cards are published.
            failure = Failure("review", "reject", "accept, or no verdict", "rejected in the review")
        if failure is None:
            samples.append(one)
        else:
            excluded.append(Excluded(one.id, one.where, one.image, one.participant, *astuple(failure)))
    if not samples:
        hint = (
            f"do the names of images and participants agree with {options.maps_from or options.fixations}?"
            if all(row.rule == NO_MAP for row in excluded)
            else "do the rules on exclusions fit these data?"
        )
        raise DataError(
            f"No row of {options.descriptions} can be used: {excluded[0].where} is excluded because "
            f"{excluded[0].reason}; {hint}"
        )
    return Judged(samples, excluded, automatic, lawful)


def _broken(maps: MadeMaps, rules: Rules) -> dict[tuple[str, str], Failure]:
    """(image, participant) whose fixations on the image break a rule."""
    plan = maps.plan
    broken = {}
    for image, by_participant in plan.rows.items():
        for participant, rows in by_participant.items():
            failure = judge_fixations(plan.on_image[rows], plan.fixations.duration_ms[rows], rules)
            if failure is not None:
                broken[image, participant] = failure
    return broken


def _hopeless(one: Description, maps: MadeMaps | ReadyMaps, options: DatasetOptions) -> Failure | None:
    """Why a description can be no sample, whatever the rules and the review say."""
    reason = maps.lacks(one)
    if reason is not None:
        return Failure(NO_MAP, "none", "a map, and a speaker who looked", reason)
    if options.clean_speech and not count_words(one.text):
        return Failure("words", "0 words", "at least 1", "nothing is left of the description without its fillers")
    return None


def _judge_map(one: Description, maps: MadeMaps | ReadyMaps, rules: Rules) -> Failure | None:
    if isinstance(maps, ReadyMaps):
        return None
    return judge_map(*maps.points(one), maps.plan.views[one.image].image, rules)
