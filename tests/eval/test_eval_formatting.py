"""Figures as readers see them."""

from __future__ import annotations

import pytest

from eval.report import formatting
from eval.report.formatting import markdown_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.00"),
        (0.5, "0.50"),
        (0.0312, "0.031"),
        (0.00042, "4.2e-4"),
        (1e-5, "1.0e-5"),
        (9e-6, "< 1e-5"),
        (0.0, "< 1e-5"),
    ],
)
def test_p_values(value, text):
    assert formatting.p_value(value) == text


def test_signs_and_digits():
    assert formatting.percent(29.56) == "+29.6%"
    assert formatting.percent(-9.5) == "\N{MINUS SIGN}9.5%"
    assert formatting.interval((-1.0, 20.04)) == "\N{MINUS SIGN}1.0 to +20.0"
    assert formatting.score(0.1234) == "0.123"


@pytest.mark.parametrize("write", [formatting.p_value, formatting.percent, formatting.interval, formatting.score])
def test_what_is_missing_is_a_dash(write):
    assert write(None) == formatting.DASH


def test_markdown_takes_texts_as_they_are():
    assert markdown_text("a | b\n*c* <b> & `d`") == r"a \| b \*c\* &lt;b> &amp; \`d\`"
