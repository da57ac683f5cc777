"""What normalisation writes: the rows of NAME_stage1, the records they refer to, and the lines of the data card.

All of it follows from the samples and the journal, so that a call after a kill writes the same bytes. The records are
written before the rows that refer to them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamafactory_gaze.data.folders import remove_partial_files
from llamafactory_gaze.data.registry import write_atomically
from llamafactory_gaze.data.triples.card import STAGE1_NOT_NORMALIZED
from llamafactory_gaze.normalize.journal import Entry
from llamafactory_gaze.normalize.source import NORMALIZATION, ORIGINAL, Sample, Source


@dataclass(frozen=True)
class Target:
    """What one row of NAME_stage1 is to say."""

    sample: Sample
    entry: Entry
    problem: str | None  # why the answer cannot serve, so that the original is kept

    @property
    def text(self) -> str:
        return self.sample.text if self.problem else self.entry.answer.text


def write_targets(source: Source, targets: Sequence[Target], records: Mapping[str, dict[str, Any]]) -> bool:
    """Writes what is not there yet, each file whole or not at all.

    Returns:
        whether anything had to be written.
    """
    used = sorted({target.entry.record for target in targets})
    used_records = {record: records[record] for record in used}
    rows = [_row(target, records) for target in targets]
    files = {
        records_file(source.target): json.dumps(used_records, indent=2, ensure_ascii=False) + "\n",
        source.target: json.dumps(rows, indent=2, ensure_ascii=False) + "\n",
    }
    if source.card is not None:
        files[source.card] = _with_targets(source.card.read_text(encoding="utf-8"), source, targets, used_records)
    changed = False
    for path, text in files.items():
        remove_partial_files(path.parent, path.name)
        content = text.encode()
        if not path.is_file() or path.read_bytes() != content:
            write_atomically(path, content)
            changed = True
    return changed


def records_file(target: Path) -> Path:
    """Where the records stand that the rows of `target` refer to."""
    return target.with_name(f"{target.stem}.normalization.json")


def mean_words(texts: Sequence[str]) -> float:
    return sum(len(text.split()) for text in texts) / len(texts)


def _row(target: Target, records: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    question, answer = target.sample.row["conversations"]
    record = records[target.entry.record]
    how = {
        "record": target.entry.record,
        "prompt": record["prompt"]["name"],
        "model": record["model"]["name"],
        **({"kept_original": target.problem} if target.problem else {}),
    }
    return {
        **target.sample.row,
        "conversations": [question, {**answer, "value": target.text}],
        ORIGINAL: target.sample.text,
        NORMALIZATION: how,
    }


def _with_targets(card: str, source: Source, targets: Sequence[Target], records: Mapping[str, dict[str, Any]]) -> str:
    """The data card, changed where it speaks of the targets of stage 1."""
    record = next(iter(records.values()))
    stand_in = record["prompt"]["stand_in"]
    what = (
        f"a stand-in, **not style-normalised**: the base model's answers to the prompt `{record['prompt']['name']}`"
        if stand_in
        else "the descriptions, style-normalised by the frozen base model"
    )
    line = re.compile(rf"^(\| {re.escape(source.name)}_stage1 \|.*\| )[^|]*\|$", re.MULTILINE)
    card = line.sub(lambda match: f"{match[1]}{what} |", card)
    if ", **not style-normalised** |" not in card:  # nor is another fold
        card = card.replace(f"{STAGE1_NOT_NORMALIZED}\n\n", "")
    section = _section(source, targets, records, what)
    former = re.compile(rf"^{re.escape(_heading(source))}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    card, found = former.subn(lambda _: f"{section}\n\n", card)
    if not found:
        before, maps, after = card.partition("## Maps\n")
        card = f"{before.rstrip()}\n\n{section}\n\n{maps}{after}"
    return card.rstrip() + "\n"


def _section(source: Source, targets: Sequence[Target], records: Mapping[str, dict[str, Any]], what: str) -> str:
    kept = sum(target.problem is not None for target in targets)
    words = [mean_words(texts) for texts in ([t.sample.text for t in targets], [t.text for t in targets])]
    lines = [
        f"- What they are: {what}. Made by `llamafactory-gaze normalize`; each row keeps its `{ORIGINAL}`.",
        f"- {len(targets)} rows, {words[0]:.1f} words in the mean before, {words[1]:.1f} after.",
        f"- Rows that keep the original as their target: {kept}.",
    ]
    for name, record in records.items():
        model = ", ".join(f"{key} {value}" for key, value in record["model"].items())
        packages = ", ".join(f"{key} {value}" for key, value in record["runtime"].items())
        lines.append(
            f"- Record `{name}`, whole in `{records_file(source.target).name}`: model {model}; prompt "
            f"`{record['prompt']['name']}`; template {record['template']}; engine {record['engine']}, greedy, at most "
            f"{record['max_new_tokens']} tokens, images of at most {record['image_max_pixels']} pixels; {packages}."
        )
    return f"{_heading(source)}\n\n" + "\n".join(lines)


def _heading(source: Source) -> str:
    return f"## Stage-1 targets of {source.name}"
