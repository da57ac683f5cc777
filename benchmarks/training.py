"""A training step of the visual tower: ours against the stock tower with LoRA on the same layers.

    python -m benchmarks training [--patches 1024] [--images 1] [--repeats 5]

Both towers have the shape of Qwen2.5-VL-3B's with random weights. Both train LoRA on the MLP of block 28 and on all
later blocks. Ours has a calibrator in block 28, trained in full, and remembers what it makes of an image before: its
step is the mean of one at a new image and 25 at a known one, as each image of the paper is seen about 26 times. The
two take turns, with and without gradient checkpointing, as LLaMA-Factory switches it on. Memory is the largest that
tensors took at once during a step at a new image, the model and its input apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import count
from typing import Annotated

import torch
import typer
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import PreTrainedModel
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

from benchmarks.frame import Result, in_child, median_seconds
from benchmarks.frame.memory import peak_of_tensors
from benchmarks.regazing import TOWER
from llamafactory_gaze.modeling import Qwen2_5_VLGazeVisionTransformer
from llamafactory_gaze.modeling.image_cache import ImageCache


PATCHED = 28
SEEN = 26  # times that an image of the paper is seen in an epoch (its 778 captions are of 30 images)
TIME_TARGET, MEMORY_TARGET = 0.35, 0.7


def make_tower(ours: bool, checkpointing: bool, images: int) -> nn.Module:
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
        tower.image_cache = ImageCache(images)
    return tuned.train()


def steps(checkpointing: bool, patches: int, images: int, repeats: int) -> dict[str, dict[str, float]]:
    """Of the stock tower's step and of ours at a new and at a known image, the median seconds, and of the stock tower's
    and of ours the most MiB of tensors in one, model and input apart."""
    towers = {kind: make_tower(kind == "ours", checkpointing, images) for kind in ("stock", "ours")}
    side = max(1, round((patches / 4) ** 0.5)) * 2
    grid = torch.tensor([[1, side, side]] * images)

    def seen(kind: str, image: int, gaze: int) -> torch.Tensor:
        """The stock tower sees the same colours without the map."""
        rows, width = images * side * side, TOWER.saliency_width
        colours = torch.rand(rows, 3 * width, generator=torch.Generator().manual_seed(image))
        saliency = torch.rand(rows, width, generator=torch.Generator().manual_seed(gaze))
        return torch.cat([colours, saliency], dim=1) if kind == "ours" else colours

    def step(kind: str, values: torch.Tensor) -> None:
        towers[kind](values, grid).pooler_output.square().mean().backward()
        towers[kind].zero_grad()

    new, known = count(), count()
    times = median_seconds(
        {
            "stock": partial(step, "stock", seen("stock", 0, 0)),
            "new": lambda: step("ours", seen("ours", next(new), 0)),
            "known": lambda: step("ours", seen("ours", next(known), 1)),
        },
        repeats,
    )
    towers["ours"].image_cache.clear()  # what it keeps of the image is to be counted
    return {
        "seconds": times,
        "memory": {kind: peak_of_tensors(partial(step, kind, seen(kind, 0, 0))) for kind in towers},
    }


def measure(
    patches: Annotated[int, typer.Option(help="of an image, about as many")] = 1024,
    images: Annotated[int, typer.Option(help="in a step")] = 1,
    repeats: Annotated[int, typer.Option(help="median of so many steps after the first")] = 5,
) -> Iterator[Result]:
    for checkpointing in (False, True):
        found = in_child(steps, checkpointing, patches, images, repeats)
        how = f"{'with' if checkpointing else 'without'} gradient checkpointing"
        peer = "the stock tower with LoRA on the same layers"
        times, memory = found["seconds"], found["memory"]
        mean = (times["new"] + (SEEN - 1) * times["known"]) / SEEN
        shape = {"new_image_s": round(times["new"], 3), "known_image_s": round(times["known"], 3), "seen": SEEN}
        ours = f"ours, each image seen {SEEN} times"
        yield Result(f"step {how}", "s", mean, times["stock"], ours, peer, TIME_TARGET, shape)
        peak = f"peak memory above the model's, {how}"
        yield Result(peak, "MiB", memory["ours"], memory["stock"], "ours, image kept", peer, MEMORY_TARGET)
