"""What the commands have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer


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
