"""Checks of a row's videos: their files or frames, and their lists of maps, one for each bin of time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from llamafactory_gaze.data.validation.files import Inspector, Key, RowFiles
from llamafactory_gaze.data.validation.problems import Finding


@dataclass(frozen=True, slots=True)
class Clip:
    """A video: its file or its frames, and its maps; of those that can be read."""

    file: Key | None
    frames: tuple[Key, ...]
    maps: tuple[Key, ...]

    @property
    def pairs(self) -> list[tuple[Key, Key]]:
        """The maps, each with what says how large the video is."""
        shown = self.file or next(iter(self.frames), None)
        return [] if shown is None else [(shown, saliency) for saliency in self.maps]


def scan_videos(videos: Sequence[Any], maps: Any, files: RowFiles) -> list[Clip]:
    """Hand the videos of a row to the inspector, with their entries of `video_saliencies`."""
    lists = maps if isinstance(maps, list) and len(maps) == len(videos) else [None] * len(videos)
    return [_clip(video, of_video, files) for video, of_video in zip(videos, lists, strict=True)]


def _clip(video: Any, maps: Any, files: RowFiles) -> Clip:
    file, frames = None, []
    if isinstance(video, str):
        file = files.key(video, "video")
    elif isinstance(video, list) and video and all(isinstance(path, str) for path in video):
        frames = [key for path in video if (key := files.key(path, "image"))]
    else:
        message = f"a video is {video!r:.60}, expected the path of a file, or a list of the paths of its frames."
        files.findings.append(Finding("path", message))
    return Clip(file, tuple(frames), tuple(_maps(maps, files)))


def _maps(maps: Any, files: RowFiles) -> Iterator[Key]:
    if maps is None:
        return
    if not isinstance(maps, list) or not maps or None in maps:
        files.findings.append(
            Finding(
                "map-count",
                "the maps of a video are no list, none, or null among others; expected one for each bin of time (black "
                "where nobody looked), or null for a video without maps.",
            )
        )
        return
    yield from (key for saliency in maps if (key := files.key(saliency, "video-map")))


def check_frames(frames: Iterable[Key], inspector: Inspector) -> Iterator[Finding]:
    """The frames of a video have one size."""
    sizes = {inspector.name(frame): size for frame in frames if (size := inspector.facts(frame).size)}
    for name, size in sizes.items():
        first = next(iter(sizes.values()))
        if size != first:
            yield Finding(
                "frame-size",
                f"frame {name} is {size[0]}x{size[1]} pixels large, but the first frame of its video "
                f"{first[0]}x{first[1]}, expected frames of one size; save them again.",
            )
            return
