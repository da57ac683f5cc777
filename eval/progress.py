"""Progress of a comparison on the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar


class Progress(Protocol):
    """Is told what is being done, and how far it is."""

    def __call__(self, step: str, done: int = 0, total: int = 0) -> None:
        """Show a step; `total` 0 where its length is not known."""


def silent(step: str, done: int = 0, total: int = 0) -> None:
    """Shows nothing."""


@contextmanager
def progress_bar(console: Console) -> Iterator[Progress]:
    """A bar that vanishes at the end; nothing where the console is no terminal."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        shown = ""

        def show(step: str, done: int = 0, total: int = 0) -> None:
            nonlocal shown
            if step != shown:
                shown = step
                bar.reset(task, total=total or None, description=step)
            bar.update(task, completed=done, total=total or None)

        yield show
