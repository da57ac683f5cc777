"""What the commands have in common."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup


# Of the commands that load a trained model.
AdapterOption = Annotated[
    list[str] | None,
    typer.Option(help="Output folder of a training. Repeatable: stage 1 first, in the order of training."),
]
MaxPixelsOption = Annotated[
    int | None,
    typer.Option(
        min=28 * 28,
        help="Scale a larger image down: `image_max_pixels` of the recipe. Default: the model's own.",
    ),
]


@contextmanager
def errors_as_sentences(*errors: type[Exception]) -> Iterator[None]:
    """Prints an error that the user can mend as the one sentence that it is, and ends the command with exit code 1."""
    try:
        yield
    except errors as error:
        from rich.console import Console
        from rich.markup import escape

        from llamafactory_gaze.os_errors import in_words

        said = in_words(error) if isinstance(error, OSError) else str(error)
        console = Console(stderr=True)
        console.print(f"[bold red]Error:[/] {escape(said)}", soft_wrap=True, highlight=False)
        raise typer.Exit(1) from error


class Commands(TyperGroup):
    """Commands that a full disk, a missing right and the like end with a sentence."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno in (None, errno.EPIPE):  # said by a library, or whoever read our output has gone
                raise
            with errors_as_sentences(OSError):
                raise


def column_mapping(pairs: list[str]) -> dict[str, str]:
    """`OURS=THEIRS` of --columns, by OURS.

    Raises:
        DataError: a pair is not understood, or a column is named twice.
    """
    from llamafactory_gaze.data.tables import DataError

    mapping: dict[str, str] = {}
    for pair in pairs:
        ours, equals, theirs = pair.partition("=")
        if not (ours and equals and theirs) or ours in mapping:
            raise DataError(
                f"--columns {pair} is not understood; expected one OURS=THEIRS per column, e.g. x=CURRENT_FIX_X."
            )
        mapping[ours] = theirs
    return mapping
