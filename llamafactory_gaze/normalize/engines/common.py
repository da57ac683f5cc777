"""What all engines have in common."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from llamafactory_gaze.data.provenance import installed_versions
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.normalize.journal import Answer


@dataclass(frozen=True)
class Question:
    """One image, or several, and a prompt about them."""

    prompt: str
    images: tuple[Path, ...]

    @property
    def messages(self) -> list[dict[str, str]]:
        """In LLaMA-Factory's form; a new list, since its engines write into it."""
        return [{"role": "user", "content": "<image>" * len(self.images) + self.prompt}]

    @property
    def paths(self) -> list[str]:
        return [str(path) for path in self.images]


class Engine(Protocol):
    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """One answer to each question, in their order."""

    def runtime(self) -> dict[str, str]:
        """What of the machine and of the packages the answers depend on."""


def versions(*packages: str) -> dict[str, str]:
    """The versions of all packages that the answers depend on."""
    found = installed_versions("llamafactory-gaze", "llamafactory", "transformers", "torch", "pillow", *packages)
    return {**found, "python": platform.python_version()}


def expect(engine: Any, attributes: Iterable[str]) -> None:
    """Raises DataError unless an engine of LLaMA-Factory has the attributes that we use."""
    missing = [name for name in attributes if not hasattr(engine, name)]
    if missing:
        raise unknown(f"{type(engine).__name__}.{missing[0]}")


def unknown(what: str) -> DataError:
    """The error for something that LLaMA-Factory does not have."""
    return DataError(
        f"llamafactory-gaze normalize expects {what} in LLaMA-Factory, as in version 0.9.5; version "
        f"{version('llamafactory')} does not have it. Install llamafactory==0.9.5."
    )


def in_threads(ask: Callable[[Question], Answer], questions: Sequence[Question]) -> list[Answer]:
    """All questions at the same time: a server makes its own batches of them."""
    with ThreadPoolExecutor(len(questions)) as pool:
        return list(pool.map(ask, questions))
