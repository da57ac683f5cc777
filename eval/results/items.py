"""The captions and scores of each row, `per_item.jsonl`: every statistic can be computed from it anew."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from eval.inputs.joining import Joined
from eval.scoring.column import Column


def per_item(joined: Joined, columns: dict[str, Column], simulated: str | None) -> Iterator[dict[str, Any]]:
    """One record per compared row (`schema/per_item.schema.json`); a score is null where a metric has none.

    Args:
        simulated: the sentence that says that the data are simulated, or None.
    """
    for i, row in enumerate(joined.rows):
        yield {
            "row": row.row,
            "id": row.id,
            "image_id": row.image_id,
            "participant": row.participant,
            "category": row.category,
            "groups": row.groups,
            "image": row.image,
            "saliency": row.saliency,
            "target": row.target,
            "captions": {name: captions[i] for name, captions in joined.systems.items()},
            "controls": {name: captions[i] for name, captions in joined.controls.items()},
            "scores": {
                system: {
                    name: None if column.scores is None else _number(column.scores[system][i])
                    for name, column in columns.items()
                }
                for system in joined.captions
            },
            "human": {
                name: None if column.human is None else _number(column.human[i]) for name, column in columns.items()
            },
            "simulated": simulated,
        }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
