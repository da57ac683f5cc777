"""A folder of saliency maps from a table of fixations, with `maps.json` that says how they were made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, get_args

from llamafactory_gaze.data.fixations import read_fixations
from llamafactory_gaze.data.folders import building_beside, refuse_others_files, replace_folder
from llamafactory_gaze.data.maps.files import Track, file_of, write_maps
from llamafactory_gaze.data.maps.geometry import Size
from llamafactory_gaze.data.maps.options import MapOptions, MapsOf
from llamafactory_gaze.data.maps.plan import Plan, PlannedMap, check_names, plan_maps
from llamafactory_gaze.data.photographs import photograph_size
from llamafactory_gaze.data.provenance import file_sha256, versions
from llamafactory_gaze.data.tables import DataError


MADE_BY = "llamafactory-gaze heatmaps"


@dataclass(frozen=True)
class HeatmapOptions:
    """What `llamafactory-gaze heatmaps` is asked for; its --help explains each."""

    fixations: Path
    output: Path
    making: MapOptions
    image_size: Size | None = None
    images: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    jobs: int = 1


def make_heatmaps(options: HeatmapOptions, track: Track = lambda items, _: items) -> dict[str, Any]:
    """Write one 16-bit PNG per map and `maps.json` into the output folder, all or nothing.

    Everything is made in a hidden folder beside it and moved into place at the end. Equal inputs give equal bytes,
    with any number of jobs.

    Returns:
        what stands in `maps.json`.

    Raises:
        DataError: bad input or options, or an output folder with files that this command did not make.
    """
    _check(options)
    plan = plan_maps(read_fixations(options.fixations, options.columns), partial(_image_size, options), options.making)
    check_names(plan.maps)
    made = [one for one in plan.maps if len(one.rows)]
    counts = plan.counts(made)
    if not made:
        raise DataError(f"No fixation of {options.fixations} is left for a map: {_in_words(counts)}.")
    report = _report(options, plan, made, counts)

    output = options.output.resolve()
    with building_beside(output) as building:
        write_maps(building, {one.name: partial(file_of, plan, one) for one in made}, options.jobs, track)
        text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
        (building / "maps.json").write_text(text, encoding="utf-8")
        replace_folder(building, output)
    return report


def read_report(folder: Path) -> dict[str, Any] | None:
    """What `maps.json` of a folder says; None where there is none.

    Raises:
        DataError: it is there, but not as this command writes it.
    """
    path = folder / "maps.json"
    if not path.exists():
        return None
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        if report["made_by"] != MADE_BY or report["settings"]["maps"] not in get_args(MapsOf):
            raise ValueError("made by something else")
        texts = [*(report["fixations"][key] for key in ("file", "sha256")), *(one["map"] for one in report["maps"])]
        numbers = [one["participants"] for one in report["maps"]]
        if not all(isinstance(text, str) for text in texts) or not all(isinstance(n, int) for n in numbers):
            raise ValueError("unknown contents")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} cannot be used ({type(error).__name__}: {error}); expected the file that `{MADE_BY}` writes."
        ) from error
    return report


def _check(options: HeatmapOptions) -> None:
    options.making.check()
    if options.image_size is not None and options.images is not None:
        raise DataError("--image-size and --images both say how large the images are; give one of them.")
    if options.making.screen is None and options.image_size is None and options.images is None:
        raise DataError("The size of the images is missing; give --image-size, --images or --screen.")
    _check_output(options.output)


def _check_output(output: Path) -> None:
    """Refuse an output folder that this command would not wholly replace by its own."""
    try:
        report = read_report(output)
    except DataError:
        report = None
    own = {"maps.json", *(one["map"] for one in report["maps"])} if report else set()
    refuse_others_files(output, own.__contains__)


def _image_size(options: HeatmapOptions, image: str, where: str) -> Size:
    if options.images is not None:
        return photograph_size(options.images, image, where, decode=False)
    if options.image_size is not None:
        return options.image_size
    assert options.making.screen is not None  # _check
    return options.making.screen.size


def _report(options: HeatmapOptions, plan: Plan, made: list[PlannedMap], counts: dict[str, int]) -> dict[str, Any]:
    """What `maps.json` says; without times and folders, so that equal inputs give equal bytes."""
    digest = file_sha256(options.fixations)
    return {
        "made_by": MADE_BY,
        "versions": versions(),
        "fixations": {"file": options.fixations.name, "sha256": digest, "columns": dict(options.columns)},
        "settings": options.making.settings(),
        "counts": counts,
        "maps": [
            _named(one)
            | {
                "image_size": plan.views[one.image].image,
                "map_size": plan.views[one.image].map,
                "sigma_map_px": plan.views[one.image].sigma,
                "fixations": len(one.rows),
                "participants": plan.participants(one),
            }
            for one in made
        ],
        "without_fixations": [_named(one) for one in plan.maps if not len(one.rows)],
    }


def _named(one: PlannedMap) -> dict[str, str]:
    named = {"map": one.name, "image": one.image, "participant": one.participant, "trial": one.trial}
    return {key: value for key, value in named.items() if value is not None}


def _in_words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in counts.items() if number)


def summary(report: Mapping[str, Any], output: Path) -> str:
    """What the command says at its end."""
    lines = [f"{len(report['maps'])} maps in {output}. Fixations: {_in_words(report['counts'])}."]
    missing = [one["map"] for one in report["without_fixations"]]
    if missing:
        more = f" and {len(missing) - 10} more (see maps.json)" if len(missing) > 10 else ""
        lines.append(f"No fixation is left for {', '.join(missing[:10])}{more}: not written.")
    return "\n".join(lines)
