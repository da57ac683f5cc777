"""DDP, DeepSpeed and FSDP2 in two processes train as one process does, save all of it, and go on from a checkpoint.

In the data one process has no image, or an image without a map, while the other has both.
"""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.integration.conftest import ROOT


pytestmark = pytest.mark.slow
FOLDER = ROOT / "yaml_recipes/distributed"
deepspeed = pytest.mark.skipif(find_spec("deepspeed") is None, reason="deepspeed is not installed")
ENGINES = [
    pytest.param(name, marks=deepspeed if "zero" in name else ())
    for name in ("ddp", "fsdp2", "zero2", "zero2_offload", "zero3", "zero3_offload")
]
# What an engine alone writes to a checkpoint, in two processes: that it was this engine.
TRACES = {
    "ddp": "optimizer.pt",
    "fsdp2": "pytorch_model_fsdp.bin",
    "zero2": "zero_pp_rank_1_mp_rank_00_optim_states.pt",
    "zero3": "zero_pp_rank_1_mp_rank_00_model_states.pt",
}


def losses(output: Path) -> list[float]:
    lines = (output / "trainer_log.jsonl").read_text().splitlines()
    return [entry["loss"] for entry in map(json.loads, lines) if "loss" in entry]


def evaluated(output: Path) -> float:
    lines = (output / "trainer_log.jsonl").read_text().splitlines()
    (loss,) = [entry["eval_loss"] for entry in map(json.loads, lines) if "eval_loss" in entry]
    return loss


def assert_equal_adapters(output: Path, expected: Path, atol: float) -> None:
    weights, others = (load_file(folder / "adapter_model.safetensors") for folder in (output, expected))
    assert set(weights) == set(others)
    assert any("calibrator.o_proj" in name for name in weights) and any("lora_B" in name for name in weights)
    for name, weight in weights.items():
        torch.testing.assert_close(weight, others[name], rtol=1e-3, atol=atol)


@pytest.mark.parametrize("engine", ENGINES)
def test_two_processes_train_as_one_and_resume(trainer, alone, engine):
    output = trainer.train(f"distributed/stage1_{engine}", engine, 2)
    assert losses(output) == pytest.approx(losses(alone), abs=1e-5)
    assert_equal_adapters(output, alone, atol=1e-5)
    assert_equal_adapters(output / "checkpoint-2", alone / "checkpoint-2", atol=1e-5)
    files = [path.name for path in (output / "checkpoint-2").rglob("*")]
    assert any(name.endswith(TRACES[engine.split("_")[0]]) for name in files), files
    resumed = trainer.train(
        f"distributed/stage1_{engine}", f"{engine}_resumed", 2, resume_from_checkpoint=str(output / "checkpoint-2")
    )
    assert losses(resumed) == pytest.approx(losses(output)[2:], abs=1e-6)
    assert_equal_adapters(resumed, output, atol=1e-6)


@deepspeed
def test_an_evaluation_under_zero_3_where_one_process_has_maps(trainer):
    """Weights above the threshold are gathered by all processes together; those of the tiny model are below it."""
    zero = json.loads((FOLDER / "zero3.json").read_text())
    zero["zero_optimization"]["stage3_param_persistence_threshold"] = 100
    keys = {"eval_dataset": "mixed", "per_device_eval_batch_size": 1, "eval_strategy": "steps", "eval_steps": 4}
    output = trainer.train("distributed/stage1_zero3", "zero3_evaluated", 2, **keys, deepspeed=zero)
    one = trainer.train("stage1", "alone_evaluated", 1, **keys, gradient_accumulation_steps=2)
    assert evaluated(output) == pytest.approx(evaluated(one), abs=1e-5)


@pytest.fixture(scope="module")
def stage2_alone(trainer, alone) -> Path:
    keys = {"adapter_name_or_path": str(alone), "gradient_accumulation_steps": 2}
    return trainer.train("stage2", "stage2", 1, **keys)


@pytest.mark.parametrize("engine", ["fsdp2", pytest.param("zero2", marks=deepspeed)])
def test_stage_2_trains_as_in_one_process(trainer, alone, stage2_alone, engine):
    output = trainer.train(f"distributed/stage2_{engine}", f"stage2_{engine}", 2, adapter_name_or_path=str(alone))
    assert losses(output) == pytest.approx(losses(stage2_alone), abs=1e-5)
    assert (
        load_file(output / "adapter_model.safetensors").keys()
        == load_file(stage2_alone / "adapter_model.safetensors").keys()
    )


@deepspeed
def test_stage_2_under_zero_3_starts_from_the_merged_stage_1(trainer, alone):
    from llamafactory.train.tuner import export_model

    from llamafactory_gaze.demo.run import BASE_MODEL

    merged = trainer.folder / "merged"
    export = yaml.safe_load((ROOT / "yaml_recipes/export.yaml").read_text())
    stage1 = {"model_name_or_path": str(BASE_MODEL), "adapter_name_or_path": str(alone), "infer_dtype": "float32"}
    export_model({**export, **stage1, "export_dir": str(merged)})
    keys = {"model_name_or_path": str(merged)}
    output = trainer.train("distributed/stage2_zero3", "stage2_zero3", 2, **keys)
    one = {**keys, "deepspeed": None, "gradient_accumulation_steps": 2}
    assert losses(output) == pytest.approx(
        losses(trainer.train("distributed/stage2_zero3", "stage2_merged", 1, **one)), abs=1e-4
    )


@pytest.mark.parametrize(
    ("engine", "keys", "message"),
    [
        ("fsdp2", {"gaze_cached_images": 4}, "ValueError: `gaze_cached_images: 4` does not work with weights that are"),
        ("fsdp2", {"fsdp_config": {"version": 1}}, "ValueError: Gaze models train under FSDP 2, not FSDP 1"),
        pytest.param(
            "zero3", {"gaze_cached_images": 4}, "ValueError: `gaze_cached_images: 4` does not work", marks=deepspeed
        ),
        pytest.param(
            "zero3",
            {"create_new_adapter": True, "adapter_name_or_path": "alone", "gaze_layers": [7]},
            "ValueError: Under DeepSpeed ZeRO-3 LLaMA-Factory does not merge",
            marks=deepspeed,
        ),
    ],
)
def test_what_cannot_work_is_refused(trainer, alone, engine, keys, message):
    if "adapter_name_or_path" in keys:
        keys = {**keys, "adapter_name_or_path": str(alone)}
    assert trainer.run(f"distributed/stage1_{engine}", "refused", 2, **keys) == "1"
    assert message in trainer.log("refused")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_recipe_for_several_gpus_differs_from_that_for_one_in_its_engine_alone(path):
    keys, one = (yaml.safe_load(p.read_text()) for p in (path, FOLDER.parent / f"{path.stem.split('_')[0]}.yaml"))
    allowed = {"gradient_accumulation_steps", "deepspeed", "fsdp", "fsdp_config", "use_reentrant_gc"}
    allowed |= {"gaze_cached_images"}  # each process has its own
    if path.stem == "stage2_zero3":
        allowed |= {"model_name_or_path", "adapter_name_or_path", "create_new_adapter"}
    assert {key for key in keys | one if keys.get(key) != one.get(key)} <= allowed
    assert keys.get("deepspeed", keys.get("fsdp_config", f"{path.stem.split('_', 1)[1]}.json")).endswith(
        f"{path.stem.split('_', 1)[1]}.json"
    )


@pytest.mark.parametrize("path", sorted(FOLDER.glob("zero*.json")), ids=lambda path: path.stem)
def test_deepspeed_saves_whole_weights(path):
    zero = json.loads(path.read_text())["zero_optimization"]
    assert zero["stage"] == int(path.stem[4])
    assert ("offload_optimizer" in zero) == ("offload" in path.stem)
    assert zero["stage"] == 2 or zero["stage3_gather_16bit_weights_on_model_save"]
