"""How long it takes to score captions: ours against the packages called one after another, and 1,000 to 100,000 pairs.

    python -m benchmarks evaluation              # both parts, about 10 minutes on 2 cores
    python -m benchmarks evaluation --part packages
    python -m benchmarks evaluation --part scale

Simulated captions of real English words, seeded: 778 of 30 images by 29 people, about 21 words long, and two systems'
captions of about 36 words. In the first part `score_all` scores both systems and the human ceiling with all metrics,
into an empty cache and then again from it. Beside it stand pycocoevalcap (PTB tokenizer, METEOR, CIDEr), NLTK's METEOR
as evaluate's script calls it, rouge-score, sacrebleu, bert-score and sentence-transformers, called one after another
for each system and for the pairs of people, as their users would, on the same MiniLM and in this one process after a
few captions to warm up. The scores must agree, else nothing is noted. Packages that remember texts within
a call may do so, and sentences are embedded once a call.

In the second part each size runs in a process of its own with all metrics, but a random BERT, 64 wide, in place of
MiniLM, so that not the encoder alone is seen. Half of the pairs are of each system, and the human ceiling adds its own.
There the smallest size is the peer of the others: time of a pair, and the largest memory.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.frame import Result, in_child, peak_mib, seconds
from eval.inputs.dataset import Row
from eval.inputs.joining import Counts, Joined
from eval.metrics.models import CosineModel, find_model
from eval.scoring.cache import ScoreCache
from eval.scoring.column import Column
from eval.scoring.columns import CosineOptions, score_all
from eval.scoring.references import References


PEOPLE, CAPTIONS_PER_IMAGE = 29, 26
SIZES = (1_000, 10_000, 100_000)
TARGET = 1 / 1.5  # of the packages' time

# The names of our columns, and how far apart equal scores may be: the encoders add up in another order.
TOLERANCES = {
    **dict.fromkeys(("rouge1", "rouge2", "rougeL", "meteor_nltk", "meteor", "bleu4", "cider"), 1e-9),
    **dict.fromkeys(("cs_precision", "cs_recall", "cs_f1", "cs_sentence"), 1e-5),
}

Pairs = list[tuple[str, str]]  # captions and their references
Scores = dict[str, list[float]]


def vocabulary() -> list[str]:
    """The 600 most frequent whole words of MiniLM's vocabulary."""
    lines = (find_model().path / "vocab.txt").read_text(encoding="utf-8").split("\n")[1996:]
    return [word for word in lines if word.isascii() and word.isalpha() and len(word) > 1][:600]


def made_up(captions: int) -> Joined:
    """Captions of `CAPTIONS_PER_IMAGE` people an image and of two systems; 40 words of each image come often."""
    rng, words = random.Random(0), vocabulary()
    images = round(captions / CAPTIONS_PER_IMAGE)
    cells = sorted(rng.sample(range(images * PEOPLE), captions))
    topics = [rng.sample(words, 40) for _ in range(images)]

    def say(image: int, length: int) -> str:
        count = max(3, round(rng.gauss(length, length / 5)))
        return " ".join(rng.choice(topics[image] if rng.random() < 0.6 else words) for _ in range(count)) + "."

    rows = []
    for i, cell in enumerate(cells):
        image, person = divmod(cell, PEOPLE)
        rows.append(Row(i, str(i), f"i{image:05}", f"p{person}", f"c{image % 5}", say(image, 21), None, None))
    systems = {name: [say(cell // PEOPLE, 36) for cell in cells] for name in ("baseline", "injected")}
    counts = {name: Counts("order", captions, 0, 0, 0, 0) for name in systems}
    return Joined(rows, systems, {}, "made up by a benchmark", rows, captions, counts)


class Packages:
    """The packages themselves, each as its documentation has it."""

    def __init__(self, documents: list[list[str]]) -> None:
        """documents: the human captions of each image, for CIDEr's weights."""
        self.documents = documents

    def rouge_score(self, pairs: Pairs) -> Scores:
        from rouge_score.rouge_scorer import RougeScorer

        names = ["rouge1", "rouge2", "rougeL"]
        scorer = RougeScorer(names, use_stemmer=True)
        found = [scorer.score(reference, text) for text, reference in pairs]
        return {name: [one[name].fmeasure for one in found] for name in names}

    def nltk(self, pairs: Pairs) -> Scores:
        from nltk.tokenize import NLTKWordTokenizer, PunktSentenceTokenizer
        from nltk.translate.meteor_score import single_meteor_score

        from eval import wordnet

        def words(text: str) -> list[str]:  # word_tokenize, without the trained data that pip does not bring
            return [w for s in PunktSentenceTokenizer().tokenize(text) for w in NLTKWordTokenizer().tokenize(s)]

        reader = wordnet.reader(wordnet.ensure())
        return {"meteor_nltk": [single_meteor_score(words(r), words(text), wordnet=reader) for text, r in pairs]}

    def pycocoevalcap(self, pairs: Pairs) -> Scores:
        from pycocoevalcap.cider.cider_scorer import CiderScorer, cook_refs, cook_test
        from pycocoevalcap.meteor.meteor import Meteor
        from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

        def tokenize(texts: list[str]) -> dict[int, list[str]]:
            return PTBTokenizer().tokenize({i: [{"caption": text}] for i, text in enumerate(texts)})

        texts, references = tokenize([text for text, _ in pairs]), tokenize([reference for _, reference in pairs])
        _, meteor = Meteor().compute_score(references, texts)
        # Cider() would take each caption for an image; its scorer can be told the images, so many captions at a time.
        scorer, size, cider = CiderScorer(), len(self.documents), []
        flat = tokenize([text for some in self.documents for text in some])
        tokens = iter(flat[i][0] for i in range(len(flat)))
        scorer.crefs = [cook_refs([next(tokens) for _ in some]) for some in self.documents]
        scorer.compute_doc_freq()
        for start in range(0, len(pairs), size):
            block = range(start, min(start + size, len(pairs)))
            scorer.ctest = [cook_test(texts[i][0]) for i in block]
            scorer.crefs = [cook_refs(references[i]) for i in block] + [[]] * (size - len(block))
            cider += scorer.compute_cider()
        return {"meteor": meteor, "cider": cider}

    def sacrebleu(self, pairs: Pairs) -> Scores:
        from sacrebleu import sentence_bleu

        return {"bleu4": [sentence_bleu(text, [reference], lowercase=True).score / 100 for text, reference in pairs]}

    def bert_score(self, pairs: Pairs) -> Scores:
        from bert_score import BERTScorer

        scorer = BERTScorer(str(find_model().path), num_layers=6, device="cpu", nthreads=0)
        found = scorer.score(*(list(side) for side in zip(*pairs, strict=True)))
        names = ("cs_precision", "cs_recall", "cs_f1")
        return {name: values.tolist() for name, values in zip(names, found, strict=True)}

    def sentence_transformers(self, pairs: Pairs) -> Scores:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.util import pairwise_cos_sim

        model = SentenceTransformer(str(find_model().path), device="cpu", local_files_only=True)
        texts = list({text: None for pair in pairs for text in pair})
        of_text = dict(zip(texts, model.encode(texts, show_progress_bar=False), strict=True))
        sides = [np.array([of_text[text] for text in side]) for side in zip(*pairs, strict=True)]
        return {"cs_sentence": pairwise_cos_sim(*sides).clamp(min=0).tolist()}

    CALLS = (rouge_score, nltk, pycocoevalcap, sacrebleu, bert_score, sentence_transformers)


# The packages behind each of our steps.
STEPS = {
    "rouge_score": ["ROUGE"],
    "nltk": ["METEOR (NLTK)"],
    "pycocoevalcap": ["METEOR (Java)", "CIDEr"],
    "sacrebleu": ["BLEU"],
    "bert_score": ["CS (sentence encoder)"],
    "sentence_transformers": ["CS (sentence encoder)"],
}


def ours(joined: Joined, cache: ScoreCache | None, model: CosineModel | None = None) -> tuple[Any, dict[str, float]]:
    """The columns, and the seconds of each step."""
    spent: dict[str, float] = {}
    last = time.perf_counter()

    def progress(step: str, done: int = 0, total: int = 0) -> None:
        nonlocal last
        now = time.perf_counter()
        spent[step] = spent.get(step, 0) + now - last
        last = now

    return score_all(joined, References(joined.rows), CosineOptions(model), cache, progress), spent


def theirs(joined: Joined) -> tuple[dict[str, Column], dict[str, float]]:
    """The same columns, package by package and for one set of captions after another."""
    references = References(joined.rows)
    packages = Packages(references.documents)
    people = [[(text, several[0]) for text, several in references.human(row)] for row in joined.rows]
    sets = {
        **{
            name: [(text, row.target) for text, row in zip(captions, joined.rows, strict=True)]
            for name, captions in joined.captions.items()
        },
        "people": [pair for pairs in people for pair in pairs],
    }
    ends = np.cumsum([len(pairs) for pairs in people])[:-1]
    columns, spent = {}, {}
    for call in Packages.CALLS:
        spent[call.__name__], found = seconds(
            lambda call=call: {who: call(packages, pairs) for who, pairs in sets.items()}
        )
        for name in found["people"]:
            human = np.array([part.mean() for part in np.split(np.array(found["people"][name]), ends)])
            columns[name] = Column({who: np.array(found[who][name]) for who in joined.captions}, human)
    return columns, spent


def compare_packages() -> Iterator[Result]:
    """The paper's size by both; ends the program where scores differ."""
    from eval.results.build import build

    few = made_up(2 * CAPTIONS_PER_IMAGE)
    ours(few, None)
    theirs(few)
    joined = made_up(778)
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder, "scores.sqlite")
        fast, (columns, steps) = seconds(lambda: ours(joined, ScoreCache(cache)))
        again, _ = seconds(lambda: ours(joined, ScoreCache(cache)))
    slow, (expected, packages) = seconds(lambda: theirs(joined))
    statistics, _ = seconds(lambda: build(joined, columns, {}, {}, {}))

    apart = {
        name: max(
            *(float(abs(columns[name].scores[who] - expected[name].scores[who]).max()) for who in joined.captions),
            float(np.nanmax(abs(columns[name].human - expected[name].human))),
        )
        for name in TOLERANCES
    }
    if too_far := [name for name, value in apart.items() if value > TOLERANCES[name]]:
        sys.exit(f"not the same scores: {', '.join(too_far)}")

    shape = {
        "captions": 778,
        "pairs_of_people": References(joined.rows).n_human_pairs,
        "second_run_s": round(again, 2),
        "statistics_s": round(statistics, 2),
        "apart": apart,
    }
    done: set[str] = set()
    for name, taken in packages.items():
        here = [step for step in STEPS[name] if step not in done]
        done |= set(here)
        if here:  # ours takes both encoders' scores in one step
            peers = [other for other in packages if STEPS[other] == STEPS[name]]
            mine = sum(steps[step] for step in here)
            yield Result(
                ", ".join(here), "s", mine, sum(packages[other] for other in peers) if len(peers) > 1 else taken,
                "the same scores in score_all", " and ".join(peers),
            )  # fmt: skip
    together = ("score_all, into an empty cache", "the packages one after another")
    yield Result("all metrics together", "s", fast, slow, *together, TARGET, shape)


def tiny_encoder(folder: Path) -> None:
    """A random BERT of two layers with MiniLM's tokenizer, as a sentence-transformers model."""
    from sentence_transformers import SentenceTransformer
    from transformers import AutoTokenizer, BertConfig, BertModel

    config = BertConfig(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128)
    BertModel(config).save_pretrained(folder / "bert")
    AutoTokenizer.from_pretrained(find_model().path).save_pretrained(folder / "bert")
    SentenceTransformer(str(folder / "bert"), device="cpu").save(str(folder / "model"))


def one_size(pairs: int, model: Path) -> dict[str, Any]:
    """Score and test `pairs` pairs of two systems, and say what it took."""
    from eval.results.build import build

    joined = made_up(pairs // 2)
    before = peak_mib()
    with tempfile.TemporaryDirectory() as folder:
        cache = ScoreCache(Path(folder, "scores.sqlite"))
        taken, (columns, steps) = seconds(lambda: ours(joined, cache, find_model(model)))
    statistics, _ = seconds(lambda: build(joined, columns, {}, {}, {}))
    references = References(joined.rows)
    return {
        "pairs": pairs,
        "pairs_of_people": sum(len(references.human(row)) for row in joined.rows),
        "seconds": taken,
        "statistics_s": statistics,
        "steps_s": steps,
        "before_mib": before,
        "peak_mib": peak_mib(),
        "missing": [name for name, column in columns.items() if column.scores is None],
    }


def compare_sizes(sizes: list[int]) -> Iterator[Result]:
    with tempfile.TemporaryDirectory() as folder:
        tiny_encoder(Path(folder))
        smallest, *others = (in_child(one_size, pairs, Path(folder, "model")) for pairs in sizes)

    def each_ms(of: dict[str, Any]) -> float:
        return 1000 * of["seconds"] / (of["pairs"] + of["pairs_of_people"])

    for larger in others:
        named = (f"{larger['pairs']:,} pairs", f"ours at {smallest['pairs']:,} pairs")
        shape = {"larger": larger, "smaller": smallest}
        yield Result(f"a pair of {named[0]}", "ms", each_ms(larger), each_ms(smallest), *named, shape=shape)
        yield Result(f"largest memory, {named[0]}", "MiB", larger["peak_mib"], smallest["peak_mib"], *named)


class Part(StrEnum):
    PACKAGES = "packages"
    SCALE = "scale"


def measure(
    part: Annotated[Part | None, typer.Option(help="only one of the parts")] = None,
    sizes: Annotated[list[int], typer.Option(help="of the second part, the smallest first")] = [*SIZES],  # noqa: B006
) -> Iterator[Result]:
    if part != Part.SCALE:
        yield from compare_packages()
    if part != Part.PACKAGES:
        yield from compare_sizes(sizes)
