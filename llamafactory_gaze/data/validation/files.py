"""Checks of image, map and video files: each distinct one is read once, several at a time, and forgotten again.

Images and maps are decoded; of a video only the header is read.
"""

from __future__ import annotations

import hashlib
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from llamafactory_gaze.data.media import frame_size
from llamafactory_gaze.data.provenance import file_sha256
from llamafactory_gaze.data.validation.problems import Finding
from llamafactory_gaze.saliency.label import map_source
from llamafactory_gaze.saliency.maps import SaliencyMapError, probe_saliency_map, read_saliency_map
from llamafactory_gaze.saliency.opening import depth_problem, open_picture


Key = tuple[str, str]  # of a file in the inspector: its role, and its path or hash

MAX_FILE_BYTES = 2**28
MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS or 2**26  # above which PIL warns of a decompression bomb
THUMBNAIL = 12  # sides in pixels

_SATURATED = 0.25  # share of a map's pixels that are white
_DIM = 0.5  # maximum of a map below which most of the range is unused
_EIGHT_BITS = 255 / 65535  # the maximum of 8-bit values in a 16-bit file


@dataclass(frozen=True)
class Facts:
    """What is kept of a file."""

    findings: tuple[Finding, ...] = ()
    size: tuple[int, int] | None = None  # (width, height) in pixels, where it can be read
    digest: str = ""  # SHA-256 of the file, if it was read
    source: str | None = None  # of a map: what it was made of, where it says that this is no eye tracker
    thumbnail: bytes = b""  # of an image: THUMBNAIL x THUMBNAIL pixels, RGB


def inspect_image(content: bytes, name: str) -> Facts:
    """Decode an image and say what is wrong with it."""
    digest = hashlib.sha256(content).hexdigest()
    try:
        with open_picture(content) as image:
            if image.width * image.height > MAX_IMAGE_PIXELS:
                raise Image.DecompressionBombError
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
            findings = (*check_orientation(orientation, name), *check_depth(image.mode, name))
            image.load()
            small = image.convert("RGB").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
            return Facts(findings, image.size, digest, thumbnail=small.tobytes())
    except Image.DecompressionBombError:
        message = f"image {name} has more than {MAX_IMAGE_PIXELS} pixels, which may be an attack; save it smaller."
        return Facts((Finding("image-too-large", message),), None, digest)
    except Exception as error:  # PIL's decoders raise nearly anything on a damaged file
        message = f"image {name} cannot be decoded ({type(error).__name__}: {error}); write the file again."
        return Facts((Finding("image-broken", message),), None, digest)


def inspect_map(content: bytes, name: str) -> Facts:
    """Decode a saliency map and say what is wrong with it."""
    digest = hashlib.sha256(content).hexdigest()
    source = {"bytes": content, "path": name}
    try:
        size = probe_saliency_map(source)
        findings = tuple(check_range(read_saliency_map(source), name))
        return Facts(findings, size, digest, source=map_source(source))
    except SaliencyMapError as error:
        return Facts((Finding("map-unusable", _uncapitalised(str(error))),), None, digest)


def inspect_video_map(content: bytes, name: str) -> Facts:
    """As `inspect_map`, but for a map of a bin of time, in which nobody may have looked."""
    facts = inspect_map(content, name)
    return replace(facts, findings=tuple(finding for finding in facts.findings if finding.kind != "map-black"))


def inspect_video(path: str, name: str) -> Facts:
    """Read the header of a video file."""
    digest = file_sha256(Path(path))
    try:
        return Facts((), frame_size(path), digest)
    except ValueError as error:
        message = f"video {name} cannot be used: {str(error).rstrip('.')}; convert it, or name a list of its frames."
        return Facts((Finding("video-broken", message),), None, digest)


def check_orientation(orientation: int, name: str) -> Iterator[Finding]:
    """An image viewer turns such an image, LLaMA-Factory does not: the map may lie across it."""
    if orientation != 1:
        yield Finding(
            "image-turned",
            f"image {name} is stored turned (EXIF orientation {orientation}), so that it is ambiguous where its map "
            "lies; save it the way that the participants saw it, without that tag.",
        )


def check_depth(mode: str, name: str) -> Iterator[Finding]:
    """Of such an image a training would see white."""
    if problem := depth_problem(mode):
        yield Finding("image-depth", f"image {name} {problem}")


def check_range(saliency: np.ndarray, name: str) -> Iterator[Finding]:
    """Values (H, W) in [0, 1] that no map of fixations has."""
    low, high = float(saliency.min()), float(saliency.max())
    if high == 0:
        yield Finding("map-black", f"map {name} is all black: nobody looked anywhere; write null for no map.")
    elif low == high:
        yield Finding("map-constant", f"map {name} is {high:.3g} everywhere and tells nothing; make it again.")
    elif high == 1 and (white := float((saliency == 1).mean())) > _SATURATED:
        yield Finding(
            "map-clipped",
            f"map {name} is white on {white:.0%} of its pixels, expected a few at its maximum: it was probably "
            "scaled too far and clipped.",
            warning=True,
        )
    elif high <= _EIGHT_BITS:
        yield Finding(
            "map-eight-bits",
            f"map {name} has the maximum {high:.4f}: these are 8-bit values in a 16-bit file, nearly black; save it "
            "with 8 bits, or times 257.",
        )
    elif high < _DIM:
        yield Finding(
            "map-dim",
            f"map {name} has the maximum {high:.3g}, and values are used as they are; expected a maximum of 1, unless "
            "the maps are scaled together on purpose.",
            warning=True,
        )


class Locator:
    """Finds the files that rows name, as LLaMA-Factory does, and sees that they stay inside the media folder."""

    def __init__(self, media_dir: Path):
        self.media_dir = media_dir
        self._root = os.path.realpath(media_dir)
        self._known: dict[tuple[str, str], tuple[str | None, tuple[Finding, ...]]] = {}

    def __call__(self, role: str, path: str) -> tuple[str | None, tuple[Finding, ...]]:
        """The real path of a file, None if there is none to read, and what is wrong with its name and place."""
        if (role, path) not in self._known:
            self._known[role, path] = self._locate(role, path)
        return self._known[role, path]

    def _locate(self, what: str, path: str) -> tuple[str | None, tuple[Finding, ...]]:
        here = f"expected a path relative to {self.media_dir}, inside of it"
        if "\0" in path or not path:
            return None, (Finding("path", f"the path of the {what} is {path!r}, {here}."),)
        real = os.path.realpath(os.path.join(self._root, path))
        findings = []
        if os.path.isabs(path) or path[1:3] in (":\\", ":/"):
            findings.append(Finding("path-absolute", f"{what} {path} is an absolute path, {here}; copy the file."))
        elif ".." in path.replace("\\", "/").split("/"):
            findings.append(Finding("path-outside", f"{what} {path} has '..' in its path, {here}; copy the file."))
        elif os.path.commonpath([real, self._root]) != self._root:
            findings.append(Finding("path-link", f"{what} {path} is a link to {real}, {here}; copy the file instead."))
        if "#saliency=" in path:
            findings.append(
                Finding("path-reserved", f"the name {path} contains '#saliency=', which is reserved; rename the file.")
            )
        if not os.path.isfile(real):
            findings.append(
                Finding(
                    "missing-file", f"{what} {path} does not exist in {self.media_dir}; add it, or correct the path."
                )
            )
            return None, tuple(findings)
        return real, tuple(findings)


@dataclass
class RowFiles:
    """Hands the files of one row to the inspector, and keeps what is wrong with their names and places."""

    locate: Locator
    inspector: Inspector
    findings: list[Finding] = field(default_factory=list)
    bad_paths: list[Key] = field(default_factory=list)  # role and path of those with a fault that all rows share

    def key(self, entry: Any, role: str) -> Key | None:
        """Args:
        entry: a path, bytes, {"bytes", "path"}, or null.
        role: image, map, video-map or video.
        """
        path = None
        if isinstance(entry, Mapping):
            path, entry = entry.get("path"), entry.get("bytes") or entry.get("path")
        if isinstance(entry, bytes):
            return self.inspector.embedded(role, entry, path or f"(embedded, {len(entry)} bytes)")
        if isinstance(entry, str):
            real, faults = self.locate(role, entry)
            if faults:
                self.bad_paths.append((role, entry))
            return None if real is None else self.inspector.file(role, real, entry)
        if entry is not None or role == "image":
            found = "null" if entry is None else f"a {type(entry).__name__}"
            message = f"an entry of the {role}s is {found}, expected a path or embedded bytes."
            self.findings.append(Finding("path", message))
        return None


class Inspector:
    """Inspects files in threads; the decoders, hashing and numpy release Python's lock.

    `file` and `embedded` return a key under which `facts` holds the result. Each distinct content is inspected once in
    each of its roles, and at most two jobs per thread wait, so that embedded pictures do not pile up.
    """

    def __init__(self, jobs: int):
        self._pool = ThreadPoolExecutor(jobs)
        self._room = threading.Semaphore(2 * jobs)
        self._futures: dict[Key, Future[Facts]] = {}
        self._names: dict[Key, str] = {}
        self._warnings = warnings.catch_warnings()

    def __enter__(self) -> Inspector:
        self._warnings.__enter__()
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `inspect_image` says it itself
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._warnings.__exit__(None, None, None)

    def file(self, role: str, real: str, name: str) -> Key:
        key = (role, real)
        if key not in self._futures:
            self._submit(key, name, _inspect_file, role, real, name)
        return key

    def embedded(self, role: str, content: bytes, name: str) -> Key:
        key = (role, "sha256:" + hashlib.sha256(content).hexdigest())
        if key not in self._futures:
            self._submit(key, name, _INSPECT[role], content, name)
        return key

    def facts(self, key: Key) -> Facts:
        return self._futures[key].result()

    def name(self, key: Key) -> str:
        """The name of a file as the first row that uses it has it."""
        return self._names[key]

    def __len__(self) -> int:
        return len(self._futures)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._futures)

    def _submit(self, key: Key, name: str, function: Callable[..., Facts], *arguments: Any) -> None:
        self._room.acquire()
        future = self._pool.submit(function, *arguments)
        future.add_done_callback(lambda _: self._room.release())
        self._futures[key] = future
        self._names[key] = name


_INSPECT: Mapping[str, Callable[[bytes, str], Facts]] = {
    "image": inspect_image,
    "map": inspect_map,
    "video-map": inspect_video_map,
}


def _inspect_file(role: str, real: str, name: str) -> Facts:
    try:
        if role == "video":
            return inspect_video(real, name)
        size = os.path.getsize(real)
        if size > MAX_FILE_BYTES:
            message = f"{role} {name} has {size} bytes, expected at most {MAX_FILE_BYTES}; save it smaller."
            return Facts((Finding(f"{role}-too-large", message),))
        return _INSPECT[role](Path(real).read_bytes(), name)
    except OSError as error:
        return Facts((Finding("unreadable-file", f"{role} {name} cannot be read ({error}); see its permissions."),))


def _uncapitalised(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:].rstrip(".") + "."
