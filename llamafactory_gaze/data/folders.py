"""Folders that appear whole or not at all, and what killed runs leave of them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.os_errors import named


if sys.platform != "win32":
    import fcntl


def refuse_others_files(output: Path, is_own: Callable[[str], bool]) -> None:
    """Raise `DataError` for an output folder that a command would not wholly replace by its own.

    Args:
        is_own: whether the command has made a file, given its path below the folder.
    """
    if not output.exists():
        return
    if not output.is_dir():
        raise DataError(f"--output {output} is a file; name a folder.")
    files = (path.relative_to(output).as_posix() for path in output.rglob("*") if not path.is_dir())
    other = min((name for name in files if not is_own(name)), default=None)
    if other is not None:
        raise DataError(f"--output {output} holds {other}, which this command did not make; name another.")


@contextmanager
def building_beside(output: Path) -> Iterator[Path]:
    """A new hidden folder beside `output` to build it in, which is gone at the end, however that comes.

    What killed runs left is taken care of first: their folders are deleted, and a former output that one had set aside
    is put back. A folder that another process builds in at this moment is left alone.
    """
    output = output.resolve()
    with named(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        put_back(output)
        for leftover in output.parent.glob(f".{output.name}.building-*"):
            if not _is_held(leftover):
                shutil.rmtree(leftover, ignore_errors=True)
        building, descriptor = _new(output)
        try:
            yield building
        finally:
            shutil.rmtree(building, ignore_errors=True)
            if descriptor is not None:
                os.close(descriptor)


def put_back(output: Path) -> None:
    """Put the former output back that a kill left set aside, before the new one was in its place."""
    if not output.exists():
        formers = sorted(_formers(output), key=lambda path: path.stat().st_mtime)
        if formers:
            formers[-1].rename(output)


@contextmanager
def setting_aside(output: Path) -> Iterator[None]:
    """Sets the former output aside while the block puts another in its place; where that fails, puts it back."""
    former = output.with_name(f".{output.name}.former-{uuid4().hex[:8]}")
    replaces = output.exists()
    if replaces:
        os.rename(output, former)
    try:
        yield
    except BaseException:
        if replaces:
            os.rename(former, output)
        raise
    for path in _formers(output):  # also of a run that was killed here
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def replace_folder(building: Path, output: Path) -> None:
    """Replace the output folder by the finished one; where that fails, put the former folder back."""
    with setting_aside(output):
        os.rename(building, output)


def hold(descriptor: int, wait: bool = True) -> bool:
    """Mark an open file or folder as in use, until it is closed or the last process that has it open ends.

    Returns:
        False if another has marked it and we do not wait. Where there are no such marks, True.
    """
    return _mark(descriptor, wait) is not False


def remove_partial_files(folder: Path, name: str = "*") -> None:
    """Delete what kills have left of files that `write_atomically` was writing, `name` being a pattern."""
    for path in folder.glob(f".{name}.{'[0-9a-f]' * 32}"):
        if not _is_held(path):
            path.unlink(missing_ok=True)


def _formers(output: Path) -> list[Path]:
    return list(output.parent.glob(f".{output.name}.former-*"))


def _new(output: Path) -> tuple[Path, int | None]:
    while True:
        building = output.with_name(f".{output.name}.building-{uuid4().hex[:8]}")
        building.mkdir()
        if sys.platform == "win32":
            return building, None
        try:
            descriptor = os.open(building, os.O_RDONLY)
        except FileNotFoundError:
            continue  # another run took it for a leftover before it was held
        hold(descriptor)
        if os.fstat(descriptor).st_nlink and building.exists():
            return building, descriptor
        os.close(descriptor)


def _is_held(path: Path) -> bool:
    """Whether some process, or this one, has marked it by `hold`. Where there are no such marks: always."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return True  # gone, or somebody else's, or a folder of Windows
    try:
        return _mark(descriptor, wait=False) is not True
    finally:
        os.close(descriptor)


def _mark(descriptor: int, wait: bool) -> bool | None:
    """Whether it could be marked; None on Windows and on file systems without locks."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
