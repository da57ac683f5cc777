"""All benchmarks, or one by its name. Ratios are ours / peer: lower is better.

    python -m benchmarks --list
    python -m benchmarks                        # all, one after another, about an hour on 2 cores
    python -m benchmarks training --patches 256 # one; `python -m benchmarks training --help` names its options
    python -m benchmarks --table                # what was found, as Markdown

A benchmark is a file of this folder: its docstring says what it measures, and its function `measure` does it, whose
parameters are the options and which yields a `Result` for each number. What a run finds takes the place of the former
entries of the same name in results.json; where it breaks off, they stay.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from benchmarks.frame import Result, store
from eval.errors import MetricUnavailableError


FOLDER = Path(__file__).parent
console, progress = Console(), Console(stderr=True)


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


class _ByName(TyperGroup):
    """Loads a benchmark when it is asked for: most of them import torch."""

    def list_commands(self, context: Any) -> list[str]:
        return []

    def get_command(self, context: Any, name: str) -> Any:
        if name not in names():
            context.fail(f"There is no benchmark {name!r}: choose one of {', '.join(names())}.")
        module = import_module(f"benchmarks.{name}")
        one = typer.Typer(add_completion=False, rich_markup_mode=None)
        one.command(help=module.__doc__)(_recorded(name, module.measure, context))
        return typer.main.get_command(one)


app = typer.Typer(
    cls=_ByName, invoke_without_command=True, add_completion=False, rich_markup_mode=None,
    pretty_exceptions_enable=False,
)  # fmt: skip


@app.callback(help=__doc__)
def main(
    context: typer.Context,
    listed: Annotated[bool, typer.Option("--list", help="Name the benchmarks and end.")] = False,
    table: Annotated[bool, typer.Option("--table", help="Print the results as Markdown and end.")] = False,
    into: Annotated[
        Path | None, typer.Option(help="With --table: the Markdown file to write it into, between its two comments.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip what the file has from the same options and versions.")
    ] = False,
    results: Annotated[Path, typer.Option(help="The file of results.")] = store.RESULTS,
) -> None:
    context.obj = (results, resume)
    if listed:
        for name in names():
            document = ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))) or ""
            typer.echo(f"{name:14}{document.splitlines()[0]}")
    elif table and into is not None:
        store.write_table(store.read(results), into)
    elif table:
        typer.echo(store.markdown(store.read(results)), nl=False)
    elif context.invoked_subcommand is None:
        _run_all(results, resume)


def _run_all(results: Path, resume: bool) -> None:
    """Each in a process of its own; one that fails does not keep the others from running."""
    failed = []
    for number, name in enumerate(names(), 1):
        progress.rule(f"{name} ({number} of {len(names())})")
        command = [sys.executable, "-m", "benchmarks", "--results", str(results), *["--resume"][: int(resume)], name]
        if subprocess.run(command).returncode:
            failed.append(name)
    if failed:
        raise SystemExit(f"failed, with their former results left as they were: {', '.join(failed)}")


def _recorded(name: str, measure: Callable[..., Any], context: Any) -> Callable[..., None]:
    """`measure` with its own options, whose results go into the file and onto the screen."""

    @wraps(measure)
    def run(**options: Any) -> None:
        results, resume = context.obj
        noted = store.as_json(options)
        if resume and store.is_done(results, name, noted):
            progress.print(f"{name}: in {results} already")
            return
        try:
            entries = _measured(name, measure(**options), noted)
        except MetricUnavailableError as error:
            raise SystemExit(f"{name}: {error}") from None
        if not entries:
            raise SystemExit(f"{name} measured nothing")
        store.replace(results, name, entries)
        shown = Table(*store.HEADER[1:], caption="ratio: ours / peer, lower is better")
        for entry in entries:
            shown.add_row(*store.cells(entry)[1:])
        console.print(shown)

    return run


def _measured(name: str, results: Iterable[Result], noted: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries of a benchmark, each said as soon as it is there."""
    entries = []
    with progress.status(f"{name} …") as status:
        for result in results:
            entries.append(result.entry(name, noted))
            _, what, ours, peer, unit, *_ = store.cells(entries[-1])
            progress.print(f"{name}: {what}: ours {ours}, peer {peer} {unit}", highlight=False)
            status.update(f"{name}: {len(entries)} measured …")
    return entries


if __name__ == "__main__":
    app(prog_name="python -m benchmarks")
