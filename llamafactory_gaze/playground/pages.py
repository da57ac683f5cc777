"""HTML of the page and of the report, from the templates beside this file; what they share looks the same in both."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined


def render(template: str, **values: Any) -> str:
    """Fill in a template; whatever a value holds is text, never markup."""
    return _environment().get_template(template).render(**values)


def stylesheet() -> str:
    """The page's own style: its colours, taken from gradio's, and the style that the report shares."""
    folder = files("llamafactory_gaze.playground") / "templates"
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in ("page.css", "shared.css"))


@cache
def _environment() -> Environment:
    return Environment(
        # The evaluation's report lends its stylesheet.
        loader=ChoiceLoader([PackageLoader("llamafactory_gaze.playground"), PackageLoader("eval.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
