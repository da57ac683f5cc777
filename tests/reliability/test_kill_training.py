"""Trainings by LLaMA-Factory, killed at random moments: what ends has the weights of one that nobody disturbed."""

import itertools
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from llamafactory_gaze.demo.dataset import make_demo_data
from llamafactory_gaze.demo.run import BASE_MODEL
from llamafactory_gaze.integration.checkpoints import set_aside_incomplete
from tests.killing import ROOT, Job, kill_again_and_again


CODE = """
import torch
from llamafactory.train.tuner import run_exp
import llamafactory_gaze.modeling, transformers.models.qwen2_5_vl.modeling_qwen2_5_vl, peft, datasets
torch.set_num_threads(1)

def job(folder):
    run_exp({{**{recipe!r}, "output_dir": folder + "/stage1"}})
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> dict:
    import yaml

    data = tmp_path_factory.mktemp("simulated") / "data"
    make_demo_data(data, train_images=4, test_images=1, observers=2)
    stated = yaml.safe_load((ROOT / "yaml_recipes/demo/stage1.yaml").read_text())
    return {
        **stated,
        "model_name_or_path": str(BASE_MODEL),
        "dataset_dir": str(data),
        "max_steps": 4,
        "logging_steps": 1,
        "per_device_train_batch_size": 2,
        "save_strategy": "steps",
        "save_steps": 1,
        "plot_loss": False,
    }


def test_killed_at_random_moments(recipe, tmp_path):
    numbers = itertools.count()
    with Job(CODE.format(recipe=recipe), tmp_path / "log") as job:
        job.live(tmp_path / "undisturbed")
        whole = load_file(tmp_path / "undisturbed/stage1/adapter_model.safetensors")

        def fresh() -> Path:
            folder = tmp_path / f"chain{next(numbers)}"
            folder.mkdir()
            return folder

        def losses(folder: Path) -> list[tuple[int, float]]:
            state = json.loads((folder / "stage1/trainer_state.json").read_text())
            return [(entry["step"], entry["loss"]) for entry in state["log_history"] if "loss" in entry]

        def check(folder: Path) -> None:
            weights = load_file(folder / "stage1/adapter_model.safetensors")
            assert set(weights) == set(whole)
            for name, weight in whole.items():
                assert torch.equal(weights[name], weight), name
            # transformers makes one step more, at a learning rate of 0, after a checkpoint of the last step
            assert losses(folder)[:4] == losses(tmp_path / "undisturbed") and len(losses(folder)) <= 5

        def half(folder: Path) -> set[str]:
            checkpoints = folder.glob("stage1/checkpoint-*")
            return {one.name for one in checkpoints if not (one / "trainer_state.json").exists()}

        done = kill_again_and_again(job, fresh, check, half)
        assert done.while_writing
        assert "is incomplete: the training was killed" in job.log.read_text()


def test_only_what_is_half_written_is_set_aside(tmp_path):
    for number, state in ((1, '{"global_step": 1}'), (2, '{"global_st'), (3, None), (4, "")):
        (tmp_path / f"checkpoint-{number}").mkdir()
        if state is not None:
            (tmp_path / f"checkpoint-{number}" / "trainer_state.json").write_text(state)
    (tmp_path / "incomplete-checkpoint-3").mkdir()  # of an earlier kill
    said = set_aside_incomplete(tmp_path)
    assert len(said) == 3 and "checkpoint-2 is incomplete" in said[0]
    assert {path.name for path in tmp_path.iterdir()} == {
        "checkpoint-1", "incomplete-checkpoint-2", "incomplete-checkpoint-3", "incomplete-checkpoint-3-2",
        "incomplete-checkpoint-4",
    }  # fmt: skip
    assert set_aside_incomplete(tmp_path) == []
