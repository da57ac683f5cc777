"""A folder of saliency maps from a table of fixations, with `maps.json` that says how they were made."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from uuid import uuid4

import numpy as np
from PIL import ExifTags, Image

from llamafactory_gaze.data.fixations import require_durations
from llamafactory_gaze.data.geometry import PAPER_SCREEN, Placement, Screen, Size, map_size, place, rescale
from llamafactory_gaze.data.heatmap_input import Recording, read_recording
from llamafactory_gaze.data.heatmaps import encode_map, fixation_heatmap
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.saliency.maps import MAX_MAP_PIXELS


MADE_BY = "llamafactory-gaze heatmaps"
Track = Callable[[Iterable[Any], int], Iterable[Any]]  # shows progress while something of known length is gone through


@dataclass(frozen=True)
class HeatmapOptions:
    """What `llamafactory-gaze heatmaps` is asked for; its --help explains each."""

    fixations: Path
    output: Path
    image_size: Size | None = None
    images: Path | None = None
    screen: Screen | None = None
    placement: str | None = None
    sigma_px: float | None = None
    sigma_deg: float | None = None
    weight: Literal["duration", "count"] = "duration"
    participants: Literal["pooled", "equal"] = "pooled"
    drop_first: bool = False
    min_duration: float = 0.0
    maps: Literal["image", "participant", "leave-one-out", "trial"] = "image"
    longest_side: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    jobs: int = 1


@dataclass(frozen=True)
class _Map:
    """One map to make, of the fixations `rows` of the recording."""

    name: str  # path in the output folder
    image: str
    participant: str | None
    trial: str | None
    rows: np.ndarray  # (k,) int


@dataclass(frozen=True)
class _View:
    """How an image is seen by its map."""

    image: Size
    size: Size  # of the map
    sigma_px: tuple[float, float]  # in pixels of the map, along x and y


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
    recording = read_recording(options.fixations, options.columns)
    if options.weight == "duration" or options.min_duration > 0:
        require_durations(options.fixations, recording.duration_ms)
    views, x, y, on_image = _locate(recording, options)
    kept, counts = _select(recording, on_image, options)
    weight = recording.duration_ms if options.weight == "duration" else np.ones(len(recording))
    maps = list(_plan(recording, kept & (weight > 0), options))
    _check_names(maps)
    made = [one for one in maps if len(one.rows)]
    if not made:
        raise DataError(f"No fixation of {options.fixations} is left for a map: {_in_words(counts)}.")
    report = _report(options, recording, views, made, maps, counts)

    output = options.output.resolve()
    output.parent.mkdir(parents=True, exist_ok=True)
    building = output.with_name(f".{output.name}.building-{uuid4().hex[:8]}")

    def write(one: _Map) -> None:
        view, rows = views[one.image], one.rows
        at_x = rescale(x[rows], view.image[0], view.size[0])
        at_y = rescale(y[rows], view.image[1], view.size[1])
        amount = _equal(weight[rows], recording.participant[rows]) if options.participants == "equal" else weight[rows]
        path = building / one.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_map(fixation_heatmap(at_x, at_y, amount, view.size, view.sigma_px)))

    try:
        # Threads are enough: the matrix product, the exponentials and the compression all release Python's lock.
        with ThreadPoolExecutor(options.jobs) as pool:
            try:
                for _ in track(pool.map(write, made), len(made)):
                    pass
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
        (building / "maps.json").write_text(text, encoding="utf-8")
        _move_into_place(building, output)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return report


def _check(options: HeatmapOptions) -> None:
    if options.sigma_px is not None and options.sigma_deg is not None:
        raise DataError("--sigma-px and --sigma-deg both set the Gaussian's width; give one of them.")
    if options.screen is None:
        for name, value in (("--sigma-deg", options.sigma_deg), ("--placement", options.placement)):
            if value is not None:
                raise DataError(f"{name} needs --screen: the size of the screen and the distance to it.")
        if options.sigma_px is None:
            raise DataError("The Gaussian's width is missing; give --sigma-px, or --screen (then it is 1 degree).")
        if options.image_size is None and options.images is None:
            raise DataError("The size of the images is missing; give --image-size, --images or --screen.")
    if options.image_size is not None and options.images is not None:
        raise DataError("--image-size and --images both say how large the images are; give one of them.")
    _check_output(options.output)


def _check_output(output: Path) -> None:
    """Refuse an output folder that this command would not wholly replace by its own."""
    if not output.exists():
        return
    if not output.is_dir():
        raise DataError(f"--output {output} is a file; name a folder.")
    files = {path.relative_to(output).as_posix() for path in output.rglob("*") if not path.is_dir()}
    try:
        report = json.loads((output / "maps.json").read_text(encoding="utf-8"))
        own = {"maps.json", *(one["map"] for one in report["maps"])} if report["made_by"] == MADE_BY else set()
    except (OSError, ValueError, KeyError, TypeError):
        own = set()
    if files - own:
        raise DataError(f"--output {output} holds {min(files - own)}, which this command did not make; name another.")


def _locate(
    recording: Recording, options: HeatmapOptions
) -> tuple[dict[str, _View], np.ndarray, np.ndarray, np.ndarray]:
    """The view of each image; x and y (n,) of all fixations in pixels of their image; and which lie on it (n,) bool."""
    views: dict[str, _View] = {}
    x, y = recording.x.copy(), recording.y.copy()
    on_image = np.zeros(len(recording), dtype=bool)
    names, first_rows, inverse = np.unique(recording.image, return_index=True, return_inverse=True)
    by_image = np.split(np.argsort(inverse, kind="stable"), np.cumsum(np.bincount(inverse))[:-1])
    for name, first_row, rows in zip(names.tolist(), first_rows, by_image, strict=True):
        size = _image_size(name, recording.table.at(int(first_row)), options)
        placement = _placement(size, options)
        if placement is not None:
            x[rows], y[rows] = placement.to_image(x[rows], y[rows], size)
        on_image[rows] = (x[rows] >= -0.5) & (x[rows] <= size[0] - 0.5) & (y[rows] >= -0.5) & (y[rows] <= size[1] - 0.5)
        views[name] = _view(name, size, placement, options)
    return views, x, y, on_image


def _image_size(image: str, where: str, options: HeatmapOptions) -> Size:
    if options.images is None:
        size = options.image_size or (options.screen or PAPER_SCREEN).size
    else:
        path = options.images / image
        if not path.is_file():
            raise DataError(f"{where}: the image {image} is not in {options.images}.")
        try:
            with Image.open(path) as opened:
                size, orientation = opened.size, opened.getexif().get(ExifTags.Base.Orientation, 1)
        except Exception as error:  # PIL's decoders raise nearly anything on a damaged file
            raise DataError(f"{where}: the image {path} cannot be read ({type(error).__name__}: {error}).") from error
        if orientation != 1:
            raise DataError(
                f"{where}: the image {path} is stored turned (EXIF orientation {orientation}), so the place of its "
                "fixations is ambiguous; save it the way that the participants saw it, without that tag."
            )
    if size[0] * size[1] > MAX_MAP_PIXELS:
        raise DataError(f"{where}: the image has {size[0]}x{size[1]} pixels; expected at most {MAX_MAP_PIXELS}.")
    return size


def _placement(size: Size, options: HeatmapOptions) -> Placement | None:
    """Where the image stands on the screen; None where the fixations are in pixels of the image already."""
    if options.screen is None:
        return None
    if options.placement is None and size != options.screen.size:
        raise DataError(
            f"An image has {size[0]}x{size[1]} pixels and the screen {options.screen.size[0]}x"
            f"{options.screen.size[1]}; say by --placement center, fill or X,Y,WIDTH,HEIGHT where it stood."
        )
    return place(options.placement or "center", size, options.screen)


def _view(image: str, size: Size, placement: Placement | None, options: HeatmapOptions) -> _View:
    of_map = map_size(size, options.longest_side)
    if of_map[0] * of_map[1] > MAX_MAP_PIXELS:
        raise DataError(f"--longest-side asks for a map of {of_map[0]}x{of_map[1]} pixels; at most {MAX_MAP_PIXELS}.")
    if options.sigma_px is None:
        assert options.screen is not None and placement is not None  # _check
        on_screen = (1.0 if options.sigma_deg is None else options.sigma_deg) * options.screen.pixels_per_degree
        sigma = on_screen * of_map[0] / placement.width, on_screen * of_map[1] / placement.height
    else:
        sigma = options.sigma_px * of_map[0] / size[0], options.sigma_px * of_map[1] / size[1]
    if not (min(sigma) >= 1 and np.isfinite(sigma).all()):
        raise DataError(
            f"The Gaussian's width is {min(sigma):.3g} pixels of the map of {image}; expected at least 1: a wider "
            "Gaussian or a larger map."
        )
    return _View(size, of_map, sigma)


def _select(recording: Recording, on_image: np.ndarray, options: HeatmapOptions) -> tuple[np.ndarray, dict[str, int]]:
    """Which fixations (n,) may be in a map, and how many are not, each under the first reason that holds."""
    first = recording.first() if options.drop_first else np.zeros(len(recording), dtype=bool)
    short = ~first & (recording.duration_ms < options.min_duration)
    outside = ~first & ~short & ~on_image
    counts = {
        "read": len(recording),
        "first_dropped": int(first.sum()),
        "too_short": int(short.sum()),
        "off_image": int(outside.sum()),
    }
    return ~(first | short | outside), counts


def _plan(recording: Recording, kept: np.ndarray, options: HeatmapOptions) -> Iterator[_Map]:
    """All maps in the order of the images' names, also those for which no fixation is kept."""
    if options.maps == "trial" and recording.trial is None:
        raise DataError(f"{options.fixations} lacks the column trial, which --maps trial needs.")
    for image in np.unique(recording.image).tolist():
        stem = str(PurePosixPath(image).with_suffix(""))
        rows = np.flatnonzero(recording.image == image)
        if options.maps == "image":
            yield _Map(f"{stem}.png", image, None, None, rows[kept[rows]])
            continue
        for participant in np.unique(recording.participant[rows]).tolist():
            is_own = recording.participant[rows] == participant
            own = rows[is_own]
            if options.maps == "participant":
                yield _Map(f"{stem}_{participant}.png", image, participant, None, own[kept[own]])
            elif options.maps == "leave-one-out":
                others = rows[~is_own]
                yield _Map(f"{stem}_without_{participant}.png", image, participant, None, others[kept[others]])
            elif recording.trial is not None:
                for trial in np.unique(recording.trial[own]).tolist():
                    of_trial = own[recording.trial[own] == trial]
                    name = f"{stem}_{participant}_{trial}.png"
                    yield _Map(name, image, participant, trial, of_trial[kept[of_trial]])


def _check_names(maps: Iterable[_Map]) -> None:
    first: dict[str, _Map] = {}
    for one in maps:
        same = first.setdefault(one.name.casefold(), one)  # some file systems do not tell a from A
        if same is not one:
            raise DataError(
                f"The maps of {same.image} and {one.image} would both be named {one.name}; expected names of images "
                "(and participants and trials) that differ in more than the ending and capitals."
            )


def _equal(weight: np.ndarray, participant: np.ndarray) -> np.ndarray:
    """Scale the weights (k,), all above 0, so that those of each participant add up to 1."""
    _, inverse = np.unique(participant, return_inverse=True)
    return weight / np.bincount(inverse, weights=weight)[inverse]


def _report(
    options: HeatmapOptions,
    recording: Recording,
    views: Mapping[str, _View],
    made: list[_Map],
    maps: list[_Map],
    counts: dict[str, int],
) -> dict[str, Any]:
    """What `maps.json` says; without times and folders, so that equal inputs give equal bytes."""
    used = len(np.unique(np.concatenate([one.rows for one in made])))
    counts = counts | {"in_no_map": counts["read"] - sum(list(counts.values())[1:]) - used, "used": used}
    sigma_deg = options.sigma_deg if options.sigma_px is not None or options.sigma_deg is not None else 1.0
    screen = options.screen and asdict(options.screen) | {"pixels_per_degree": options.screen.pixels_per_degree}
    with options.fixations.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    packages = ("llamafactory-gaze", "numpy", "pillow")
    return {
        "made_by": MADE_BY,
        "versions": {name: metadata.version(name) for name in packages} | {"python": platform.python_version()},
        "fixations": {"file": options.fixations.name, "sha256": digest, "columns": dict(options.columns)},
        "settings": {
            "screen": screen,
            "placement": options.placement,
            "sigma_px": options.sigma_px,
            "sigma_deg": sigma_deg,
            "weight": options.weight,
            "participants": options.participants,
            "drop_first": options.drop_first,
            "min_duration_ms": options.min_duration,
            "maps": options.maps,
            "longest_side": options.longest_side,
        },
        "counts": counts,
        "maps": [
            _named(one)
            | {
                "image_size": views[one.image].image,
                "map_size": views[one.image].size,
                "sigma_map_px": views[one.image].sigma_px,
                "fixations": len(one.rows),
                "participants": len(np.unique(recording.participant[one.rows])),
            }
            for one in made
        ],
        "without_fixations": [_named(one) for one in maps if not len(one.rows)],
    }


def _named(one: _Map) -> dict[str, str]:
    named = {"map": one.name, "image": one.image, "participant": one.participant, "trial": one.trial}
    return {key: value for key, value in named.items() if value is not None}


def _in_words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in counts.items())


def summary(report: Mapping[str, Any], output: Path) -> str:
    """What the command says at its end."""
    lines = [f"{len(report['maps'])} maps in {output}. Fixations: {_in_words(report['counts'])}."]
    missing = [one["map"] for one in report["without_fixations"]]
    if missing:
        more = f" and {len(missing) - 10} more (see maps.json)" if len(missing) > 10 else ""
        lines.append(f"No fixation is left for {', '.join(missing[:10])}{more}: not written.")
    return "\n".join(lines)


def _move_into_place(building: Path, output: Path) -> None:
    """Replace the output folder by the finished one; where that fails, put the former folder back."""
    former = output.with_name(f".{output.name}.former-{uuid4().hex[:8]}")
    replaces = output.exists()
    if replaces:
        os.rename(output, former)
    try:
        os.rename(building, output)
    except BaseException:
        if replaces:
            os.rename(former, output)
        raise
    if replaces:
        shutil.rmtree(former)
