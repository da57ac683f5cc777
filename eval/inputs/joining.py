"""Which caption belongs to which row of the data set.

By id where the predictions have one. LLaMA-Factory's have none: its rows are in the order of the data set, and every
label has to be the data set's own caption; otherwise a file of another split, or of a shortened run, would be compared
with the wrong people without a word.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eval.errors import InputError
from eval.inputs.dataset import Row, clean, read_dataset
from eval.inputs.files import short
from eval.inputs.predictions import Prediction, read_predictions


@dataclass(frozen=True)
class Counts:
    """What a file of predictions held.

    Attributes:
        joined_by: "id", or "order" (and label).
        predictions: rows of the file. missing: rows of the data set without one. doubled: predictions beyond the first
            of a row, of which the first counts; differing: those of them that say something else than the first.
        empty: its captions without text, each of which scores 0.
    """

    joined_by: str
    predictions: int
    missing: int
    doubled: int
    differing: int
    empty: int

    def as_dict(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Joined:
    """A data set with the captions of several systems on it.

    Attributes:
        rows: those that every system has a caption of, in the order of the data set.
        systems: for each system one caption per row; the reference first, then those compared with it.
        controls: the same for systems that check a claim and make none, such as the maps of other images.
        simulated: the sentence that must stand wherever results stand, or None for real data.
        everyone: all rows of the data set, whose captions are references; none if the scores are known already.
        n_dataset: how many rows the data set has.
        counts: what the files held, by system.
    """

    rows: list[Row]
    systems: dict[str, list[str]]
    controls: dict[str, list[str]]
    simulated: str | None
    everyone: list[Row]
    n_dataset: int
    counts: dict[str, Counts]

    @property
    def captions(self) -> dict[str, list[str]]:
        """Those of all systems and controls."""
        return {**self.systems, **self.controls}

    @property
    def reference(self) -> str:
        """What the others are compared with."""
        return next(iter(self.systems))

    @property
    def compared(self) -> list[str]:
        """The systems but for the reference and the controls."""
        return list(self.systems)[1:]


def read_joined(
    dataset: Path,
    systems: dict[str, Path],
    controls: dict[str, Path] | None = None,
    by: Sequence[str] = (),
    allow_partial: bool = False,
) -> Joined:
    """Read a data set and the prediction files of named systems, and check that they belong together.

    Args:
        systems: the reference first.
        by: columns of the data set for subgroup reports.
        allow_partial: whether rows that a system has no prediction for are left out, for all systems.

    Raises:
        InputError: a file that cannot be read, or that was not made on this data set; missing predictions, unless
            they are allowed; a column that makes no groups.
    """
    rows, simulated = read_dataset(dataset, by)
    texts: dict[str, list[str | None]] = {}
    counts: dict[str, Counts] = {}
    for name, path in {**systems, **(controls or {})}.items():
        texts[name], counts[name] = _captions_of(rows, path, dataset, allow_partial)
    kept = [i for i in range(len(rows)) if all(of[i] is not None for of in texts.values())]
    if not kept:
        raise InputError(f"No row of {dataset} has a prediction of every system, so nothing can be compared.")
    captions = {name: [of[i] or "" for i in kept] for name, of in texts.items()}
    return Joined(
        rows=[rows[i] for i in kept],
        systems={name: captions[name] for name in systems},
        controls={name: captions[name] for name in controls or {}},
        simulated=simulated,
        everyone=rows,
        n_dataset=len(rows),
        counts=counts,
    )


def _captions_of(
    rows: Sequence[Row], path: Path, dataset: Path, allow_partial: bool
) -> tuple[list[str | None], Counts]:
    predictions = read_predictions(path)
    by_id = predictions[0].id is not None and all(one.id is not None for one in predictions)
    join = _join_by_id if by_id else _join_by_order
    found, doubled = join(rows, predictions, path, dataset, allow_partial)
    for row, one in zip(rows, found, strict=True):
        if one is not None and one.label is not None:
            _check_label(row, one, dataset)
    if (missing := found.count(None)) and not allow_partial:
        row = rows[found.index(None)]
        raise InputError(
            f"{path} has no prediction for {missing} of {len(rows)} rows of {dataset}, the first of them {row.id}: "
            "predict on all of it, or leave these rows out for all systems with --allow-partial."
        )
    texts = [None if one is None else clean(one.text) for one in found]
    differing = sum(clean(more.text) != clean(first.text) for first, more in doubled)
    return texts, Counts(
        "id" if by_id else "order", len(predictions), missing, len(doubled), differing, texts.count("")
    )


Found = tuple[list[Prediction | None], list[tuple[Prediction, Prediction]]]  # by row; first and further ones of a row


def _join_by_id(
    rows: Sequence[Row], predictions: Sequence[Prediction], path: Path, dataset: Path, allow_partial: bool
) -> Found:
    ids = Counter(row.id for row in rows)
    if repeated := next((name for name, count in ids.items() if count > 1), None):
        raise InputError(f"{dataset} has the id {short(repeated)} in {ids[repeated]} rows, so {path} cannot be joined.")
    of_id: dict[str | None, Prediction] = {}
    doubled = []
    for one in predictions:
        if one.id not in ids:
            raise InputError(
                f"{one.place} has the id {short(str(one.id))}, which no row of {dataset} has: give the data set that "
                "was predicted on."
            )
        if one.id in of_id:
            doubled.append((of_id[one.id], one))
        else:
            of_id[one.id] = one
    return [of_id.get(row.id) for row in rows], doubled


def _join_by_order(
    rows: Sequence[Row], predictions: Sequence[Prediction], path: Path, dataset: Path, allow_partial: bool
) -> Found:
    if len(predictions) > len(rows) or (len(predictions) < len(rows) and not allow_partial):
        advice = "" if len(predictions) > len(rows) else ", or leave the other rows out with --allow-partial"
        raise InputError(
            f"{path} has {len(predictions)} predictions but {dataset} has {len(rows)} rows: predict on exactly this "
            f"data set (max_samples cuts a run short), or give the data set that was predicted on{advice}."
        )
    rest: list[Prediction | None] = [None] * (len(rows) - len(predictions))
    first_rows = zip(rows, predictions, strict=False)
    if not rest or all(_comparable(row.target) == _comparable(one.label or "") for row, one in first_rows):
        return [*predictions, *rest], []
    # Not just a run that was cut short: then a label has to say by itself which row it is.
    of_label: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        of_label.setdefault(_comparable(row.target), []).append(i)
    found: list[Prediction | None] = [None] * len(rows)
    for one in predictions:
        places = of_label.get(_comparable(one.label or ""), [])
        if len(places) != 1 or found[places[0]] is not None:
            raise InputError(
                f"{one.place} cannot be joined: its label {short(one.label or '')} belongs to {len(places)} rows of "
                f"{dataset}, and {path} does not begin with its first rows either; give the predictions ids."
            )
        found[places[0]] = one
    return found, []


def _check_label(row: Row, one: Prediction, dataset: Path) -> None:
    expected, found = _comparable(row.target), _comparable(one.label or "")
    if found != expected:
        why = "predict on this data set again, or give the one that was predicted on"
        if found and expected.startswith(found):
            why = "the label is only the beginning of it, so the prediction ran with too small a cutoff_len"
        raise InputError(
            f"{one.place} does not belong to row {row.row} of {dataset}: its label is {short(one.label or '')}, "
            f"expected the caption {short(row.target)}; {why}."
        )


def _comparable(text: str) -> str:
    """A text without what a tokenizer may change on the way there and back: white space and the Unicode form."""
    return "".join(unicodedata.normalize("NFC", clean(text)).split())
