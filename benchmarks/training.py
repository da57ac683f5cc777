"""A training step of the visual tower: ours against the stock tower with LoRA on the same layers.

    python benchmarks/training.py [--patches 1024] [--images 1] [--repeats 2]

Both towers have the shape of Qwen2.5-VL-3B's with random weights. Both train LoRA on the MLP of block 28 and on all
later blocks. Ours has a calibrator in block 28, trained in full, and remembers what it makes of an image before: each
image of the paper is seen about 26 times, so nearly every step finds its own. Each runs with and without gradient
checkpointing, as LLaMA-Factory switches it on, in a process of its own, whose peak memory above the model's counts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import psutil
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import PreTrainedModel
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

from benchmarks.regazing import TOWER
from llamafactory_gaze.modeling import Qwen2_5_VLGazeVisionTransformer
from llamafactory_gaze.modeling.image_cache import ImageCache


PATCHED = 28
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


def measure(ours: bool, checkpointing: bool, patches: int, images: int, repeats: int) -> dict[str, float]:
    """Median seconds of a step, and peak memory above what the model takes, in GiB."""
    tower = make_tower(ours, checkpointing)
    side = max(1, round((patches / 4) ** 0.5)) * 2
    grid = torch.tensor([[1, side, side]] * images)
    colours = torch.randn(images * side * side, 3 * TOWER.saliency_width)
    times = []
    with peak_memory() as sizes:
        for i in range(repeats + 1):
            generator = torch.Generator().manual_seed(i)
            saliency = torch.rand(len(colours), TOWER.saliency_width, generator=generator)
            values = torch.cat([colours, saliency], dim=1) if ours else colours
            start = time.perf_counter()
            tower(values, grid).pooler_output.square().mean().backward()
            times.append(time.perf_counter() - start)
            tower.zero_grad()
    return {"seconds": statistics.median(times[1:]), "memory": (max(sizes) - sizes[0]) / 2**30}


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """Within the block, the memory of this process in bytes is written down every few milliseconds."""
    process, ended = psutil.Process(), Event()
    sizes = [process.memory_info().rss]

    def watch() -> None:
        while not ended.wait(0.005):
            sizes.append(process.memory_info().rss)

    thread = Thread(target=watch, daemon=True)
    thread.start()
    yield sizes
    ended.set()
    thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=int, default=1024, help="of an image, about as many")
    parser.add_argument("--images", type=int, default=1, help="in a step")
    parser.add_argument("--repeats", type=int, default=2, help="median of so many steps after the first")
    parser.add_argument("--one", nargs=2, type=int, metavar=("OURS", "CHECKPOINTING"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = (options.patches, options.images, options.repeats)
    if options.one:
        print(json.dumps(measure(*map(bool, options.one), *sizes)))
        return
    print(f"{options.images} x {options.patches} patches, {torch.get_num_threads()} threads, torch {torch.__version__}")
    arguments = [f"--{name}={value}" for name, value in zip(("patches", "images", "repeats"), sizes, strict=True)]
    for checkpointing in (0, 1):
        found = {}
        for ours in (0, 1):
            command = [sys.executable, "-m", "benchmarks.training", *arguments, "--one", str(ours), str(checkpointing)]
            found[ours] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        print(f"{'with' if checkpointing else 'without'} gradient checkpointing:")
        for what, unit, target in (("seconds", "s", TIME_TARGET), ("memory", "GiB", MEMORY_TARGET)):
            ratio = found[1][what] / found[0][what]
            met = "met" if ratio <= target else "missed"
            values = f"stock {found[0][what]:.2f} {unit}, ours {found[1][what]:.2f} {unit}"
            print(f"  {what}: {values}, ratio {ratio:.2f} (target {target}: {met})")


if __name__ == "__main__":
    main()
