"""What the user's files say, put together: descriptions with what is known of the people, fixations, and the review."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llamafactory_gaze.data.fixations import Fixations, read_fixations
from llamafactory_gaze.data.speech import cleaning as speech
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.data.triples import pseudonyms, review
from llamafactory_gaze.data.triples.descriptions import Description, read_descriptions
from llamafactory_gaze.data.triples.people import join_people, read_people


if TYPE_CHECKING:
    from llamafactory_gaze.data.triples.options import DatasetOptions


@dataclass(frozen=True)
class Inputs:
    """What the user's files say, under codes where they were asked for."""

    descriptions: list[Description]
    fixations: Fixations | None
    review: dict[str, review.Line]
    ids: list[str]  # the participants' ids behind the codes


def read_inputs(options: DatasetOptions) -> Inputs:
    """Read all of the user's files but the images.

    Raises:
        DataError: as the readers of the single files.
    """
    descriptions = read_descriptions(options.descriptions)
    start = str(options.descriptions.parent / "x")[:-1]
    descriptions = [replace(one, where=one.where.removeprefix(start)) for one in descriptions]
    if options.participants_table is not None:
        people = read_people(options.participants_table)
        descriptions = join_people(descriptions, people, options.participants_table)
    if options.clean_speech:
        descriptions = _cleaned(descriptions, options.fillers)
    fixations = None if options.fixations is None else read_fixations(options.fixations, options.columns)
    folder = options.dataset_dir / options.name
    lines = review.read_review(folder / review.FILE) if (folder / review.FILE).exists() else {}
    newer = {} if options.review is None else review.read_review(options.review)
    if options.pseudonyms is None:
        return Inputs(descriptions, fixations, review.merge(lines, newer), [])

    descriptions = pseudonyms.without_recordings(descriptions)
    pseudonyms.check_fields(descriptions)
    if not options.pseudonyms.exists() and any(pseudonyms.CODE.fullmatch(one.participant) for one in lines.values()):
        raise DataError(
            f"{folder / review.FILE} is kept under codes, but the salt file {options.pseudonyms} does not exist, and a "
            f"new one would give other codes; name the one that was used, or move {review.FILE} away."
        )
    codes = pseudonyms.Pseudonyms(pseudonyms.read_salt(options.pseudonyms, folder))
    merged = review.merge(review.with_codes(lines, codes), review.with_codes(newer, codes))
    return Inputs(
        codes.of_descriptions(descriptions),
        None if fixations is None else codes.of_fixations(fixations),
        dict(sorted(merged.items())),  # of samples that are gone, `update` keeps the order
        codes.ids,
    )


def _cleaned(descriptions: Sequence[Description], fillers: Path | None) -> list[Description]:
    """The descriptions without fillers and restarts; fields `spoken` and `removed` keep the original."""
    words = speech.FILLERS if fillers is None else speech.read_fillers(fillers)
    cleaned: list[Description] = []
    for one in descriptions:
        clash = sorted(one.extra.keys() & {"spoken", "removed"})
        if clash:
            raise DataError(
                f"{one.where}: there is a column '{clash[0]}', a field that --clean-speech writes; rename the column."
            )
        text, removed = speech.clean_speech(one.text, words)
        cleaned.append(replace(one, text=text, extra=one.extra | {"spoken": one.text, "removed": removed}))
    return cleaned
