"""Writing a folder of results all or nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eval.errors import InputError
from llamafactory_gaze.data.folders import building_beside


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
    are there; a former one is taken away first.
    """
    with building_beside(folder) as staging:
        yield staging
        folder.mkdir(exist_ok=True)
        files = sorted(staging.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        (folder / files[-1].name).unlink(missing_ok=True)
        for path in files:
            path.replace(folder / path.name)
