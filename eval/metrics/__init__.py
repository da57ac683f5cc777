"""The metrics of the paper's table 1 and further ones of captioning, one score per caption.

The classes load on first use, because each is a subclass of `evaluate.Metric` and importing `evaluate` takes seconds:
`from eval.metrics import Rouge` pays for it, `import eval.metrics` does not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from eval.metrics.bleu import Bleu
    from eval.metrics.cider import Cider
    from eval.metrics.cosine import SentenceCosine, TokenCosine
    from eval.metrics.meteor import JavaMeteor, NltkMeteor
    from eval.metrics.objects import NamedObjects
    from eval.metrics.rouge import Rouge

__all__ = [
    "HEADLINE",
    "LABELS",
    "UNORDERED",
    "Bleu",
    "Cider",
    "JavaMeteor",
    "NamedObjects",
    "NltkMeteor",
    "Rouge",
    "SentenceCosine",
    "TokenCosine",
]

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
    "cs_f1_rescaled": "CS-F1 (rescaled)",
    "cs_recall_rescaled": "CS-Recall (rescaled)",
    "cs_precision_rescaled": "CS-Precision (rescaled)",
    "cs_sentence": "CS-Sentence",
    "bleu4": "BLEU-4",
    "cider": "CIDEr",
    "attended_recall": "Attended objects named",
    "unattended_rate": "Unattended objects named",
}

# Columns whose larger value is not the better one.
UNORDERED = ("unattended_rate",)

_MODULES = {
    "Bleu": "bleu",
    "Cider": "cider",
    "JavaMeteor": "meteor",
    "NamedObjects": "objects",
    "NltkMeteor": "meteor",
    "Rouge": "rouge",
    "SentenceCosine": "cosine",
    "TokenCosine": "cosine",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"eval.metrics.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
