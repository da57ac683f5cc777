"""Folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

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


def replace_folder(building: Path, output: Path) -> None:
    """Replace the output folder by the finished one; where that fails, put the former folder back."""
    former = output.with_name(f".{output.name}.former-{uuid4().hex[:8]}")
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
