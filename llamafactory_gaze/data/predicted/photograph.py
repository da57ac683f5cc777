"""The photographs that are to get a map."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from PIL import Image

from llamafactory_gaze.data.maps.geometry import Size
from llamafactory_gaze.data.photographs import photograph_size, read_photograph
from llamafactory_gaze.data.provenance import file_sha256
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.saliency.opening import ENDINGS


@dataclass(frozen=True)
class Photograph:
    """An image file.

    Attributes:
        folder: the folder that was named, or that of the file that was named.
        name: path below it, with '/'.
    """

    folder: Path
    name: str

    @classmethod
    def at(cls, path: Path) -> Photograph:
        return cls(path.parent, path.name)

    @property
    def path(self) -> Path:
        return self.folder / self.name

    @property
    def map_name(self) -> str:
        """The path of its map below a folder of maps."""
        return Path(self.name).with_suffix(".png").as_posix()

    @cached_property
    def size(self) -> Size:
        """(width, height) in pixels; `DataError` where the file cannot be used."""
        return photograph_size(self.folder, self.name, "IMAGE", decode=False)

    @cached_property
    def sha256(self) -> str:
        return file_sha256(self.path)

    def read(self) -> Image.Image:
        """The picture, RGB; `DataError` where it cannot be decoded."""
        return read_photograph(self.folder, self.name, "IMAGE")


def find_photographs(paths: Iterable[Path]) -> list[Photograph]:
    """Files, and all images below folders, in the order in which they are named; each once.

    Raises:
        DataError: a path that is not there, a folder without images, or two images whose maps would have one name.
    """
    found: dict[Path, Photograph] = {}
    for path in paths:
        if path.is_dir():
            names = sorted(
                file.relative_to(path).as_posix()
                for file in path.rglob("*")
                if file.suffix.lower() in ENDINGS and file.is_file()
            )
            if not names:
                raise DataError(f"The folder {path} holds no images; expected files that end in {', '.join(ENDINGS)}.")
            photographs = [Photograph(path, name) for name in names]
        elif path.is_file():
            photographs = [Photograph.at(path)]
        else:
            raise DataError(f"The image {path} does not exist; name an image or a folder of images.")
        for photograph in photographs:
            found.setdefault(photograph.path.resolve(), photograph)
    first: dict[str, Photograph] = {}
    for photograph in found.values():
        same = first.setdefault(photograph.map_name.casefold(), photograph)  # some file systems do not tell a from A
        if same is not photograph:
            raise DataError(
                f"The maps of {same.path} and {photograph.path} would both be named {same.map_name}; make them in two "
                "calls with an --output each."
            )
    return list(found.values())
