"""A made-up data set in the shape of the paper's, with predictions of four systems on it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.eval.comparing import Letters, unavailable


CATEGORIES = ("Abstraction", "Object", "Social")
SHAPES = ("circle", "square", "triangle", "star")
PLACES = ("left", "right", "top", "bottom")


class Study:
    """Files of a small comparison; tests change the rows and write them again."""

    def __init__(self, folder: Path, images: int = 6, participants: int = 4) -> None:
        self.folder = folder
        rng = np.random.default_rng(7)
        self.rows, self.predictions = [], {name: [] for name in ("baseline", "injected", "off")}
        for image in range(images):
            for person in range(participants):
                target = f"person {person} sees a {SHAPES[image % 4]} at the {PLACES[(image + person) % 4]}"
                self.rows.append(
                    {
                        "id": f"row-{len(self.rows)}",
                        "image_id": f"scene{image}",
                        "participant": f"p{person}",
                        "category": CATEGORIES[image % 3],
                        "conversations": [
                            {"from": "human", "value": "<image>Describe the image."},
                            {"from": "gpt", "value": target},
                        ],
                        "images": [f"images/scene{image}.png"],
                        "saliencies": [f"maps/scene{image}_p{person}.png"],
                    }
                )
                guess = PLACES[rng.integers(4)]
                texts = {
                    "baseline": f"a {SHAPES[image % 4]} at the {PLACES[image % 4]}",
                    "injected": f"person {person} sees a {SHAPES[image % 4]} at the {guess}",
                    "off": f"a {SHAPES[rng.integers(4)]} at the {guess}",
                }
                for name, text in texts.items():
                    self.predictions[name].append({"prompt": "Describe", "predict": text, "label": target})
        (folder / "images").mkdir(parents=True)
        (folder / "maps").mkdir()
        for row in self.rows:
            height, width = 24, 32
            Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(folder / row["images"][0])
            gaze = np.zeros((12, 16), dtype=np.uint16)
            gaze[4:8, 3:9] = 40_000
            Image.fromarray(gaze).save(folder / row["saliencies"][0])  # 16-bit greyscale PNG
        self.write()

    @property
    def dataset(self) -> Path:
        return self.folder / "test.json"

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.jsonl"

    def write(self) -> None:
        self.dataset.write_text(json.dumps(self.rows), encoding="utf-8")
        for name, records in self.predictions.items():
            text = "".join(json.dumps(record) + "\n" for record in records)
            self.file(name).write_text(text, encoding="utf-8")


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(tmp_path / "data")


@pytest.fixture(scope="session")
def cosine():
    from eval.metrics import TokenCosine

    return TokenCosine()


@pytest.fixture
def quick_metrics(monkeypatch, cosine, tmp_path):
    """Java, WordNet and the encoder take seconds to start; `test_the_real_command` starts them all."""
    monkeypatch.setattr("eval.metrics.meteor.JavaMeteor", unavailable)
    monkeypatch.setattr("eval.metrics.meteor.NltkMeteor", lambda: Letters("meteor_nltk", 0.002))
    monkeypatch.setattr("eval.metrics.cider.Cider", unavailable)
    monkeypatch.setattr("eval.metrics.objects.NamedObjects", unavailable)
    monkeypatch.setattr("eval.metrics.encoder.Encoder", lambda model, prefix_space: cosine.encoder)
    monkeypatch.setattr("eval.scoring.cache.default_path", lambda: tmp_path / "scores.sqlite")
