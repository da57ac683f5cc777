"""A valid data set of six images and two people, in which a test breaks one thing."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llamafactory_gaze.data.registry import gaze_entry, register
from llamafactory_gaze.data.validation.report import validate_dataset


SIZE = (80, 60)
SPLITS = {"stage1": (0, 1, 2, 3), "stage2": (0, 1, 2, 3), "test": (4, 5)}  # split -> numbers of its images


def save_image(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def save_map(path: Path, values: np.ndarray, bits: int = 16) -> None:
    """`values` (H, W) in [0, 1]."""
    dtype = np.uint16 if bits == 16 else np.uint8
    Image.fromarray((values * np.iinfo(dtype).max).round().astype(dtype)).save(path)


def blob(size: tuple[int, int] = SIZE) -> np.ndarray:
    """A map with one maximum of 1, as fixations make it."""
    x, y = np.linspace(-1, 1, size[0]), np.linspace(-1, 1, size[1])[:, None]
    saliency = np.exp(-8 * (x**2 + y**2))
    return saliency / saliency.max()


def row(image: int, participant: str, text: str) -> dict:
    return {
        "id": f"i{image}_{participant}",
        "image_id": f"i{image}",
        "participant": participant,
        "category": "Object",
        "conversations": [{"from": "human", "value": "<image>Describe it."}, {"from": "gpt", "value": text}],
        "images": [f"small/images/i{image}.png"],
        "saliencies": [f"small/maps/i{image}.png"],
    }


class Valid:
    """The data set `small`; `rows[split]` is written when it is validated."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name in ("images", "maps"):
            (folder / "small" / name).mkdir(parents=True)
        self.rows: dict[str, list[dict]] = {}
        for split, images in SPLITS.items():
            self.rows[split] = [
                row(i, who, f"So I can see the thing of number {i}, says {who}.")
                for i in images
                for who in ("p1", "p2")
            ]
            for i in images:
                save_image(self.image(i), i)
                save_map(self.map(i), blob())
        register(folder, {f"small_{split}": gaze_entry(f"small/{split}.json") for split in SPLITS})

    def image(self, number: int) -> Path:
        return self.folder / f"small/images/i{number}.png"

    def map(self, number: int) -> Path:
        return self.folder / f"small/maps/i{number}.png"

    def file(self, split: str) -> Path:
        return self.folder / "small" / f"{split}.json"

    def entry(self, split: str, /, **changes) -> None:
        register(self.folder, {f"small_{split}": {**gaze_entry(f"small/{split}.json"), **changes}})

    def answer(self, split: str, number: int, text: str) -> None:
        self.rows[split][number]["conversations"][1]["value"] = text

    def validate(self, name: str = "small"):
        for split, rows in self.rows.items():
            self.file(split).write_text(json.dumps(rows), encoding="utf-8")
        return validate_dataset(name, self.folder, jobs=2)

    def found(self, name: str = "small") -> list[tuple[str, str, int | None, str | None]]:
        """(kind, file, row, id) of every problem and warning."""
        return [(p.kind, Path(p.file).name, p.row, p.id) for p in self.validate(name).problems]


@pytest.fixture
def valid(tmp_path) -> Valid:
    return Valid(tmp_path)
