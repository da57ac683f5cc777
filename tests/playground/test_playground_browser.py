"""The page as people use it, in a real browser: `llamafactory-gaze playground` is a process of its own.

The picture in the README is made by the first test, with the models that `make demo` has trained:

    GAZE_DEMO=saves/demo GAZE_SCREENSHOT=docs/images/playground.png \\
      python -m pytest tests/playground/test_playground_browser.py -k captions
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import psutil
import pytest
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from llamafactory_gaze.demo.run import BASE_MODEL
from tests.browser import BROWSER, needs_browser
from tests.playground.conftest import PLACES, scene
from tests.ports import free_port


pytestmark = [needs_browser, pytest.mark.slow]

DEMO, SCREENSHOT = os.environ.get("GAZE_DEMO"), os.environ.get("GAZE_SCREENSHOT")
EDITORS = ("gaze-a", "gaze-b")
WAIT = 30_000  # ms, for what takes a second on an idle machine


@pytest.fixture(scope="module")
def talkative(gaze_model, tmp_path_factory) -> Path:
    """A gaze model that speaks long enough for the browser, which draws slowly here, to show it speaking."""
    folder = tmp_path_factory.mktemp("talkative") / "model"
    shutil.copytree(gaze_model, folder)
    settings = folder / "generation_config.json"
    # Without the special tokens, one of which ends an answer, it goes on as long as it may.
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"suppress_tokens": list(range(8))}))
    return folder


@pytest.fixture(scope="module")
def server(talkative, tmp_path_factory):
    """(address, process) of a playground."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("llamafactory-gaze")), "playground", "--port", str(port)]
    if DEMO:
        for system, option in (("injected", ""), ("baseline", "baseline-")):
            command += ["--baseline" if option else "--model", os.path.relpath(BASE_MODEL)]
            for stage in (1, 2):
                command += [f"--{option}adapter", f"{DEMO}/{system}/stage{stage}"]
    else:
        command += ["--model", str(talkative), "--baseline", str(BASE_MODEL)]
    environment = {**os.environ, "TMPDIR": str(tmp_path_factory.mktemp("temporary")), "PYTHONUNBUFFERED": "1"}
    log = tmp_path_factory.mktemp("server") / "log.txt"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--max-upload-mb", "2"], stdout=output, stderr=subprocess.STDOUT, env=environment
        )
    address = f"http://127.0.0.1:{port}/"
    try:
        while f"The playground is at {address} " not in log.read_text():
            assert process.poll() is None, log.read_text()
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.2)
        yield address, process
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert "Traceback" not in log.read_text() and "Warning" not in log.read_text()
        assert list(Path(environment["TMPDIR"]).glob("gaze-playground-*")) == []  # the uploads are gone
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        # WebGL without a graphics card: the editor draws with it.
        options = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        browser = playwright.chromium.launch(executable_path=BROWSER, args=options)
        yield browser
        browser.close()


@pytest.fixture
def page(server, browser):
    """The page, opened; at its end nothing may have come from elsewhere."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(WAIT)
    expect.set_options(timeout=WAIT)
    page = context.new_page()
    answered, failed = [], []
    page.on("response", lambda response: answered.append(response.url))
    page.on("requestfailed", lambda request: failed.append((request.url, request.failure)))
    page.goto(server[0])
    yield page
    context.close()
    elsewhere = (server[0], "data:", "blob:")
    assert [url for url in answered if not url.startswith(elsewhere)] == []
    assert {reason for url, reason in failed if not url.startswith(elsewhere)} <= {"csp"}  # our policy, not a network


@pytest.fixture
def files(tmp_path):
    """A folder with a picture."""
    scene().image.save(tmp_path / "scene.png")
    return tmp_path


def upload(page, where: str, file: Path) -> None:
    page.set_input_files(f"#{where} input[type=file]", file)


def open_picture(page, file: Path) -> None:
    """Uploads a picture, and waits until both editors show it: one can see it, and nothing else tells."""
    for name in EDITORS:
        page.locator(f"#{name}-editor canvas").first.wait_for()
    upload(page, "picture", file)
    latest = time.monotonic() + WAIT / 1000
    for name in EDITORS:
        while is_empty(page.locator(f"#{name}-editor canvas").first.screenshot()):
            assert time.monotonic() < latest
            page.wait_for_timeout(200)


def is_empty(screenshot: bytes) -> bool:
    """Whether more than three quarters of a canvas have one colour."""
    with Image.open(BytesIO(screenshot)) as image:
        counts = [count for count, _ in image.convert("RGB").getcolors(image.width * image.height)]
    return max(counts) > 0.75 * sum(counts)


def paint(page, name: str, place: tuple[float, float], size: tuple[int, int]) -> None:
    """A short stroke at a place of the picture, which stands in the middle of the canvas."""
    canvas = page.locator(f"#{name}-editor canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    # The editor leaves some room around the picture; the places are far enough from its borders.
    scale = 0.75 * min(box["width"] / size[0], box["height"] / size[1])
    x = box["x"] + box["width"] / 2 + (place[0] - 0.5) * size[0] * scale
    y = box["y"] + box["height"] / 2 + (place[1] - 0.5) * size[1] * scale - 20
    page.wait_for_timeout(500)  # the editor takes its tools up
    page.mouse.move(x - 6, y)
    page.mouse.down()
    page.mouse.move(x + 6, y + 6, steps=6)
    page.mouse.up()
    page.wait_for_timeout(500)  # and lays the stroke down


def cards(page) -> list[list[str]]:
    """(title, origin, caption) of each card."""
    return [
        [card.locator(part).inner_text() for part in (".pg-title", ".pg-note", ".pg-said")]
        for card in page.locator("#captions .pg-card").all()
    ]


def describe(page) -> list[list[str]]:
    page.click("#describe")
    page.locator("#inside .pg-panel").first.wait_for()
    return cards(page)


def toast(page) -> str:
    """The sentence of an error, which is closed again."""
    text = page.locator(".toast-text").inner_text()
    page.locator(".toast-close").click()
    expect(page.locator(".toast-text")).to_have_count(0)
    return text


def test_paint_in_two_places_and_read_two_captions(server, page, files, tmp_path):
    file = Path(DEMO) / "data/images/scene0200.png" if DEMO else files / "scene.png"
    size = Image.open(file).size
    open_picture(page, file)
    # Everything that the captions were on their way.
    page.evaluate(
        """() => {
          window.seen = [];
          const captions = document.querySelector("#captions");
          const look = () => window.seen.push([...captions.querySelectorAll(".pg-card .pg-said")].map(
            (said) => said.textContent.trim()));
          new MutationObserver(look).observe(captions, {childList: true, subtree: true, characterData: true});
        }"""
    )
    for title, place in PLACES.items():
        paint(page, title.lower().replace(" ", "-"), place, size)
    (plain, _, baseline), (_, origin, a), (_, _, b) = describe(page)
    assert plain == "Baseline" and origin == "painted in the page"
    assert "" not in (baseline, a, b) and "…" not in baseline + a + b
    assert a != b and baseline != a
    marks = page.locator("#captions .pg-card mark").all_inner_texts()
    assert marks and all(any(mark in caption for caption in (baseline, a, b)) for mark in marks)
    assert page.locator("#captions .pg-versus mark").count() > 0
    on_the_way = [state for state in page.evaluate("window.seen") if state and all(text[-1] == "…" for text in state)]
    for state in on_the_way:
        parts = [text.removesuffix("…").split() for text in state]
        assert all(whole.split()[: len(part)] == part for whole, part in zip((baseline, a, b), parts, strict=True))
    # They streamed: there were words before all captions were complete. The demo's are too short to be caught at it.
    assert DEMO or any(set(state) != {"…"} for state in on_the_way)
    pictures = page.locator("#captions img").evaluate_all("images => images.map((image) => image.src)")
    assert len(set(pictures)) == 3
    expect(page.locator("#inside .pg-title").first).to_have_text("Gaze A")
    assert page.locator("#inside .pg-inside").count() == 2

    addresses = {each.laddr.ip for each in psutil.Process(server[1].pid).net_connections() if each.status == "LISTEN"}
    assert addresses == {"127.0.0.1"}

    target = Path(SCREENSHOT or tmp_path / "playground.png")
    page.mouse.move(0, 0)
    page.screenshot(path=target, full_page=True)
    Image.open(target).convert("RGB").quantize(256, kmeans=3).save(target, optimize=True)  # a third of the bytes
    assert Image.open(target).width == 1400

    with page.expect_download() as download:
        page.click("#report")
    assert download.value.suggested_filename == "gaze-session.html"
    report = re.sub(r"<[^>]*>", "", Path(download.value.path()).read_text())
    assert all(text in report for text in (baseline, a, b, "painted in the page", "Describe the image."))


def test_replay_fixations_and_ask_at_a_moment(page, files):
    rows = ["scene.png,anna,40,50,400", "scene.png,anna,120,110,600", "scene.png,ben,20,20,300", "b.png,ben,5,5,100"]
    (files / "table.csv").write_text("\n".join(["image,participant,x,y,duration_ms", *rows]) + "\n")
    open_picture(page, files / "scene.png")
    page.get_by_role("tab", name="Fixations").first.click()
    upload(page, "gaze-a-table", files / "table.csv")
    shown = page.locator(".pg-preview .pg-note").first
    expect(shown).to_have_text("3 of 3 fixations on the picture")
    page.get_by_label("Who").first.click()
    page.get_by_role("option", name="anna").click()
    expect(shown).to_have_text("2 of 2 fixations on the picture")
    moment = page.locator("#gaze-a-time input[type=number]")
    assert moment.input_value() == "1"
    moment.fill("0.3")
    moment.press("Enter")
    expect(shown).to_have_text("1 of 2 fixations on the picture")
    assert describe(page)[1][1] == "1 fixation of anna, the first 0.30 of 1.00 s"
    page.get_by_role("button", name="Replay").first.click()
    expect(shown).to_have_text("2 of 2 fixations on the picture")
    expect(moment).to_have_value("1")
    page.click("#describe")
    expect(page.locator("#captions .pg-note").nth(1)).to_have_text("2 fixations of anna")


def test_what_cannot_be_used_is_said_in_the_page(page, files):
    page.click("#describe")
    assert "There is no picture yet" in toast(page)
    (files / "text.png").write_text("no picture")
    upload(page, "picture", files / "text.png")
    assert "text.png cannot be read as a picture" in toast(page)
    (files / "heavy.png").write_bytes(os.urandom(2_200_000))
    page.locator("#picture").get_by_label("Clear").click()
    upload(page, "picture", files / "heavy.png")
    assert "size" in toast(page).lower()
    page.reload()
    open_picture(page, files / "scene.png")
    page.click("#describe")
    assert "There is no gaze yet" in toast(page)
    page.get_by_role("tab", name="Map").first.click()
    upload(page, "gaze-a-map", files / "scene.png")
    assert "Saliency map scene.png is an RGB colour image" in toast(page)


def test_a_painting_can_be_cleared_and_the_picture_stays(page, files):
    open_picture(page, files / "scene.png")
    paint(page, "gaze-a", PLACES["Gaze A"], scene().image.size)
    caption = describe(page)[1][2]
    page.click("#gaze-a-clear")
    page.wait_for_timeout(1500)  # the picture is loaded anew
    page.click("#describe")
    assert "There is no gaze yet" in toast(page)
    paint(page, "gaze-a", PLACES["Gaze B"], scene().image.size)
    page.click("#describe")
    expect(page.locator("#captions .pg-card .pg-said").nth(1)).not_to_have_text(re.compile(f"{re.escape(caption)}|…"))


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_it_fits_a_telephone(page, colours):
    page.emulate_media(color_scheme=colours)
    page.set_viewport_size({"width": 420, "height": 900})
    page.click("#example")
    page.locator("#gaze-b-editor canvas").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 420
