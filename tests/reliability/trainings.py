"""A small training and a small export by LLaMA-Factory itself, and what they leave."""

import json
from pathlib import Path

from safetensors.torch import load_file


# `job(folder)` trains, `job(folder, model)` exports that model; in several files of weights, as a large one.
CODE = """
import torch
from llamafactory.train.tuner import export_model, run_exp
from transformers import PreTrainedModel
import llamafactory_gaze.integration.export, llamafactory_gaze.modeling, peft, datasets
import transformers.models.qwen2_5_vl.modeling_qwen2_5_vl
torch.set_num_threads(1)
save = PreTrainedModel.save_pretrained
PreTrainedModel.save_pretrained = lambda self, *args, **keys: save(self, *args, **{{**keys, "max_shard_size": "2MB"}})

def job(folder, model=None):
    if model is None:
        run_exp({{**{recipe!r}, "output_dir": folder + "/stage1"}})
    else:
        export_model({{
            "model_name_or_path": model, "template": "qwen2_5_vl_gaze", "infer_dtype": "float32",
            "export_dir": folder + "/merged",
        }})
"""


def trained(folder: Path) -> dict[str, object]:
    """Weights, and losses of the four steps."""
    weights = load_file(folder / "stage1/adapter_model.safetensors")
    history = json.loads((folder / "stage1/trainer_state.json").read_text())["log_history"]
    losses = [(entry["step"], entry["loss"]) for entry in history if "loss" in entry]
    # transformers makes one step more, at a learning rate of 0, after a checkpoint of the last step
    assert len(losses) <= 5
    return {"losses": losses[:4], **{name: weight.numpy().tobytes() for name, weight in weights.items()}}


def incomplete(folder: Path) -> set[str]:
    checkpoints = folder.glob("stage1/checkpoint-*")
    return {one.name for one in checkpoints if not (one / "trainer_state.json").exists()}
