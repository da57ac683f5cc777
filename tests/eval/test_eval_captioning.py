"""BLEU, CIDEr, the options of CS, objects, references, the human ceiling, and the cache of scores."""

from __future__ import annotations

import sqlite3

import pytest

from eval.errors import InputError, MetricUnavailableError
from eval.inputs.dataset import Row
from eval.metrics.captions import describe
from eval.metrics.models import find_model
from eval.scoring.cache import ScoreCache
from eval.scoring.columns import CosineOptions, score_all
from eval.scoring.references import References


TEXTS = [
    "A man rides a brown horse along the beach.",
    "Two people are walking near the water at sunset",
    "There's a cat, asleep on the grey sofa",
]
HUMAN = [
    ["The man is riding a horse", "A brown horse carries a man along the beach"],
    ["A couple strolls along the beach", "two people walk at sunset near the sea"],
    ["A cat sleeps on a sofa", "the grey cat is asleep"],
]


def rows(*captions):
    """Rows of (image, participant, caption)."""
    return [Row(i, str(i), image, person, None, text, None, None) for i, (image, person, text) in enumerate(captions)]


def test_bleu_is_nltks_of_a_sentence_with_all_orders():
    pytest.importorskip("sacrebleu")
    from nltk.translate.bleu_score import sentence_bleu

    from eval.metrics import Bleu

    text, references = "the cat sat on the mat today", ["the cat sat on the mat", "a cat was sitting on the mat today"]
    expected = sentence_bleu([one.split() for one in references], text.split())
    assert Bleu().score([text, ""], [references, references])["bleu4"] == pytest.approx([expected, 0], abs=1e-9)
    assert "smooth:exp" in Bleu().signature


@pytest.fixture
def split_words(monkeypatch):
    """Words at spaces in place of the Java tokenizer."""
    pytest.importorskip("pycocoevalcap")
    monkeypatch.setattr("eval.metrics.ptb.tokenize", lambda texts: [text.lower() for text in texts])
    monkeypatch.setattr("eval.metrics.ptb.find_java", lambda: "java")


def test_cider_is_that_of_pycocoevalcap(split_words):
    from pycocoevalcap.cider.cider import Cider as Reference

    from eval.metrics import Cider

    lower = [[text.lower() for text in some] for some in HUMAN]
    _, expected = Reference().compute_score(dict(enumerate(lower)), {i: [text.lower()] for i, text in enumerate(TEXTS)})
    assert Cider().score(TEXTS, HUMAN)["cider"] == pytest.approx(list(expected), abs=1e-12)
    # The documents, not the captions of a call, make the weights: any number and order of captions scores the same.
    order = [2, 0, 0, 1]
    scores = Cider(HUMAN).score([TEXTS[i] for i in order], [HUMAN[i] for i in order])["cider"]
    assert scores == pytest.approx([expected[i] for i in order], abs=1e-12)


def test_cider_needs_two_images(split_words):
    from eval.metrics import Cider

    with pytest.raises(MetricUnavailableError, match="at least two"):
        Cider([["one image"]])


@pytest.fixture(scope="module")
def roberta(tmp_path_factory):
    """A random RoBERTa of 18 layers, 16 wide, with a byte-level vocabulary of its own."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaConfig, RobertaModel, RobertaTokenizer

    folder = tmp_path_factory.mktemp("models") / "tiny-roberta"
    folder.mkdir()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    made = ByteLevelBPETokenizer(add_prefix_space=True)
    made.train_from_iterator([*TEXTS, *(text for some in HUMAN for text in some)], 400, 1, special_tokens=special)
    made.save_model(str(folder))
    # bert-score asks for a space before the first word; transformers 5 ignores that, unless the tokenizer says it.
    tokenizer = RobertaTokenizer.from_pretrained(folder, model_max_length=64, add_prefix_space=True)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=400,
        hidden_size=16,
        num_hidden_layers=18,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=66,
        initializer_range=0.3,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    model = RobertaModel(config)
    for layer in model.encoder.layer:  # at full strength random layers make all tokens of a text alike
        layer.attention.output.dense.weight.data *= 0.02
        layer.output.dense.weight.data *= 0.1
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("idf", [False, True])
@pytest.mark.parametrize("kind", ["paper", "embedded"])
def test_cosine_equals_bert_score_at_a_layer(roberta, kind, idf):
    bert_score = pytest.importorskip("bert_score")
    from eval.metrics import TokenCosine

    model = find_model(roberta, preset="paper") if kind == "paper" else find_model(layer=4)
    assert model.layer == (17 if kind == "paper" else 4)
    references = [text for some in HUMAN for text in some]
    scorer = bert_score.BERTScorer(
        str(model.path), num_layers=model.layer, idf=idf, idf_sents=references, device="cpu", nthreads=0
    )
    metric = TokenCosine(model, references if idf else None)
    for name, values in zip(metric.names, scorer.score(TEXTS, HUMAN), strict=True):
        assert metric.score(TEXTS, HUMAN)[name] == pytest.approx(values.tolist(), abs=1e-6)
    assert f"layer:{model.layer}" in metric.signature and ("idf:no" in metric.signature) is not idf


def test_layers_differ(roberta):
    from eval.metrics import TokenCosine

    levels = {layer: TokenCosine(find_model(roberta, layer)).score(TEXTS, HUMAN)["cs_f1"][0] for layer in (1, 17, 18)}
    assert len({round(level, 4) for level in levels.values()}) == 3


def test_the_paper_preset_says_what_it_needs(monkeypatch, roberta):
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *arguments: None)
    with pytest.raises(InputError, match="roberta-large, which is not on this machine"):
        find_model(preset="paper")
    with pytest.raises(InputError, match="layers 1 to 18: there is no layer 19"):
        find_model(roberta, layer=19)


def test_sentence_cosine_is_that_of_sentence_transformers():
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.util import pairwise_cos_sim

    from eval.metrics import SentenceCosine

    metric, first = SentenceCosine(), [some[0] for some in HUMAN]
    model = SentenceTransformer(str(metric.model.path), device="cpu", local_files_only=True)
    expected = pairwise_cos_sim(model.encode(TEXTS), model.encode(first)).tolist()
    assert metric.score(TEXTS, first)["cs_sentence"] == pytest.approx(expected, abs=1e-6)


def test_objects_are_matched_by_whole_words_in_their_basic_form():
    from eval.metrics import NamedObjects

    try:
        metric = NamedObjects()
    except MetricUnavailableError as error:
        pytest.skip(str(error))
    text = "Two red circles, some children and a cartoon of a blue square."
    names = [["red circle"], ["child"], ["car"], ["blue circle"], ["red square"], ["Blue Squares", "dog"]]
    assert metric.score([text] * 6, names)["named"] == [1, 1, 0, 0, 0, 0.5]


def test_length_and_vocabulary():
    found = describe(["A dog, the dog's bone", "a dog", ""])
    assert found == {"n": 3, "words": 7 / 3, "vocabulary": 5, "type_token": 5 / 7}
    assert describe([""])["type_token"] is None


def test_who_is_compared_with_whom():
    data = rows(("i", "a", "one"), ("i", "b", "two"), ("i", "b", "more"), ("j", "a", "lone"))
    own, image = References(data), References(data, "image")
    assert [own.of(row) for row in data] == [("one",), ("two",), ("more",), ("lone",)]
    assert image.of(data[1]) == ("one", "two", "more") and image.tag == "refs:image,1-3"
    # A person's other caption of the image is not another person's.
    assert own.human(data[1]) == [("one", ("two",))] and own.human(data[3]) == []
    assert image.human(data[0]) == [("one", ("two", "more"))]
    assert own.documents == [["one", "two", "more"], ["lone"]]


class Counting:
    """A metric that counts what it is asked for."""

    title, signature, notes, piece = "counting", "impl:counting", "", 10

    def __init__(self):
        self.asked = []

    def score(self, predictions, references):
        self.asked += predictions
        return {"rougeL": [len(text) / 7 for text in predictions]}


def test_a_cache_remembers_by_signature_text_and_references(tmp_path):
    path = tmp_path / "deep" / "scores.sqlite"
    item, value = ("a dog", ("a cat", "a cow")), {"x": 0.1 + 0.2}
    ScoreCache(path).add("impl:x", {item: value})
    again = ScoreCache(path)
    assert again.get("impl:x", [item]) == {item: value}
    assert again.get("impl:y", [item]) == {} and again.get("impl:x", [("a dog", ("a cat",))]) == {}
    assert ScoreCache(None).get("impl:x", [item]) == {}


def test_a_damaged_cache_is_not_believed(tmp_path):
    path, item = tmp_path / "scores.sqlite", ("a", ("b",))
    ScoreCache(path).add("s", {item: {"x": 1.0}})
    with sqlite3.connect(path) as database:
        database.execute("""UPDATE scores SET scores = '{"x": 2.0}'""")
    assert ScoreCache(path).get("s", [item]) == {}
    path.write_bytes(b"no database" * 100)
    cache = ScoreCache(path)
    assert cache.get("s", [item]) == {}
    cache.add("s", {item: {"x": 1.0}})
    assert ScoreCache(path).get("s", [item]) == {item: {"x": 1.0}}


def test_equal_captions_are_scored_once_and_a_second_run_scores_none(study, tmp_path, monkeypatch):
    """Human scores are means over the others; cached scores need neither Java nor an encoder."""
    import numpy as np

    from eval.inputs.joining import read_joined

    def unavailable(*arguments):
        raise MetricUnavailableError("not in this test")

    joined = read_joined(study.dataset, {name: study.file(name) for name in ("baseline", "injected")})
    for name in ("meteor.JavaMeteor", "meteor.NltkMeteor", "cider.Cider"):
        monkeypatch.setattr(f"eval.metrics.{name}", unavailable)
    path = tmp_path / "scores.sqlite"
    options = CosineOptions(rescale="random")
    first = score_all(joined, References(joined.rows), options, ScoreCache(path))
    for name in ("rouge.Rouge.score_pairs", "encoder.Encoder.embed", "encoder.Encoder.token_ids"):
        monkeypatch.setattr(f"eval.metrics.{name}", unavailable)
    second = score_all(joined, References(joined.rows), options, ScoreCache(path))
    for name in ("rougeL", "cs_f1", "cs_f1_rescaled", "cs_sentence"):
        assert np.array_equal(first[name].scores["injected"], second[name].scores["injected"])
        assert np.array_equal(first[name].human, second[name].human)
    assert score_all(joined, References(joined.rows))["rougeL"].scores is None  # without the cache it would have run

    raw, rescaled = first["cs_f1"], first["cs_f1_rescaled"]
    b = float(rescaled.signature.split("rescale:")[1].split("(")[0])
    assert rescaled.scores["injected"] == pytest.approx((raw.scores["injected"] - b) / (1 - b), abs=1e-5)
    assert 0 < b < raw.human.mean() and "rescale:no" in raw.signature


def test_the_human_score_is_the_mean_over_the_others(study, monkeypatch):
    from eval.inputs.joining import read_joined

    metric = Counting()
    for name in ("meteor.JavaMeteor", "meteor.NltkMeteor", "cider.Cider", "bleu.Bleu", "cosine.TokenCosine"):

        def unavailable(*arguments):
            raise MetricUnavailableError("not in this test")

        monkeypatch.setattr(f"eval.metrics.{name}", unavailable)
    monkeypatch.setattr("eval.scoring.columns._Run.columns", _only_rouge(metric))
    joined = read_joined(study.dataset, {"baseline": study.file("baseline"), "injected": study.file("injected")})
    column = score_all(joined, References(joined.rows))["rougeL"]
    others = [row.target for row in joined.rows[:4]]
    assert column.human[1] == pytest.approx(sum(len(others[i]) / 7 for i in (0, 2, 3)) / 3)


def _only_rouge(metric):
    from eval.scoring.column import Column
    from eval.scoring.columns import _Run

    real = _Run.columns

    def columns(self, step, *makers):
        names = [name for _, names in makers for name in names]
        if "rougeL" in names:
            return real(self, step, (lambda: metric, ["rougeL"]))
        return dict.fromkeys(names, Column(None))

    return columns
