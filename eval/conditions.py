"""Conditions on the results of a comparison, for scripts: `--fail-if 'cs_f1.diff <= 0'`."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eval.errors import InputError
from eval.metrics import LABELS


FIELDS = (
    *("base", "new", "diff", "pct", "ci95.low", "ci95.high", "pct_ci95.low", "pct_ci95.high", "dz", "win_rate", "mde"),
    *("p_two_way", "p_holm", "p_image_flip", "p_mixed", "p_naive", "p_naive_wilcoxon", "n", "n_images"),
)
_OPERATORS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_CONDITION = re.compile(
    r"\s*(?:(?P<system>[\w.-]+):)?(?P<metric>\w+)\.(?P<field>[a-z0-9_.]+)\s*(?P<sign><=|>=|<|>)"
    r"\s*(?P<bound>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*"
)


@dataclass(frozen=True)
class Condition:
    """That a figure of a system against the reference lies on one side of a number.

    Attributes:
        text: as the user wrote it.
        system: None for the main one.
    """

    text: str
    system: str | None
    metric: str
    field: str
    sign: str
    bound: float

    @classmethod
    def parse(cls, text: str, systems: Sequence[str]) -> Condition:
        """Read `[SYSTEM:]METRIC.FIELD OPERATOR NUMBER`.

        Args:
            systems: the compared ones.

        Raises:
            InputError: another form, or a name that is not known.
        """
        match = _CONDITION.fullmatch(text)
        if match is None:
            raise InputError(
                f"--fail-if {text} is not [SYSTEM:]METRIC.FIELD OPERATOR NUMBER: write for instance 'cs_f1.diff <= 0'."
            )
        system, metric, field, sign, bound = match.group("system", "metric", "field", "sign", "bound")
        for what, name, known in (
            ("system", system, [None, *systems]),
            ("metric", metric, LABELS),
            ("figure", field, FIELDS),
        ):
            if name not in known:
                raise InputError(
                    f"--fail-if {text}: there is no {what} {name}; there are {', '.join(filter(None, known))}."
                )
        return cls(text, system, metric, field, sign, float(bound))

    def holds(self, results: dict[str, Any]) -> str | None:
        """A sentence if the condition holds, or if the figure is not known; else None.

        Args:
            results: see `results.build`.
        """
        system = self.system or results["main"]
        entry = results["systems"][system]["metrics"].get(self.metric)
        name, _, end = self.field.partition(".")
        value = None if entry is None else entry[name]
        if value is not None and end:
            value = value[end == "high"]
        if value is None:
            reason = (entry or {}).get("reason") or "it was not computed"
            return f"--fail-if {self.text}: {self.metric}.{self.field} of {system} is not known: {reason}"
        if _OPERATORS[self.sign](value, self.bound):
            return f"--fail-if {self.text}: {self.metric}.{self.field} of {system} is {value:.6g}."
        return None
