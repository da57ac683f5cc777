"""Where an output comes from: the content of the files that were read, and the packages that read them."""

from __future__ import annotations

import hashlib
import platform
from importlib import metadata
from pathlib import Path


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's content in hexadecimal; the file is never whole in memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that a data set is made with, by name."""
    return installed_versions("llamafactory-gaze", "numpy", "pillow") | {"python": platform.python_version()}


def installed_versions(*packages: str) -> dict[str, str]:
    """The versions of packages by name; of one that is missing "not installed"."""
    return {name: installed_version(name) or "not installed" for name in packages}


def installed_version(package: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
