"""The captions and scores of an earlier comparison, read back from its `per_item.jsonl`.

What the numbers are (signatures, kind of references) stands in the `results.json` beside it. It is believed only if it
knows this very file, by its hash; otherwise the figures are computed all the same, and said to be unsigned.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval.errors import InputError
from eval.inputs.dataset import Row
from eval.inputs.files import json_records
from eval.inputs.joining import Counts, Joined
from eval.metrics import LABELS
from eval.scoring.column import Column
from llamafactory_gaze.data.provenance import file_sha256


UNSIGNED = "not recorded: there is no results.json beside the scores that belongs to them"


@dataclass(frozen=True)
class Recorded:
    """What an earlier comparison scored.

    Attributes:
        results: its `results.json`; None where that is missing, or belongs to another state of the scores.
    """

    joined: Joined
    columns: dict[str, Column]
    results: dict[str, Any] | None


def read_recorded(path: Path, reference: str | None = None, by: Sequence[str] = ()) -> Recorded:
    """Read a `per_item.jsonl`.

    Args:
        reference: which system the others are compared with; None for the one of the earlier comparison.
        by: columns for subgroup reports, among those that the earlier comparison was made with.

    Raises:
        InputError: no such file, a line of another form, or a system or column that it does not have.
    """
    items = list(json_records(path))
    if not items:
        raise InputError(f"{path} is empty: give the per_item.jsonl that eval.compare wrote.")
    layout = _Layout(*items[0])
    rows, captions, scores = zip(*(layout.read(*item) for item in items), strict=True)
    systems = layout.systems
    if reference is not None:
        if reference not in layout.names:
            raise InputError(f"--reference {reference} is not in {path}, which has {', '.join(layout.names)}.")
        systems = [reference, *(name for name in systems if name != reference)]
    if len(systems) < 2:
        raise InputError(f"{path} has only the system {systems[0]} and controls, so there is nothing to compare.")
    for column in by:
        if not any(column in row.groups for row in rows):
            raise InputError(
                f"No row of {path} has a value in the column {column}: only the columns that the scores were made "
                "with, by --by, can be used again."
            )
    texts = dict(zip(layout.names, (list(of) for of in zip(*captions, strict=True)), strict=True))
    results = _results_of(path)
    data: dict[str, Any] = results["data"] if results else {"n_rows_dataset": len(rows), "predictions": {}}
    joined = Joined(
        rows=list(rows),
        systems={name: texts[name] for name in systems},
        controls={name: texts[name] for name in layout.controls if name != reference},
        simulated=next((item["simulated"] for _, item in items if item.get("simulated")), None),
        everyone=[],
        n_dataset=data["n_rows_dataset"],
        counts={name: Counts(**counts) for name, counts in data["predictions"].items()},
    )
    return Recorded(joined, _columns(np.array(scores), layout, results), results)


class _Layout:
    """The systems and metrics of a file, which are those of its first row."""

    def __init__(self, place: str, item: dict[str, Any]) -> None:
        try:
            self.systems, self.controls = list(item["captions"]), list(item["controls"])
            self.metrics = list(item["human"])
        except (KeyError, TypeError):
            raise _foreign(place) from None
        self.names = [*self.systems, *self.controls]
        if not self.systems or not set(self.metrics) <= set(LABELS):
            raise _foreign(place)

    def read(self, place: str, item: dict[str, Any]) -> tuple[Row, list[str], list[list[float]]]:
        """A row, its caption by each system, and (systems and people, metrics) its scores, NaN where there is none."""
        try:
            row = Row(
                row=int(item["row"]),
                id=item["id"],
                image_id=item["image_id"],
                participant=item["participant"],
                category=item["category"],
                target=item["target"],
                image=item["image"],
                saliency=item["saliency"],
                groups=dict(item["groups"]),
            )
            captions = [{**item["captions"], **item["controls"]}[name] for name in self.names]
            of = [*(item["scores"][name] for name in self.names), item["human"]]
            scores = [[_score(one[name]) for name in self.metrics] for one in of]
        except (KeyError, TypeError, ValueError, OverflowError):
            raise _foreign(place) from None
        optional = [text for text in (row.participant, row.category, row.image, row.saliency) if text is not None]
        texts = [row.id, row.image_id, row.target, *optional, *captions, *row.groups.values()]
        if not all(isinstance(text, str) for text in texts):
            raise _foreign(place)
        return row, captions, scores


def _score(value: float | None) -> float:
    if value is None:
        return np.nan
    if not np.isfinite(value):
        raise ValueError
    return float(value)


def _columns(scores: np.ndarray, layout: _Layout, results: dict[str, Any] | None) -> dict[str, Column]:
    """The columns of scores (rows, systems and people, metrics)."""
    found = {}
    for i, name in enumerate(layout.metrics):
        about = results["columns"].get(name, {}) if results else {}
        *systems, people = scores[:, :, i].T
        if np.isnan(scores[:, :-1, i]).all():
            found[name] = Column(None, reason=about.get("reason") or UNSIGNED)
        else:
            found[name] = Column(dict(zip(layout.names, systems, strict=True)), people, **about)
    return found


def _results_of(path: Path) -> dict[str, Any] | None:
    try:
        results = json.loads(path.with_name("results.json").read_text(encoding="utf-8"))
        return results if results["data"]["per_item_sha256"] == file_sha256(path) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _foreign(place: str) -> InputError:
    return InputError(f"{place} is no record of this version of eval.compare: give the per_item.jsonl that it wrote.")
