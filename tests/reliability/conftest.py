"""What is killed and what meets a full disk."""

import json
from pathlib import Path

import pytest

from llamafactory_gaze.demo.dataset import make_demo_data
from tests.normalize.conftest import built  # noqa: F401 - a fixture


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
