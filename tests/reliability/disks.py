"""Disks with little space left."""

import os
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def only(disk: Path, free: int):
    """A disk on which so many bytes are left."""
    filler = disk / "filler"
    stat = os.statvfs(disk)
    filler.write_bytes(b"x" * max(stat.f_bavail * stat.f_frsize - free, 0))
    yield
    filler.unlink()
