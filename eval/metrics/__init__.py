"""The metrics of the paper's table 1, one score per caption.

The classes load on first use, because each is a subclass of `evaluate.Metric` and importing `evaluate` takes seconds:
`from eval.metrics import Rouge` pays for it, `import eval.metrics` does not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from eval.metrics.cosine import TokenCosine
    from eval.metrics.meteor import JavaMeteor, NltkMeteor
    from eval.metrics.rouge import Rouge

__all__ = ["HEADLINE", "LABELS", "JavaMeteor", "NltkMeteor", "Rouge", "TokenCosine"]

# The columns of the paper's tables 1 and 2, in its order; they form one family of tests.
HEADLINE = ("meteor", "rougeL", "rouge2", "rouge1", "cs_f1", "cs_recall", "cs_precision")

# All columns, in the order in which they are shown.
LABELS = {
    "meteor": "METEOR",
    "meteor_nltk": "METEOR (NLTK)",
    "rougeL": "ROUGE-L",
    "rouge2": "ROUGE-2",
    "rouge1": "ROUGE-1",
    "cs_f1": "CS-F1",
    "cs_recall": "CS-Recall",
    "cs_precision": "CS-Precision",
}

_MODULES = {"JavaMeteor": "meteor", "NltkMeteor": "meteor", "Rouge": "rouge", "TokenCosine": "cosine"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"eval.metrics.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
