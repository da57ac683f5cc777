"""The page in a real browser: it fits wide and narrow windows, and the examples sort and filter."""

from __future__ import annotations

import html
import json
import re
import subprocess

import pytest

from tests.browser import BROWSER, needs_browser
from tests.eval.comparing import run


pytestmark = [pytest.mark.usefixtures("quick_metrics"), needs_browser]

# The page in a frame, since the window itself cannot be narrower than 500 pixels.
FRAME = """<body><iframe width="{width}" height="900" style="border: 0" srcdoc="{page}"></iframe><script>
  const report = (name, value) => document.body.setAttribute("data-" + name, JSON.stringify(value));
  const frame = document.querySelector("iframe");
  frame.addEventListener("load", () => {{ const page = frame.contentDocument; {script} }});
</script></body>"""


def look(page, script, width=1400):
    """What the script reports of the document `page`, shown at this width."""
    framed = page.with_name("framed.html")
    framed.write_text(FRAME.format(width=width, page=html.escape(page.read_text()), script=script))
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1600,1000", "--dump-dom"]
    done = subprocess.run([*command, framed.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    (body,) = re.findall(r"^(?:<html>)?(?:<head></head>)?<body([^>]*)>", done.stdout)
    return {name: json.loads(html.unescape(value)) for name, value in re.findall(r'data-(\w+)="([^"]*)"', body)}


@pytest.fixture
def page(study):
    done, folder, _ = run(study, "--control", f"off={study.file('off')}")
    assert done.exit_code == 0, done.output
    return folder / "report.html"


@pytest.mark.parametrize("width", [1400, 400])
def test_nothing_is_wider_than_the_window(page, width):
    script = 'report("wide", [frame.contentWindow.innerWidth, page.documentElement.scrollWidth]);'
    inner, needed = look(page, script, width)["wide"]
    assert inner == width and needed <= inner


def test_examples_sort_by_gain_and_filter_by_category(page):
    script = """
      const form = page.getElementById("gallery-controls");
      const state = () => [...page.querySelectorAll("#gallery figure")].filter((figure) => !figure.hidden).map(
        (figure) => [figure.dataset.category, JSON.parse(figure.dataset.gains).rougeL]);
      const choose = (order, category) => {
        form.metric.value = "rougeL"; form.order.value = order; form.category.value = category;
        form.dispatchEvent(new Event("change"));
      };
      report("drawn", state());
      choose("-1", ""); report("gain", state());
      choose("1", "Social"); report("loss", state());
      choose("", ""); report("again", state());
    """
    found = look(page, script)
    drawn = found["drawn"]
    assert len(drawn) == 24 and found["again"] == drawn
    assert [gain for _, gain in found["gain"]] == sorted((gain for _, gain in drawn), reverse=True) != drawn
    social = sorted(gain for category, gain in drawn if category == "Social")
    assert found["loss"] == [["Social", gain] for gain in social] and len(social) == 8
