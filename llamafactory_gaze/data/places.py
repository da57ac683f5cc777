"""Whether what a data set names is a file, and lies in the folder that it may name files of."""

from __future__ import annotations

import os
import stat


def leaves(folder: str | os.PathLike[str], path: str | os.PathLike[str]) -> str | None:
    """Where a path leads to, if that is outside of a folder: by `..`, as an absolute path, or through a link.

    Args:
        path: absolute, or relative to the working folder.

    Returns:
        the real path, or None where it lies inside.

    Raises:
        ValueError: it cannot be the name of a file (it holds a NUL).
    """
    root, real = os.path.realpath(folder), os.path.realpath(path)
    return None if os.path.commonpath([root, real]) == root else real


def require_file(path: str | os.PathLike[str]) -> None:
    """Refuse a folder, a device, and a pipe, at which a reader would wait for ever.

    Raises:
        OSError: it is none, or there is nothing.
        ValueError: it cannot be the name of a file.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError("it is a folder")
    if not stat.S_ISREG(mode):
        raise OSError("it is no file, but a device or a pipe")


def printable(text: object) -> str:
    """A text of somebody else's as it can be printed: no half characters, and none that would command a terminal."""
    said = str(text).encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in said)


def brief(text: object, width: int = 200) -> str:
    """A name or an error as it stands in a message: printable, and at most about `width` characters."""
    said = printable(text)
    return said if len(said) <= width else f"{said[: width // 2]}...{said[-width // 2 :]}"
