"""Folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from uuid import uuid4


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
