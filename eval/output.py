"""Writing a folder of results all or nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eval.errors import InputError


def check_output(folder: Path) -> None:
    """Raise `InputError` if `folder` cannot become a folder, before the work rather than after it."""
    nearest = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    if not nearest.is_dir():
        raise InputError(f"{nearest} is a file, so --output {folder} cannot be a folder: name another one.")
    if not os.access(nearest, os.W_OK):
        raise InputError(f"{nearest} cannot be written to: name another folder with --output.")


@contextmanager
def all_or_nothing(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder`, whose files move there when the block ends well and vanish when it does not.

    Other files in `folder` stay. Files move in the order in which they were written, so the last one says that all
    are there.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = folder.parent / f".{folder.name}.{os.getpid()}.partial"
    staging.mkdir()
    try:
        yield staging
        folder.mkdir(exist_ok=True)
        for path in sorted(staging.iterdir(), key=lambda path: path.stat().st_mtime_ns):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
