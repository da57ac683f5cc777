"""Folders that appear whole or not at all."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable
from glob import escape
from pathlib import Path

from llamafactory_gaze.data.tables import DataError


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


def building_folder(output: Path) -> Path:
    """A name beside the output folder, for building the next one; what killed runs of this machine left is cleared.

    A former folder that a kill had left without a successor is put back.
    """
    for path in output.parent.glob(f".{escape(output.name)}.former-*"):
        if not _is_in_use(path):
            shutil.rmtree(path) if output.exists() else os.rename(path, output)
    for path in output.parent.glob(f".{escape(output.name)}.building-*"):
        if not _is_in_use(path):
            shutil.rmtree(path, ignore_errors=True)
    return output.with_name(f".{output.name}.building-{_process(os.getpid())}")


def _process(pid: int) -> str:
    return f"{platform.node()}-{pid}"


def _is_in_use(path: Path) -> bool:
    """Whether the process that made it lives, or is another machine's, of which nothing is known here."""
    pid = path.name.rpartition("-")[2]
    if not pid.isdigit() or not path.name.endswith(_process(int(pid))):
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return int(pid) != os.getpid()


def replace_folder(building: Path, output: Path) -> None:
    """Replace the output folder by the finished one; where that fails, put the former folder back."""
    former = output.with_name(f".{output.name}.former-{_process(os.getpid())}")
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
