"""`results.json`: what each benchmark found when it ran last, and the tables made of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks.frame.result import versions


RESULTS = Path(__file__).parents[1] / "results.json"
HEADER = ("benchmark", "what", "ours", "peer", "unit", "ratio", "target", "met", "the peer is")
_BEGIN, _END = "<!-- benchmarks: begin -->\n", "<!-- benchmarks: end -->\n"

Entry = dict[str, Any]


def read(path: Path) -> list[Entry]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def replace(path: Path, name: str, entries: Sequence[Entry]) -> None:
    """Put the entries of a benchmark in the place of its former ones and leave the others; whole or not at all."""
    together = sorted([*(one for one in read(path) if one["name"] != name), *entries], key=lambda one: one["name"])
    building = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    try:
        building.write_text(json.dumps(together, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(building, path)
    finally:
        building.unlink(missing_ok=True)


def is_done(path: Path, name: str, options: Mapping[str, Any]) -> bool:
    """Whether the file has this benchmark, run with these options and with what is installed here."""
    found = [one for one in read(path) if one["name"] == name]
    wanted = as_json(options).items()
    return bool(found) and all(one["versions"] == versions() and wanted <= one["shape"].items() for one in found)


def as_json(options: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(dict(options), default=str))


def cells(entry: Entry) -> tuple[str, ...]:
    """The cells of one row, as in `HEADER`."""
    shape = entry["shape"]
    numbers = (_number(entry[key]) for key in ("ours", "peer"))
    met = {True: "yes", False: "no", None: ""}[entry["met"]]
    ratio, target = ("" if entry[key] is None else f"{entry[key]:.2f}" for key in ("ratio", "target"))
    return (entry["name"], shape["what"], *numbers, shape["unit"], ratio, target, met, shape["peer"])


def markdown(entries: Sequence[Entry]) -> str:
    """All entries as a table, with what they were measured on below it."""
    lines = [" | ".join(row).join(("| ", " |")) for row in (HEADER, ["---"] * len(HEADER), *map(cells, entries))]
    machines: dict[str, list[str]] = {}
    for entry in entries:
        measured = ", ".join(f"{key} {value}" for key, value in entry["versions"].items() if value is not None)
        machines.setdefault(measured, []).append(entry["name"])
    measured_with = [f"{', '.join(dict.fromkeys(names))}: {how}." for how, names in machines.items()]
    return "\n".join([*lines, "", *measured_with]) + "\n"


def write_table(entries: Sequence[Entry], document: Path) -> None:
    """Put the table between the two comments that mark its place in a Markdown file."""
    before, _, rest = document.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not end:
        raise SystemExit(
            f"{document} has no place for the table: expected the lines {_BEGIN.strip()} and {_END.strip()}"
        )
    document.write_text(f"{before}{_BEGIN}{markdown(entries)}{_END}{after}", encoding="utf-8")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
