"""One question from the click to the report: cards, marks, what happens inside, and the file that is saved."""

import base64
import io
import re
from datetime import datetime

import numpy as np
import pytest
from PIL import Image

import llamafactory_gaze
from llamafactory_gaze.explain import measure_effect
from llamafactory_gaze.playground import pages, session
from llamafactory_gaze.playground.describe import describe
from llamafactory_gaze.playground.gaze import Gaze
from llamafactory_gaze.playground.inside import look_inside
from llamafactory_gaze.playground.models import load_models
from llamafactory_gaze.playground.session import Answered, Card, mark_cards, write_report
from tests.explain.conftest import PROMPT, random_map


def decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"), dtype=int)


@pytest.fixture(scope="module")
def gazes():
    return {"Gaze A": Gaze(random_map(1), "painted in the page"), "Gaze B": Gaze(random_map(2) ** 8, "map b.png")}


def test_a_question_from_the_cards_to_the_last_picture(models, picture, gazes):
    steps = list(describe(models, picture, PROMPT, gazes))
    first, last = steps[0], steps[-1]
    assert [card.title for card in first.cards] == ["Baseline", "Gaze A", "Gaze B"]
    assert [card.text for card in first.cards] == ["", "", ""]
    assert first.cards[1].origin == "painted in the page"
    plain, a, b = (decoded(card.picture) for card in first.cards)
    assert np.abs(a - plain).mean() > 5 and np.abs(b - a).mean() > 5  # each under its own map
    assert all(step.answered is None for step in steps[:-1])
    answered = last.answered
    assert answered.cards == last.cards and answered.comparison == last.comparison
    assert answered.prompt == PROMPT and answered.size == (224, 168)
    assert [one.title for one in answered.inside] == ["Gaze A", "Gaze B"]


def test_without_a_baseline_the_same_model_speaks_twice(alone, picture, gazes):
    last = list(describe(alone, picture, PROMPT, {"Gaze B": gazes["Gaze B"]}))[-1]
    assert [card.title for card in last.cards] == ["Without gaze", "Gaze B"] and last.comparison is None
    assert "the same model" in last.cards[0].origin


def test_differing_words_are_marked():
    texts = ("I see a red circle.", "I see a blue cup.", "i see a red cup")
    cards = [Card(title, "", "", text) for title, text in zip(("Baseline", "Gaze A", "Gaze B"), texts, strict=True)]
    marked, comparison = mark_cards(cards)

    def marks(words):
        return [text for text, differs in words if differs]

    assert [marks(card.words) for card in marked] == [["red circle."], ["blue cup."], ["cup"]]
    assert [marks(words) for words in comparison.words] == [["blue"], ["red"]] and not comparison.same
    page = pages.render("captions.html.j2", cards=marked, comparison=comparison)
    assert re.findall("<mark>(.*?)</mark>", page) == ["red circle.", "blue cup.", "cup", "blue", "red"]
    _, same = mark_cards([cards[0], cards[1], Card("Gaze B", "", "", "i see a BLUE cup")])
    assert same.same and "Both gazes get the same words" in pages.render(
        "captions.html.j2", cards=marked, comparison=same
    )


def test_while_they_stream_captions_are_not_marked():
    cards = [Card("Without gaze", "", "", "a red"), Card("Gaze A", "", "", "a <blue>")]
    page = pages.render("captions.html.j2", cards=cards, comparison=None)
    assert "a red …" in page and "a &lt;blue&gt; …" in page and "<mark>" not in page and "Marked" not in page


def test_attention_and_moved_tokens_lie_where_they_were_measured(models, picture, gazes):
    gaze = gazes["Gaze B"]
    inside = look_inside(models, "Gaze B", gaze, picture)
    effect = measure_effect(models.gaze.model, models.gaze.processor, picture.image, gaze.saliency)
    ((block, heads),) = effect.attention.items()
    assert [panel.title for panel in inside.panels] == [f"Attention in block {block}", "Moved visual tokens"]
    assert [panel.title for panel in inside.heads] == [f"block {block}, head {i}" for i in range(len(heads))]
    assert inside.sentence == ""
    # The yellow end of the scale has the most red in it, and stands where a token moves most.
    moved = decoded(inside.panels[1].picture)
    rows, columns = effect.moved.shape
    cells = moved[: moved.shape[0] // rows * rows, : moved.shape[1] // columns * columns]
    cells = cells.reshape(rows, moved.shape[0] // rows, columns, moved.shape[1] // columns, 3).mean((1, 3))
    assert (cells[..., 0] - cells[..., 2]).argmax() == effect.moved.argmax()
    # Red over blue in the attention: more than chance on one side, less on the other.
    mean = heads.mean(0) * heads[0].size
    drawn = decoded(inside.panels[0].picture)
    height, width = drawn.shape[0] / mean.shape[0], drawn.shape[1] / mean.shape[1]
    warmth = [
        drawn[int((row + 0.5) * height), int((column + 0.5) * width), 0]
        - drawn[int((row + 0.5) * height), int((column + 0.5) * width), 2]
        for row, column in (np.unravel_index(i, mean.shape) for i in (mean.argmax(), mean.argmin()))
    ]
    assert warmth[0] > 10 > -10 > warmth[1]


@pytest.mark.parametrize(
    ("fusion", "layer", "titles", "sentence"),
    [
        ("score_modulation", 1, ["Moved visual tokens"], "has no attention of its own"),
        ("dim", None, ["The picture as the model gets it"], "is drawn into the picture"),
        ("text", None, [], "is written into the prompt"),
    ],
)
def test_of_other_fusions_only_what_there_is_is_shown(exported, picture, gazes, fusion, layer, titles, sentence):
    models = load_models(exported(fusion, layer) if layer else exported(fusion))
    inside = look_inside(models, "Gaze A", gazes["Gaze A"], picture)
    assert [panel.title for panel in inside.panels] == titles and inside.heads == []
    assert f"gaze_fusion {fusion}" in inside.sentence and sentence in inside.sentence


def answered(models, picture, gazes, prompt=PROMPT):
    return list(describe(models, picture, prompt, gazes))[-1].answered


def test_the_report_holds_everything_in_one_file(models, picture, gazes, tmp_path):
    one, two = (answered(models, picture, gazes, prompt) for prompt in (PROMPT, "What is this?"))
    target = tmp_path / "report.html"
    write_report(target, models, [one, two])
    page = target.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    plain = re.sub(r"<[^>]*>", "", page)
    for text in (
        "2 questions",
        PROMPT,
        "What is this?",
        "scene.png",
        "224\N{MULTIPLICATION SIGN}168 pixels",
        models.gaze.name,
        models.baseline.name,
        "gaze_fusion: cross_attention",
        f"llamafactory-gaze {llamafactory_gaze.__version__}",
        datetime.now().strftime("%Y-%m-%d"),
        "painted in the page",
        "map b.png",
        *(card.text for card in one.cards),
    ):
        assert text in plain, text
    pictures = re.findall(r'<img src="([^"]*)"', page)
    heads = sum(len(inside.heads) + len(inside.panels) for inside in one.inside)
    assert len(pictures) == 2 * (3 + heads) and all(uri.startswith("data:image/") for uri in pictures)
    assert not re.findall(r"""(?:src|href)=(?!"data:)|url\(|@import|<script""", page)


def test_what_people_write_is_text_and_not_markup(models, picture, tmp_path):
    evil = "<script>alert(1)</script>"
    cards = [Card(evil, evil, "data:,", evil, [(evil, True)]) for _ in range(2)]
    answer = Answered(datetime.now(), evil, (1, 1), evil, cards, None, [])
    write_report(tmp_path / "report.html", models, [answer])
    page = (tmp_path / "report.html").read_text()
    assert "<script" not in page and page.count("&lt;script&gt;alert(1)") >= 8


def test_a_report_appears_whole_or_not_at_all(models, tmp_path, monkeypatch):
    def fail(*arguments, **values):
        raise RuntimeError("no ink")

    monkeypatch.setattr(session.pages, "render", fail)
    with pytest.raises(RuntimeError):
        write_report(tmp_path / "report.html", models, [])
    assert list(tmp_path.iterdir()) == []
