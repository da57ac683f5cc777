"""A small made-up recording: five photographs in two categories, two participants who look at opposite corners."""

import os
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llamafactory_gaze.data.maps.options import MapOptions
from llamafactory_gaze.data.triples.exclusions import NO_RULES
from llamafactory_gaze.data.triples.options import DatasetOptions


IMAGE_SIZES = {"a1.png": (80, 60), "a2.png": (80, 60), "a3.jpg": (50, 70), "b1.png": (64, 64), "b2.png": (90, 30)}


class Recording:
    """The input files of a data set; `fixations` and `descriptions` are lists of lines that a test may change."""

    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "photographs").mkdir()
        rng = np.random.default_rng(0)
        for name, (width, height) in IMAGE_SIZES.items():
            pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photographs" / name)
        self.fixations = ["image,participant,index,x,y,duration_ms"]
        self.descriptions = ["image,participant,category,description"]
        for name, (width, height) in IMAGE_SIZES.items():
            for participant, share in (("p1", 0.2), ("p2", 0.8)):
                for index, duration in enumerate((100, 300)):
                    x, y = width * share + index, height * share
                    self.fixations.append(f"{name},{participant},{index},{x},{y},{duration}")
                category = "Object" if name.startswith("a") else "Social"
                self.descriptions.append(f'{name},{participant},{category},"{participant} sees {name}, plainly."')

    def options(self, **changes) -> DatasetOptions:
        """`changes` may also be of the maps: `weight="count"`."""
        (self.folder / "fixations.csv").write_text("\n".join(self.fixations) + "\n", encoding="utf-8")
        (self.folder / "descriptions.csv").write_text("\n".join(self.descriptions) + "\n", encoding="utf-8")
        settings = {
            "fixations": self.folder / "fixations.csv",
            "images": self.folder / "photographs",
            "descriptions": self.folder / "descriptions.csv",
            "name": "small",
            "dataset_dir": self.folder / "registry",
            "test_fraction": 0.4,
            "rules": NO_RULES,
        }
        making = {"sigma_px": 4.0}
        for name in {field.name for field in fields(MapOptions)} & set(changes):
            making[name] = changes.pop(name)
        return DatasetOptions(**({"making": MapOptions(**making)} | settings | changes))


@pytest.fixture
def recording(tmp_path) -> Recording:
    return Recording(tmp_path)


@pytest.fixture
def osie() -> Path:
    """The OSIE sample, which lies outside of the repository."""
    default = Path(__file__).resolve().parents[2] / "../shared/data"
    folder = Path(os.environ.get("GAZE_SHARED_DATA", default)) / "osie"
    if not (folder / "fixations.csv").exists():
        pytest.skip(f"no OSIE sample in {folder}; set GAZE_SHARED_DATA to the folder that holds osie/")
    return folder
