"""Errors of the operating system, such as a full disk, in sentences that say which file and what to do."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


FULL = 2**20  # bytes; a disk with less left counts as full
_AGAIN = "and run the same command again: nothing half-written stands in its place"
_NO_SPACE = f"No space is left to write {{file}}: free some, or name a place on another disk, {_AGAIN}."
_DENIED = f"{{file}} may not be read or written ({{reason}}): get the right to it, or name another place, {_AGAIN}."

_SENTENCES = {
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EFBIG: "{file} would be larger than the file system or the limit of your shell (`ulimit -f`) allows: raise "
    f"the limit, or name a place on another disk, {_AGAIN}.",
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.EROFS: f"{{file}} is on a disk that can only be read: name another place, {_AGAIN}.",
    errno.ENAMETOOLONG: f"The name of {{file}} is too long for the file system: choose a shorter one, {_AGAIN}.",
    errno.ENOENT: "{file} does not exist: correct the path.",
    errno.ENOTDIR: "{file} cannot be, since a part of its path is a file and no folder: correct the path.",
    errno.EISDIR: "{file} is a folder; a file was expected: correct the path.",
    errno.EMFILE: f"Too many files are open for {{file}}: raise the limit (`ulimit -n`), {_AGAIN}.",
}


def in_words(error: OSError) -> str:
    """The sentence for an error with an `errno`; what others say is left as it is."""
    if error.errno is None:
        return str(error)
    sentence = _SENTENCES.get(error.errno, f"{{file}} cannot be read or written ({{reason}}): mend that {_AGAIN}.")
    return sentence.format(file=error.filename or "a file", reason=error.strerror)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """An error that names no file, as that of a write to a full disk, names this one."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def full_disk_said(folder: Callable[[], Path | None]) -> Iterator[None]:
    """An error of somebody else's code that writes into a folder, on a full disk, ends with a sentence that says so.

    safetensors names no file then, and torch not even the reason ("unexpected pos 704 vs 598").

    Args:
        folder: asked for when there is an error; it may be known by then only. None: the error stays as it is.

    Raises:
        OSError: in place of an error that says so, or of any where less than `FULL` is left.
    """
    try:
        yield
    except Exception as error:
        place = folder()
        said = any(os.strerror(number) in str(error) for number in (errno.ENOSPC, errno.EDQUOT))
        if place is None or not place.exists() or not (said or shutil.disk_usage(place).free < FULL):
            raise
        raise OSError(
            f"No space is left to write {place}: free some, and run the same command again. What is half-written there "
            "is not used."
        ) from error
