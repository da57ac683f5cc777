"""The scores of one metric. In a file of its own, as the metrics behind it take seconds to load."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Column:
    """One metric's scores for all systems.

    Attributes:
        scores: for each system an array (rows,) of scores, NaN in rows that the metric leaves out; None if the metric
            could not run.
        human: (rows,) the mean scores of other people's captions of the image (or, of metrics that compare with no
            caption, the person's own caption's scores), NaN where there are none.
        implementation, signature, notes: what the numbers are (see `CaptionMetric`).
        reason: why there are no scores, or why they are those of the second choice; else None.
    """

    scores: dict[str, np.ndarray] | None
    human: np.ndarray | None = None
    implementation: str | None = None
    signature: str | None = None
    notes: str | None = None
    reason: str | None = None
