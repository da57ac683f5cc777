"""What is killed and what meets a full disk."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from llamafactory_gaze.demo.dataset import make_demo_data
from llamafactory_gaze.demo.run import BASE_MODEL
from tests.killing import ROOT, Job
from tests.normalize.conftest import built  # noqa: F401 - a fixture
from tests.reliability.trainings import CODE


@pytest.fixture(scope="session")
def inputs(tmp_path_factory) -> Path:
    """Pictures of the simulated data, and tables about them."""
    folder = tmp_path_factory.mktemp("inputs") / "data"
    make_demo_data(folder, train_images=6, test_images=2, observers=2)
    fixations, descriptions, spoken = (
        ["image,participant,x,y,duration_ms"],
        ["image,participant,description"],
        ["image,participant,audio"],
    )
    for row in json.loads((folder / "train_stage2.json").read_text()):
        image, person = Path(row["images"][0]).name, row["participant"]
        fixations += [f"{image},{person},{x},{y},200" for x, y in ((30, 40), (70, 30), (50, 80))]
        descriptions.append(f'{image},{person},"{row["conversations"][1]["value"]}"')
        spoken.append(f"{image},{person},{image}")
    for name, lines in (("fixations", fixations), ("descriptions", descriptions), ("spoken", spoken)):
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def llamafactory(tmp_path_factory) -> Iterator[Job]:
    """Trains four steps of stage 1 with the demo's model, each with a checkpoint of 1.2 MB, or exports a model."""
    folder = tmp_path_factory.mktemp("llamafactory")
    make_demo_data(folder / "data", train_images=4, test_images=1, observers=2)
    recipe = {
        **yaml.safe_load((ROOT / "yaml_recipes/demo/stage1.yaml").read_text()),
        "model_name_or_path": str(BASE_MODEL),
        "dataset_dir": str(folder / "data"),
        "max_steps": 4,
        "logging_steps": 1,
        "per_device_train_batch_size": 2,
        "save_strategy": "steps",
        "save_steps": 1,
        "plot_loss": False,
    }
    with Job(CODE.format(recipe=recipe), folder / "log") as job:
        yield job


@pytest.fixture
def disk(tmp_path):
    """A folder of its own file system of 16 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system may be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)
