"""The charts of the report are to scale."""

from __future__ import annotations

import pytest

from eval.metrics import HEADLINE
from eval.report.charts import ForestPlot


def entry(diff, ci95):
    return {"diff": diff, "ci95": ci95}


def test_plot_is_to_scale():
    results = {
        "reference": "baseline",
        "metrics": {name: entry(0.1, (0.05, 0.15)) for name in HEADLINE},
        "systems": {"injected": {"metrics": {name: entry(0.1, (0.05, 0.15)) for name in HEADLINE}}},
        "controls": {"off": {"metrics": {name: {"vs_reference": entry(-0.1, None)} for name in HEADLINE}}},
    }
    plot = ForestPlot(results)
    injected, off = plot.dots[:2]
    assert (injected.system, off.system, off.interval) == (0, 1, None)
    assert injected.x - plot.axis(0) == pytest.approx(plot.axis(0) - off.x)
    assert injected.interval == pytest.approx((plot.axis(0.05), plot.axis(0.15)))
    places = {text: x for x, text in plot.axis.ticks}
    assert places["+0.10"] == pytest.approx(injected.x) and places["0"] == pytest.approx(plot.axis(0))
    assert all(plot.left <= x <= plot.width - plot.right for x in places.values())
    assert len(plot.labels) == 7 and plot.dots[-1].y < plot.bottom


def test_plot_without_any_difference():
    plot = ForestPlot(
        {
            "reference": "baseline",
            "metrics": {name: entry(0.0, None) for name in HEADLINE},
            "systems": {"injected": {"metrics": {name: entry(0.0, None) for name in HEADLINE}}},
            "controls": {},
        }
    )
    assert [text for _, text in plot.axis.ticks] == ["0"]
