"""What the commands have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer


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

        console = Console(stderr=True)
        console.print(f"[bold red]Error:[/] {escape(str(error))}", soft_wrap=True, highlight=False)
        raise typer.Exit(1) from error


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
