"""The recipes of yaml_recipes/distributed, themselves, with the demo's tiny model on CPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from llamafactory_gaze.demo.dataset import make_demo_data
from llamafactory_gaze.demo.run import BASE_MODEL
from tests.integration.conftest import ROOT, cli_environment


# Batches of one row: the first process gets the odd ones, the second the even ones.
ROWS = "map none, empty map, none none, map empty, none map, map map, empty none, empty empty"
TINY = {
    "model_name_or_path": str(BASE_MODEL),
    "dataset": "mixed",
    "flash_attn": "sdpa",
    "bf16": False,
    "use_cpu": True,
    "preprocessing_num_workers": 1,
    "dataloader_num_workers": 0,
    "per_device_train_batch_size": 1,
    "max_steps": 4,
    "logging_steps": 1,
    "save_steps": 2,
    "learning_rate": 3e-3,
    "disable_shuffling": True,
    "plot_loss": False,
}


class Trainer:
    """Trains by recipes in a process that has imported everything; outputs lie in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.launcher = subprocess.Popen(
            [sys.executable, "-m", "tests.distributed.launcher"], cwd=ROOT, env=cli_environment(),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def log(self, output: str) -> str:
        return "\n".join(path.read_text()[-4000:] for path in sorted(self.folder.glob(f"{output}.log.*")))

    def keys(self, recipe: str, output: str, **keys) -> dict:
        """A recipe, for the tiny model and this folder."""
        tiny = {**TINY, "dataset_dir": str(self.folder / "data"), "output_dir": str(self.folder / output), **keys}
        tiny = {**yaml.safe_load((ROOT / f"yaml_recipes/{recipe}.yaml").read_text()), **tiny}
        if "adapter_name_or_path" not in tiny and "gaze_layers" in tiny:
            tiny["gaze_layers"] = [7]
        return tiny

    def run(self, recipe: str, output: str, processes: int, **keys) -> str:
        """The exit status, or "hangs"."""
        log = str(self.folder / f"{output}.log")
        job = {"keys": self.keys(recipe, output, **keys), "processes": processes, "log": log, "timeout": 90}
        self.launcher.stdin.write(json.dumps(job) + "\n")
        self.launcher.stdin.flush()
        return self.launcher.stdout.readline().strip()

    def train(self, recipe: str, output: str, processes: int, **keys) -> Path:
        assert self.run(recipe, output, processes, **keys) == "0", self.log(output)
        return self.folder / output


@pytest.fixture(scope="session")
def trainer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distributed")
    make_demo_data(folder / "data", train_images=6, test_images=5, observers=3)
    info = json.loads((folder / "data/dataset_info.json").read_text())
    rows = json.loads((folder / "data/train_stage1.json").read_text())
    for row, kind in zip(rows, ROWS.replace(",", "").split(), strict=False):
        if kind == "none":
            row["saliencies"] = [None]
        if kind == "empty":
            row["images"] = row["saliencies"] = []
            question = row["conversations"][0]
            question["value"] = question["value"].replace("<image>", "")
    (folder / "data/mixed.json").write_text(json.dumps(rows[:16]))
    info["mixed"] = {**info["demo_stage1"], "file_name": "mixed.json"}
    (folder / "data/dataset_info.json").write_text(json.dumps(info))
    trainer = Trainer(folder)
    yield trainer
    trainer.launcher.stdin.close()
    trainer.launcher.wait(30)


@pytest.fixture(scope="session")
def alone(trainer) -> Path:
    """Stage 1 in one process: two batches one after the other instead of at once."""
    return trainer.train("stage1", "alone", 1, gradient_accumulation_steps=2)
