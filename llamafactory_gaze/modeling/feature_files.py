"""What the tower makes of images before gaze comes in, in files: for many images, and for the next run.

One safetensors file for each image, which is mapped into memory when it is read. Several processes may share a folder.
"""

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from llamafactory_gaze.data.registry import write_atomically


logger = logging.getLogger(__name__)
_ENDING = ".features.safetensors"


class FeatureFiles:
    """A folder of features with a limit to its size.

    Args:
        folder: is made when the first features come.
        gigabytes: when its files take more, those that were not asked for the longest go.
        made_by: tells, in any text, all that the features depend on besides the image: weights, kernels, versions.
    """

    def __init__(self, folder: Path, gigabytes: float, made_by: Callable[[], str]) -> None:
        self.folder = folder
        self.limit = int(gigabytes * 1e9)
        self._made_by = made_by
        self._maker: str | None = None
        self._writable = True

    def get(self, image: Any) -> Tensor | None:
        """The features of an image, (patches, d_vit) on the CPU, or None; `image` is its key in `ImageCache`."""
        path = self._path(image)
        try:
            features = load_file(path)["features"]
            _note_use(path)
        except FileNotFoundError:
            return None
        except (SafetensorError, KeyError, OSError) as error:
            logger.warning("%s cannot be read (%s): the features of this image are computed anew.", path, error)
            return None
        return features

    def put(self, image: Any, features: Tensor) -> None:
        """Keeps the features of an image. On a full disk a warning is given once and nothing more is kept."""
        if not self._writable:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self._path(image)
            write_atomically(path, save({"features": features.detach().cpu().contiguous()}))
            _note_use(path)
            self._trim()
        except OSError as error:
            self._writable = False
            logger.warning("%s takes no more features (%s): further images are computed each time.", self.folder, error)

    def forget_maker(self) -> None:
        """To be called when the weights may have changed."""
        self._maker = None

    def _path(self, image: Any) -> Path:
        self._maker = self._maker or self._made_by()
        name = blake2b(repr((self._maker, image)).encode(), digest_size=24).hexdigest()
        return self.folder / f"{name}{_ENDING}"

    def _trim(self) -> None:
        files = []
        for entry in os.scandir(self.folder):
            if entry.name.endswith(_ENDING):
                try:
                    files.append((entry.stat().st_mtime_ns, entry.stat().st_size, entry.path))
                except FileNotFoundError:
                    continue  # another process has trimmed as well
        size = sum(size for _, size, _ in files)
        for _, taken, path in sorted(files):
            if size <= self.limit:
                break
            Path(path).unlink(missing_ok=True)
            size -= taken


def _note_use(path: Path) -> None:
    """By this time `_trim` goes; the system's own is rounded to some milliseconds, in which several files are used."""
    now = time.time_ns()
    with suppress(OSError):  # another process has trimmed, or the file is another user's
        os.utime(path, ns=(now, now))
