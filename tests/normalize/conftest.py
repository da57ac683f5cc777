"""A built data set of simulated pictures, and an engine that answers without a model."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from llamafactory_gaze.data.maps.options import MapOptions
from llamafactory_gaze.data.triples.build import build_dataset
from llamafactory_gaze.data.triples.exclusions import NO_RULES
from llamafactory_gaze.data.triples.options import DatasetOptions
from llamafactory_gaze.demo.dataset import make_demo_data
from llamafactory_gaze.demo.run import BASE_MODEL
from llamafactory_gaze.normalize import NormalizeOptions, run
from llamafactory_gaze.normalize.engines import Question
from llamafactory_gaze.normalize.journal import Answer


PROMPT = "Say it again: {description}"


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    """A dataset_dir that `llamafactory-gaze dataset` has made: toy, 6 training pictures by 2 people."""
    folder = tmp_path_factory.mktemp("normalize")
    make_demo_data(folder / "demo", train_images=8, test_images=1, observers=2)
    fixations, descriptions = ["image,participant,x,y,duration_ms"], ["image,participant,description"]
    for row in json.loads((folder / "demo" / "train_stage2.json").read_text()):
        image, person = Path(row["images"][0]).name, row["participant"]
        fixations.append(f"{image},{person},40,40,200")
        descriptions.append(f'{image},{person},"{row["conversations"][1]["value"]}"')
    for name, lines in (("fixations", fixations), ("descriptions", descriptions)):
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    options = DatasetOptions(
        fixations=folder / "fixations.csv",
        images=folder / "demo" / "images",
        descriptions=folder / "descriptions.csv",
        name="toy",
        dataset_dir=folder / "registry",
        making=MapOptions(sigma_px=8.0),
        rules=NO_RULES,
    )
    assert len(build_dataset(options).rows["stage2"]) == 12
    return options.dataset_dir


@pytest.fixture
def toy(built, tmp_path) -> Path:
    """A copy of that dataset_dir, for one test."""
    return Path(shutil.copytree(built, tmp_path / "registry"))


def options(dataset_dir: Path, **changes) -> NormalizeOptions:
    settings = {"name": "toy", "model": str(BASE_MODEL), "prompt": PROMPT, "batch_size": 5, "max_new_tokens": 20}
    return NormalizeOptions(dataset_dir=dataset_dir, **(settings | changes))


class FakeEngine:
    """Answers every question in capitals, unless a test says otherwise, and remembers the batches."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.answers: Callable[[str], Answer] = lambda prompt: Answer(prompt.upper(), True, 5)

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        self.batches.append([question.prompt for question in questions])
        return [self.answers(question.prompt) for question in questions]

    def runtime(self) -> dict[str, str]:
        return {"device": "none"}

    @property
    def asked(self) -> int:
        return sum(map(len, self.batches))


@pytest.fixture
def engine(monkeypatch) -> FakeEngine:
    fake = FakeEngine()
    monkeypatch.setattr(run, "load_engine", lambda *arguments: fake)
    return fake


def stage(dataset_dir: Path, number: int) -> list[dict]:
    return json.loads((dataset_dir / "toy" / f"stage{number}.json").read_text())


def journals(dataset_dir: Path) -> list[Path]:
    return sorted((dataset_dir / ".normalize" / "toy").glob("*.jsonl"))


def files(dataset_dir: Path) -> dict[str, bytes]:
    """The data set, without the journals."""
    found = {path.relative_to(dataset_dir): path for path in dataset_dir.rglob("*") if path.is_file()}
    return {str(name): path.read_bytes() for name, path in found.items() if name.parts[0] != ".normalize"}
