"""A training step of the visual tower: ours against the stock tower with LoRA on the same layers.

    python -m benchmarks training [--patches 1024] [--images 1] [--repeats 2]

Both towers have the shape of Qwen2.5-VL-3B's with random weights. Both train LoRA on the MLP of block 28 and on all
later blocks. Ours has a calibrator in block 28, trained in full, and remembers what it makes of an image before: its
step is the mean of one at a new image and 25 at a known one, as each image of the paper is seen about 26 times. Each
runs with and without gradient checkpointing, as LLaMA-Factory switches it on, in a process of its own. Memory is the
largest that tensors took at once during a step at a new image, the model and its input apart.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from functools import partial
from typing import Annotated

import torch
import typer
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import PreTrainedModel
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

from benchmarks.frame import Result, in_child, seconds
from benchmarks.frame.memory import peak_of_tensors
from benchmarks.regazing import TOWER
from llamafactory_gaze.modeling import Qwen2_5_VLGazeVisionTransformer
from llamafactory_gaze.modeling.image_cache import ImageCache


PATCHED = 28
SEEN = 26  # times that an image of the paper is seen in an epoch (its 778 captions are of 30 images)
TIME_TARGET, MEMORY_TARGET = 0.35, 0.7


def make_tower(ours: bool, checkpointing: bool) -> nn.Module:
    torch.manual_seed(0)
    kind = Qwen2_5_VLGazeVisionTransformer if ours else Qwen2_5_VisionTransformerPretrainedModel
    tower: PreTrainedModel = kind._from_config(TOWER)
    targets = [
        name
        for name, module in tower.named_modules()
        if isinstance(module, nn.Linear)
        and name.startswith("blocks.")
        and ".calibrator." not in name
        and (int(name.split(".")[1]) > PATCHED or name.startswith(f"blocks.{PATCHED}.mlp."))
    ]
    in_full = [f"blocks.{PATCHED}.calibrator"] if ours else None
    tuned = get_peft_model(tower, LoraConfig(r=16, target_modules=targets, modules_to_save=in_full))
    if checkpointing:
        tower.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
        tower.enable_input_require_grads()
    if ours:
        tower.image_cache = ImageCache(1)
    return tuned.train()


def steps(ours: bool, checkpointing: bool, patches: int, images: int, repeats: int) -> dict[str, float]:
    """Median seconds of a step at a new and at a known image; the most MiB of tensors, model and input apart."""
    tower = make_tower(ours, checkpointing)
    side = max(1, round((patches / 4) ** 0.5)) * 2
    grid = torch.tensor([[1, side, side]] * images)

    def seen(image: int, gaze: int) -> torch.Tensor:
        """The stock tower sees the same colours without the map."""
        count, width = images * side * side, TOWER.saliency_width
        colours = torch.rand(count, 3 * width, generator=torch.Generator().manual_seed(image))
        saliency = torch.rand(count, width, generator=torch.Generator().manual_seed(gaze))
        return torch.cat([colours, saliency], dim=1) if ours else colours

    def step(values: torch.Tensor) -> None:
        tower(values, grid).pooler_output.square().mean().backward()
        tower.zero_grad()

    step(seen(0, 0))
    new = [seconds(partial(step, seen(i, 0)))[0] for i in range(1, repeats + 1)]
    known = [seconds(partial(step, seen(repeats, i)))[0] for i in range(1, repeats + 1)]
    if ours:
        tower.image_cache.clear()  # what it keeps of the image is to be counted
    memory = peak_of_tensors(partial(step, seen(0, 0)))
    return {"new": statistics.median(new), "known": statistics.median(known), "memory": memory}


def measure(
    patches: Annotated[int, typer.Option(help="of an image, about as many")] = 1024,
    images: Annotated[int, typer.Option(help="in a step")] = 1,
    repeats: Annotated[int, typer.Option(help="median of so many steps after the first")] = 2,
) -> Iterator[Result]:
    for checkpointing in (False, True):
        stock, found = (in_child(steps, ours, checkpointing, patches, images, repeats) for ours in (False, True))
        how = f"{'with' if checkpointing else 'without'} gradient checkpointing"
        peer = "the stock tower with LoRA on the same layers"
        mean = (found["new"] + (SEEN - 1) * found["known"]) / SEEN
        apart = {"new_image_s": round(found["new"], 3), "known_image_s": round(found["known"], 3), "seen": SEEN}
        yield Result(
            f"step {how}", "s", mean, stock["known"], f"ours, each image seen {SEEN} times", peer, TIME_TARGET, apart
        )
        memory = f"peak memory above the model's, {how}"
        yield Result(memory, "MiB", found["memory"], stock["memory"], "ours, image kept", peer, MEMORY_TARGET)
