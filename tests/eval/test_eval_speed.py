"""Scoring in pieces: the same scores in little memory, nothing computed twice, nothing lost when a run is killed."""

from __future__ import annotations

import numpy as np
import pytest

from eval.errors import MetricUnavailableError
from eval.inputs.dataset import Row
from eval.inputs.joining import Joined
from eval.metrics.base import PairMetric
from eval.metrics.recent import Recent
from eval.scoring.cache import ScoreCache
from eval.scoring.columns import score_all
from eval.scoring.references import References


WORDS = [
    "man",
    "horse",
    "beach",
    "dog",
    "red",
    "circle",
    "left",
    "boat",
    "sky",
    "two",
    "people",
    "walking",
    "grass",
    "house",
    "window",
    "child",
    "ball",
    "water",
]


def study(images=3, people=3, seed=0):
    """Rows image by person, so that neighbours are of different images, with two systems' captions."""
    rng = np.random.default_rng(seed)

    def say(words):
        return "a " + " ".join(rng.choice(WORDS, words))

    cells = [(image, person) for person in range(people) for image in range(images)]
    rows = [
        Row(i, str(i), f"i{image}", f"p{person}", None, say(7), None, None) for i, (image, person) in enumerate(cells)
    ]
    systems = {name: [say(12) for _ in rows] for name in ("baseline", "injected")}
    return Joined(rows, systems, {}, None, rows, len(rows), {})


def unavailable(*arguments):
    raise MetricUnavailableError("not in this test")


def only(monkeypatch, *kept):
    """Leave only some metrics: the others cannot run."""
    for module, name in (
        *(("rouge", "Rouge"), ("bleu", "Bleu"), ("cider", "Cider"), ("meteor", "NltkMeteor"), ("meteor", "JavaMeteor")),
        *(("cosine", "TokenCosine"), ("cosine", "SentenceCosine")),
    ):
        if name not in kept:
            monkeypatch.setattr(f"eval.metrics.{module}.{name}", unavailable)


def assert_equal(one, other, tolerance=0.0):
    for name in one:
        for system in one[name].scores:
            assert one[name].scores[system] == pytest.approx(other[name].scores[system], abs=tolerance)
        assert one[name].human == pytest.approx(other[name].human, abs=tolerance)


def score(joined, cache=None, progress=lambda *arguments: None):
    columns = score_all(joined, References(joined.rows), None, cache, progress)
    return {name: column for name, column in columns.items() if column.scores is not None}


@pytest.fixture
def encoded(monkeypatch):
    """The texts that SentenceTransformer.encode is given."""
    from sentence_transformers import SentenceTransformer

    texts, real = [], SentenceTransformer.encode

    def encode(self, sentences, **options):
        texts.extend(sentences)
        return real(self, sentences, **options)

    monkeypatch.setattr(SentenceTransformer, "encode", encode)
    return texts


def test_the_least_recently_asked_is_forgotten_first():
    made = []

    def make(texts):
        made.extend(texts)
        return [text.upper() for text in texts]

    recent = Recent(limit=5, size=len)
    assert recent.get(["aa", "bb", "aa"], make) == {"aa": "AA", "bb": "BB"}
    recent.get(["aa"], make)
    recent.get(["cc"], make)  # six letters: bb has to go
    assert made == ["aa", "bb", "cc"]
    recent.get(["aa", "cc"], make)
    assert made == ["aa", "bb", "cc"]
    # What does not fit is found all the same, and kept no longer.
    assert recent.get(["bb", "dddddd"], make) == {"bb": "BB", "dddddd": "DDDDDD"}
    recent.get(["dddddd"], make)
    assert made[3:] == ["bb", "dddddd", "dddddd"]


def test_pieces_of_any_size_give_the_same_scores(monkeypatch, encoded):
    joined = study()
    only(monkeypatch, "Rouge", "TokenCosine", "SentenceCosine")
    whole = score(joined)
    assert len(encoded) == len(set(encoded)) == 3 * len(joined.rows)  # both cosines and people from one pass
    encoded.clear()
    monkeypatch.setattr("eval.metrics.base.CaptionMetric.piece", 1)
    told = []
    assert_equal(score(joined, progress=lambda *step: told.append(step)), whole, 1e-6)
    assert [done for step, done, total in told if step == "ROUGE"] == list(range(10)) and told[0][2] == 9
    # Rows of one image follow each other, so nothing is encoded twice even if only an image's texts are remembered.
    assert len(encoded) == len(set(encoded))
    encoded.clear()
    monkeypatch.setattr("eval.metrics.encoder.MEMORY", 0)
    assert_equal(score(joined), whole, 1e-6)
    assert len(encoded) > len(set(encoded))


def test_a_killed_run_goes_on_where_it_was(monkeypatch, tmp_path):
    from eval.metrics import Rouge

    joined, asked, real = study(), [], Rouge.score
    only(monkeypatch, "Rouge")
    whole = score(joined)
    monkeypatch.setattr("eval.metrics.base.CaptionMetric.piece", 10)

    def score_until_killed(self, predictions, references):
        if asked:
            raise KeyboardInterrupt
        asked.extend(predictions)
        return real(self, predictions, references)

    def score_and_note(self, predictions, references):
        asked.extend(predictions)
        return real(self, predictions, references)

    monkeypatch.setattr(Rouge, "score", score_until_killed)
    with pytest.raises(KeyboardInterrupt):
        score(joined, ScoreCache(tmp_path / "scores.sqlite"))
    before = len(asked)
    monkeypatch.setattr(Rouge, "score", score_and_note)
    assert_equal(score(joined, ScoreCache(tmp_path / "scores.sqlite")), whole)
    assert 0 < before < len(asked) == 9 * 4  # each row's two systems and two other people, each of them once


def test_a_second_run_starts_neither_java_nor_an_encoder(monkeypatch, tmp_path, encoded):
    pytest.importorskip("pycocoevalcap")
    from eval.metrics import ptb

    try:
        ptb.find_java()
    except MetricUnavailableError as error:
        pytest.skip(str(error))
    programs, real = [], ptb.run_java

    def run_java(*arguments, **options):
        programs.append(next(str(one) for one in arguments if "meteor-1.5" in str(one) or "PTB" in str(one)))
        return real(*arguments, **options)

    monkeypatch.setattr("eval.metrics.ptb.run_java", run_java)
    monkeypatch.setattr("eval.metrics.ptb._recent", Recent(limit=1000, size=lambda tokens: 1))
    joined, path = study(), tmp_path / "scores.sqlite"
    first = score(joined, ScoreCache(path))
    assert {"meteor", "cider", "cs_f1", "cs_sentence"} <= set(first) and encoded
    assert len(programs) == 2  # METEOR and CIDEr share the tokens of one start of the tokenizer
    programs.clear()
    encoded.clear()
    monkeypatch.setattr("eval.metrics.ptb._recent", Recent(limit=0, size=lambda tokens: 1))
    assert_equal(score(joined, ScoreCache(path)), first)
    assert not programs and not encoded


class Number(PairMetric):
    """Scores a caption that is a number by that number."""

    title, names, signature = "number", ("rougeL", "rouge1", "rouge2"), "impl:number"

    def score_pairs(self, pairs):
        return {name: [float(text) for text, _ in pairs] for name in self.names}


def people(images, persons):
    """Each person says their own number of each image, plus a hundredth of the image."""
    cells = [(image, person) for image in range(images) for person in range(persons)]
    return [
        Row(i, str(i), f"i{image}", f"p{person}", None, f"{person}.{image:02}", None, None)
        for i, (image, person) in enumerate(cells)
    ]


def test_all_other_people_below_the_budget_and_a_seeded_draw_above_it():
    rows = people(4, 10)
    everything, drawn = References(rows, human_pairs=360), References(rows, human_pairs=359)
    assert everything.n_human_pairs == 4 * 10 * 9 == sum(len(everything.human(row)) for row in rows)
    assert everything.human_text is None and everything.tag == "refs:own"

    found = {row.row: drawn.human(row) for row in rows}
    assert {len(items) for items in found.values()} == {8}
    assert "8 other people at most" in drawn.human_text and "360 pairs" in drawn.human_text
    assert drawn.tag == "refs:own|human:8,seed0"
    for row in rows:
        assert set(found[row.row]) < set(everything.human(row)) and len(set(found[row.row])) == 8
    again = References(rows[5:], everyone=rows, human_pairs=35 * 8)
    assert again.human(rows[7]) == found[7]  # whichever rows are scored beside it
    other = References(rows, human_pairs=359, seed=1)
    assert any(other.human(row) != found[row.row] for row in rows)
    # However small the budget, one.
    assert {len(References(rows, human_pairs=1).human(row)) for row in rows} == {1}


def test_a_persons_several_captions_are_never_drawn_as_others():
    rows = [
        *(Row(i, str(i), "i", "same", None, f"mine {i}", None, None) for i in range(6)),
        *(Row(6 + i, str(6 + i), "i", None, None, f"unnamed {i}", None, None) for i in range(3)),
    ]
    drawn = References(rows, human_pairs=27)
    assert drawn.n_human_pairs == 6 * 3 + 3 * 8 and drawn.others_per_row == 3
    assert {tuple(sorted(text for text, _ in drawn.human(row))) for row in rows[:6]} == {
        ("unnamed 0", "unnamed 1", "unnamed 2")
    }
    for row in rows[6:]:
        texts = [text for text, _ in drawn.human(row)]
        assert len(set(texts)) == 3 and row.target not in texts


def test_the_drawn_human_score_is_near_that_of_all(monkeypatch):
    rows = people(20, 50)
    joined = Joined(rows, {name: ["0"] * len(rows) for name in ("baseline", "injected")}, {}, None, rows, len(rows), {})
    only(monkeypatch, "Rouge")
    monkeypatch.setattr("eval.metrics.rouge.Rouge", Number)

    def human(pairs):
        return score_all(joined, References(rows, human_pairs=pairs))["rougeL"].human

    everyone, drawn = human(49_000), human(10_000)
    numbers = np.array([float(row.target) for row in rows])
    of_image = numbers.reshape(20, 50).sum(axis=1).repeat(50)
    assert everyone == pytest.approx((of_image - numbers) / 49)
    # A mean of 10 of 49 numbers 0 to 49 has a standard error of 14.4 / sqrt(10) * sqrt(39 / 48) = 4.1 a row.
    assert abs(drawn.mean() - everyone.mean()) < 4 * 4.1 / np.sqrt(len(rows)) and drawn.std() > 3
