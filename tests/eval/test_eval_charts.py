"""The charts of the report are to scale, say what they leave out, and tell systems apart without colour."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from eval.inputs.joining import read_joined
from eval.metrics import HEADLINE
from eval.report.charts import CategoryBars, Distributions, ForestPlot, ImageDifferences
from eval.report.charts.distributions import BINS
from eval.report.charts.images import MOST_BARS
from eval.scoring.column import Column
from tests.eval.comparing import compare


def entry(diff, ci95):
    return {"diff": diff, "ci95": ci95, "n": 8, "n_images": 2}


def results(main, controls=None, categories=None):
    metrics = dict.fromkeys(HEADLINE, main)
    tables = {group: dict.fromkeys(HEADLINE, one) for group, one in (categories or {}).items()}
    return {
        "reference": "baseline",
        "metrics": metrics,
        "categories": tables,
        "systems": {"injected": {"metrics": metrics, "categories": tables}},
        "controls": {
            name: {"metrics": {metric: {"vs_reference": one} for metric in HEADLINE}}
            for name, one in (controls or {}).items()
        },
    }


@pytest.fixture
def joined(study):
    return read_joined(study.dataset, {name: study.file(name) for name in ("baseline", "injected", "off")})


def columns(joined, rougeL):
    """Columns of which only ROUGE-L has scores, given as (systems, rows)."""
    of = dict(zip(joined.captions, np.array(rougeL, dtype=float), strict=True))
    return {name: Column(of if name == "rougeL" else None) for name in HEADLINE}


def test_forest_plot_is_to_scale():
    plot = ForestPlot(results(entry(0.1, (0.05, 0.15)), {"off": entry(-0.1, None)}))
    injected, off = plot.dots[:2]
    assert (injected.system, off.system, off.interval) == (0, 1, None)
    assert injected.x - plot.axis(0) == pytest.approx(plot.axis(0) - off.x)
    assert injected.interval == pytest.approx((plot.axis(0.05), plot.axis(0.15)))
    places = {text: x for x, text in plot.axis.ticks}
    assert places["+0.10"] == pytest.approx(injected.x) and places["0"] == pytest.approx(plot.axis(0))
    assert all(plot.left <= x <= plot.width - plot.right for x in places.values())
    assert len(plot.labels) == 7 and plot.dots[-1].y < plot.bottom


def test_forest_plot_without_any_difference():
    assert [text for _, text in ForestPlot(results(entry(0.0, None))).axis.ticks] == ["0"]


def test_category_bars_begin_at_zero_and_end_at_the_difference():
    bars = CategoryBars(results(entry(0.1, None), categories={"A": entry(0.2, (0.1, 0.3)), "B": entry(-0.1, None)}))
    assert [panel.label for panel in bars.panels] == [
        *("METEOR", "ROUGE-L", "ROUGE-2", "ROUGE-1", "CS-F1", "CS-Recall", "CS-Precision")
    ]
    first, second = bars.panels[0].bars
    assert first.x - bars.axis(0) == pytest.approx(2 * (bars.axis(0) - second.x))
    assert first.interval == pytest.approx((bars.axis(0.1), bars.axis(0.3))) and second.interval is None
    assert [whole for _, _, whole in bars.names] == ["A", "B"] and first.y < second.y
    assert not CategoryBars(results(entry(0.1, None))).panels


def test_images_are_sorted_and_counted(joined):
    """Images 0 to 5 of four captions each; means of the differences by hand."""
    base = np.zeros(24)
    new = np.repeat([0.1, -0.2, 0.0, 0.4, 0.3, -0.1], 4)
    new[0] += 0.4  # one caption of image 0: its mean is 0.2
    (panel,) = (chart := ImageDifferences(joined, columns(joined, [base, new, base]))).panels
    assert [re.findall(r"Image (\w+): (\S+) ", bar.title)[0] for bar in panel.bars] == [
        *(("scene3", "+0.400"), ("scene4", "+0.300"), ("scene0", "+0.200")),
        *(("scene2", "+0.000"), ("scene5", "\N{MINUS SIGN}0.100"), ("scene1", "\N{MINUS SIGN}0.200")),
    ]
    assert "of 6 images, 3 gained, 2 lost, 1 stayed equal." in panel.sentence and "drawn" not in panel.sentence
    assert panel.bars[0].y == pytest.approx(chart.axis(0.4)) and panel.bars[-1].y > chart.axis(0) > panel.bars[0].y


def test_many_images_are_thinned_evenly_and_said(study):
    images = MOST_BARS + 80
    study.rows = [{**study.rows[0], "id": str(i), "image_id": f"i{i:03}"} for i in range(images)]
    study.predictions = {name: [records[0]] * images for name, records in study.predictions.items()}
    study.write()
    joined = read_joined(study.dataset, {name: study.file(name) for name in ("baseline", "injected")})
    new = np.linspace(1, -0.5, images)
    (panel,) = ImageDifferences(joined, columns(joined, [np.zeros(images), new])).panels
    assert len(panel.bars) == MOST_BARS and f"{MOST_BARS} of them are drawn, evenly" in panel.sentence
    assert f"of {images} images, {(new > 1e-9).sum()} gained, {(new < -1e-9).sum()} lost" in panel.sentence
    assert "Image i000:" in panel.bars[0].title and f"Image i{images - 1}:" in panel.bars[-1].title


def test_distributions_are_numpys_histograms(joined):
    rng = np.random.default_rng(0)
    scores = rng.random((3, 24))
    scores[0, :2] = 0.0, 1.0
    scores[1, 5] = np.nan
    (panel,) = (chart := Distributions(joined, columns(joined, scores))).panels
    assert [curve.system for curve in panel.curves] == [None, 0, 1]
    for curve, values in zip(panel.curves, scores, strict=True):
        values = values[np.isfinite(values)]
        shares = np.histogram(values, bins=BINS, range=(0, 1))[0] / len(values)
        heights = [float(y) for y in re.findall(r"V([\d.]+)H", curve.path)]
        assert heights == pytest.approx([chart.shares(share) for share in shares], abs=0.06)
        assert curve.x == pytest.approx(chart.scores(values.mean()))


@pytest.mark.usefixtures("quick_metrics")
def test_pictures_are_well_formed_and_need_no_colour(study):
    """Hostile names are text, and each of seven systems has a mark of its own."""
    for row in study.rows:
        row["category"] = "<script>" + "x" * 60
    study.write()
    systems = [f"reference={study.file('baseline')}", *(f"s{i}={study.file('injected')}" for i in range(7))]
    done, _ = compare(study.folder / "report", *systems, "--dataset", study.dataset, "--examples", 0)
    assert done.exit_code == 0, done.output
    page = (study.folder / "report" / "report.html").read_text()
    pictures = [ET.fromstring(one) for one in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]
    assert len(pictures) > 20 and "<script>x" not in page
    plot = next(one for one in pictures if one.get("class") == "plot")
    marks = [
        "".join(ET.tostring(child, encoding="unicode") for child in group.find("g")) for group in plot.findall("g")[:7]
    ]
    assert len(set(marks)) == 7
