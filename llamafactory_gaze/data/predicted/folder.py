"""A folder of labelled maps of many photographs, with `sources.json` that says what each was made of."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llamafactory_gaze.data.folders import remove_partial_files
from llamafactory_gaze.data.maps.files import Track
from llamafactory_gaze.data.predicted.photograph import Photograph, find_photographs
from llamafactory_gaze.data.predicted.preview import check_preview, draw_preview
from llamafactory_gaze.data.predicted.source import MADE_BY, NoMap, Source, full_label, predict_map
from llamafactory_gaze.data.registry import write_atomically
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.saliency.label import read_label, source_in_words
from llamafactory_gaze.saliency.maps import SaliencyMapError


MANIFEST = "sources.json"
_SHOWN = 10  # images without a map that are named on the screen


@dataclass(frozen=True)
class Options:
    """What `llamafactory-gaze predict-map` is asked for beside the source; its --help explains each."""

    images: Sequence[Path]
    output: Path
    longest_side: int | None = None
    preview: Path | None = None
    overwrite: bool = False


@dataclass
class Report:
    """What became of the photographs: those whose map was made or found, and why the others have none."""

    made: list[Photograph] = field(default_factory=list)
    kept: list[Photograph] = field(default_factory=list)
    without: dict[str, str] = field(default_factory=dict)  # name -> reason
    label: dict[str, Any] = field(default_factory=dict)  # of one of the maps


def predict_maps(options: Options, open_source: Callable[[], Source], track: Track = lambda items, _: items) -> Report:
    """Write the map of each photograph as a 16-bit PNG with its label, and `sources.json`.

    Each file appears whole or not at all, and a map that is there and says what this call would make is kept, so that a
    call after a kill goes on. `sources.json` is written last and lists all labelled maps of the folder.

    Args:
        open_source: called once, after the images and the output were checked.

    Raises:
        DataError: images, source or output that cannot be used; nothing is written where the output holds another map
            of the same name. Also where no photograph gets a map.
    """
    photographs = find_photographs(options.images)
    _check_output(options)
    source = open_source()
    report = Report()
    todo = [one for one in photographs if not _is_kept(one, source, options, report)]
    for folder in {options.output, *(path.parent for path in options.output.rglob(".*"))}:
        remove_partial_files(folder)
    (options.output / MANIFEST).unlink(missing_ok=True)  # none of a folder that is not finished
    for photograph in track(todo, "Making maps"):
        try:
            made = predict_map(photograph, source, options.longest_side)
        except NoMap as error:
            report.without[photograph.name] = str(error)
            continue
        path = options.output / photograph.map_name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, made.png())
        report.made.append(photograph)
        report.label = made.label
    if not report.made and not report.kept:
        name, reason = next(iter(report.without.items()))
        raise DataError(f"None of {len(photographs)} images gets a map; {name}, for instance: {reason}.")
    write_atomically(options.output / MANIFEST, _manifest(options.output, report.without).encode())
    if options.preview is not None:
        draw_preview(options.preview, [*report.kept, *report.made], options.output, source_in_words(report.label))
    return report


def summary(report: Report, output: Path) -> str:
    """What the command says at its end."""
    kept = f" and {len(report.kept)} kept that were there" if report.kept else ""
    library = f" ({report.label['library']})" if report.label["library"] else ""
    lines = [
        f"{len(report.made)} map{'s' * (len(report.made) != 1)} made{kept} in {output}.",
        f"Source: {source_in_words(report.label)}{library}; each map and {MANIFEST} say so. None is of an eye tracker.",
    ]
    reasons = list(report.without.items())
    lines += [f"No map of {name}: {reason}." for name, reason in reasons[:_SHOWN]]
    if len(reasons) > _SHOWN:
        lines.append(f"No map of {len(reasons) - _SHOWN} more (see {MANIFEST}).")
    return "\n".join(lines)


def _check_output(options: Options) -> None:
    output = options.output
    if output.exists() and not output.is_dir():
        raise DataError(f"--output {output} is a file; name a folder.")
    if (output / "maps.json").exists():
        raise DataError(f"--output {output} holds maps of fixations (maps.json); name another, so that none are mixed.")
    if options.preview is not None:
        check_preview(options.preview, output)


def _is_kept(photograph: Photograph, source: Source, options: Options, report: Report) -> bool:
    """Whether the map is there already, and says what this call would make.

    Raises:
        DataError: another file stands in its place, and may not be replaced.
    """
    path = options.output / photograph.map_name
    if not path.exists():
        return False
    if path.resolve() == photograph.path.resolve():
        raise DataError(f"The map of {photograph.path} would replace it; name another --output.")
    if options.overwrite and not path.is_file():
        raise DataError(f"{path} is no file; name another --output.")
    try:
        found = read_label(path)
        expected = full_label(photograph, source, options.longest_side)
    except NoMap:
        return False
    except SaliencyMapError as error:
        if options.overwrite:
            return False
        raise DataError(str(error)) from error
    if found == expected:
        report.kept.append(photograph)
        report.label = expected
        return True
    if not options.overwrite:
        raise DataError(
            f"{path} is there and {_difference(found, expected)}; name another --output, or replace it by --overwrite."
        )
    return False


def _difference(found: Mapping[str, Any] | None, expected: Mapping[str, Any]) -> str:
    if found is None:
        return "does not say what it was made of, so that it may be of an eye tracker"
    key = next(key for key in (*expected, *found) if found.get(key) != expected.get(key))
    said, asked = (json.dumps(label.get(key), ensure_ascii=False) for label in (found, expected))
    return f"says {key}: {said}, where this call makes {asked}"


def _manifest(output: Path, without: Mapping[str, str]) -> str:
    """What the maps of the folder say, also those of earlier calls, sorted by name."""
    maps = []
    for path in sorted(output.rglob("*.png")):
        try:
            label = read_label(path)
        except SaliencyMapError:
            continue  # none of this command's maps
        if label is not None and str(label.get("made_by", "")).startswith(MADE_BY):
            maps.append({"map": path.relative_to(output).as_posix(), **label})
    content = {"made_by": MADE_BY, "maps": maps, "without_map": dict(sorted(without.items()))}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
