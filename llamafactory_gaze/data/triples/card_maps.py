"""What the data card says about the maps: which, of whom, and how each was made."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from llamafactory_gaze.data.maps.options import MapOptions, MapsOf
from llamafactory_gaze.data.maps.plan import REACH, View
from llamafactory_gaze.data.triples.dataset_maps import MadeMaps, ReadyMaps
from llamafactory_gaze.data.triples.descriptions import Description
from llamafactory_gaze.data.triples.sides import SideMaps


WHICH: dict[MapsOf, str] = {
    "image": "one per image, of the fixations of all participants who saw it (the paper's)",
    "participant": "one per image and participant, of that participant's own fixations",
    "leave-one-out": "one per image and participant, of the fixations of all others who saw it",
    "trial": "one per image, participant and trial, of that participant's own fixations in it",
}
_PLACEMENTS = {"center": "at its own size in the middle", "fill": "in the middle, as large as its shape allows"}


def maps_section(sides: Sequence[SideMaps], under_codes: bool) -> str:
    """The lines of the section, as Markdown.

    Args:
        sides: all maps that were written.
        under_codes: give no hash of the fixations, by which a guess at the ids could be checked.
    """
    maps = sides[0].maps
    lines = (
        _made(sides, maps.plan.options) if isinstance(maps, MadeMaps) else _ready(maps, sides[0].samples, under_codes)
    )
    return "\n".join(f"- {line}" for line in lines)


def _made(sides: Sequence[SideMaps], options: MapOptions) -> list[str]:
    planned = {
        side.folder + one.name: (side.maps.plan, one)
        for side in sides
        if isinstance(side.maps, MadeMaps)
        for one in side.maps.maps(side.samples)
    }
    numbers = [plan.participants(one) for plan, one in planned.values()]
    divided = len(sides) > 1 or sides[0].folder
    size = (
        "the image" if options.longest_side is None else f"its image, scaled to a longer side of {options.longest_side}"
    )
    return [
        f"Which: {WHICH[options.maps]}{'; for each side of the split, of its own people alone' * bool(divided)}.",
        f"Whose: a map holds the fixations of {_range(numbers)}; {_whose(numbers)}",
        f"Coordinates: {_coordinates(options)}.",
        f"Gaussian around each fixation, with a standard deviation of "
        f"{_width(options, [plan.views[one.image] for plan, one in planned.values()])}; the sum is scaled so that its "
        "maximum is 1.",
        f"Weight: {'its duration' if options.weight == 'duration' else 'one'} for each fixation; "
        + ("participants are pooled." if options.participants == "pooled" else "equal in sum for each participant."),
        f"Left out: {', '.join(_left_out(options))}.",
        f"16-bit greyscale PNG of the size of {size}.",
    ]


def _range(numbers: Collection[int]) -> str:
    few, many = min(numbers), max(numbers)
    return f"{few} to {many} people" if few < many else f"{few} {'person' if few == 1 else 'people'}"


def _coordinates(options: MapOptions) -> str:
    screen = options.screen
    if screen is None:
        return "the table has pixels of the image"
    stood = _PLACEMENTS.get(options.placement or "center", f"at X,Y,WIDTH,HEIGHT = {options.placement}")
    return (
        f"the table has pixels of a screen of {screen.size[0]}x{screen.size[1]}, {screen.width_cm:.4g} cm wide and "
        f"{screen.distance_cm:g} cm away: {screen.pixels_per_degree:.4g} pixels per degree of visual angle; the image "
        f"stood {stood}"
    )


def _width(options: MapOptions, views: Iterable[View]) -> str:
    widths = sorted({float(f"{sigma:.4g}") for view in views for sigma in view.sigma_of_image})
    of_image = " to ".join(f"{width:g}" for width in dict.fromkeys((widths[0], widths[-1]))) + " pixels of the image"
    if options.screen is None:
        return of_image
    if options.degrees is not None:
        degrees = f"{options.degrees:g} degree{'s' * (options.degrees != 1)} of visual angle"
        return (
            f"{degrees}, {options.degrees * options.screen.pixels_per_degree:.4g} pixels of the screen and {of_image}"
        )
    return of_image


def _left_out(options: MapOptions) -> list[str]:
    left_out = []
    if options.drop_first:
        left_out.append("the first fixation of each participant (and trial) on an image")
    if options.min_duration:
        left_out.append(f"fixations shorter than {options.min_duration:g} ms")
    beside = "" if options.off_image == "drop" else f" by more than {REACH:g} standard deviations of the Gaussian"
    return [*left_out, f"fixations outside the image{beside}"]


def _whose(numbers: Collection[int]) -> str:
    """`numbers` of people in each map. Without their ids: model cards repeat this section."""
    single = sum(number == 1 for number in numbers)
    if not single:
        return "no map is of a single person."
    some = f"{single} of {len(numbers)} maps, which `splits.json` of the data set lists, are of a single person"
    which_maps = "every map is of a single person" if single == len(numbers) else some
    return f"{which_maps}; maps of single persons are personal data."


def which(maps: ReadyMaps) -> str:
    """Which maps a folder holds, in words; of whom is known only where it says so."""
    return WHICH[maps.of] if maps.report else "one per image"


def _ready(maps: ReadyMaps, samples: Sequence[Description], under_codes: bool) -> list[str]:
    lines = [
        f"Which: {which(maps)}.",
        f"Where from: ready-made, copied unchanged from the folder `{maps.folder.name}`.",
    ]
    if maps.sources:
        counted = "; ".join(f"{number} of {source}" for source, number in Counter(maps.sources.values()).most_common())
        lines.append(
            f"**Not recorded by an eye tracker**: {len(maps.sources)} of {len(maps.sha256)} maps say in their files "
            f"that they were made of another source: {counted}."
        )
    if maps.looked is not None:
        lines.append("For: descriptions of participants who have fixations on the image; these made no map.")
    if len(maps.sources) == len(maps.sha256):
        return [*lines, "How each was made stands in its file, which `llamafactory_gaze.saliency.map_source` reads."]
    if maps.report is None:
        return [*lines, "Whose, and how they were made, the folder does not say: it has no `maps.json`."]
    made = maps.report
    people = maps.people(samples)
    digest = "" if under_codes else f" (sha256 {made['fixations']['sha256']})"
    return [
        *lines,
        f"Whose: {'its `maps.json` does not name all of them.' if people is None else _whose(people.values())}",
        f"Its `maps.json` says: made by `{made['made_by']}` of `{made['fixations']['file']}`{digest}, with "
        f"`{json.dumps(made['settings'])}`.",
    ]
