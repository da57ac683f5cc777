"""How figures are written for readers, the same in the terminal and in both reports. None is written as a dash."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from eval.metrics import LABELS


DASH = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"


def score(value: float | None) -> str:
    """A score in [0, 1], three decimals: 0.153."""
    return DASH if value is None else f"{value:.3f}".replace("-", _MINUS)


def percent(value: float | None) -> str:
    """A change in percent, as the paper writes it: +29.6%."""
    return DASH if value is None else f"{value:+.1f}%".replace("-", _MINUS)


def interval(bounds: tuple[float, float] | None) -> str:
    """A confidence interval in percent: +20.1 to +39.0."""
    return DASH if bounds is None else " to ".join(percent(bound).removesuffix("%") for bound in bounds)


def signed(value: float | None) -> str:
    """An effect size, two decimals: +0.25."""
    return DASH if value is None else f"{value:+.2f}".replace("-", _MINUS)


def share(value: float | None) -> str:
    """A share in percent: 57%."""
    return DASH if value is None else f"{value:.0%}"


def p_value(value: float | None) -> str:
    """A p value, two digits: .031, and "< 1e-5" below the paper's bound."""
    if value is None:
        return DASH
    if value < 1e-5:
        return "< 1e-5"
    if value < 0.001:
        return f"{value:.1e}".replace("e-0", "e-")
    return f"{value:.2f}" if value >= 0.095 else f"{value:.2g}"


def metric_label(name: str, entry: Mapping[str, Any]) -> str:
    """The name of a metric; METEOR says which `implementation` it is: METEOR (Java)."""
    if name == "meteor" and entry["implementation"]:
        return f"METEOR ({entry['implementation'].split()[0]})"
    return LABELS[name]


def capitalised(name: str) -> str:
    """The name of a system at the head of a column: Baseline. Other capitals stay as they are."""
    return name[:1].upper() + name[1:]


def markdown_text(text: str) -> Markup:
    """A text as it stands in a Markdown table or line: on one line, with nothing of it taken for markup."""
    line = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;")
    return Markup(re.sub(r"([\\`*_\[\]|~#])", r"\\\1", line))
