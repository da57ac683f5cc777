"""The visual tower's forward pass with a map: ours against the stock tower without one.

    python -m benchmarks tower [--patches 1024 --patches 4096] [--repeats 3]

Both have the shape of Qwen2.5-VL-3B's with the same random weights, in one process, taken in turns (sdpa). Measured are
one calibrator in block 28 at each number of patches, and calibrators in all 32 blocks at the smallest. At the largest,
`gaze_scope: window` is measured as well, each once, since a pass takes minutes there. Memory is the largest that
tensors took at once during a pass, weights apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

from benchmarks.frame import Result, median_seconds, seconds
from benchmarks.frame.memory import peak_of_tensors
from benchmarks.regazing import TOWER
from llamafactory_gaze.modeling import Qwen2_5_VLGazeVisionTransformer
from llamafactory_gaze.modeling.configuration import Qwen2_5_VLGazeVisionConfig


STOCK = "the stock tower"
TARGET, LARGE_TARGET, ALL_BLOCKS_TARGET, MEMORY_TARGET = 1.0, 1.03, 1.5, 1.03
LARGE = 10_000  # patches from which the calibrator's own cost, quadratic, is allowed for


def make_towers(**gaze: Any) -> tuple[nn.Module, nn.Module]:
    """Ours and the stock one, with the same weights."""
    torch.manual_seed(0)
    config = Qwen2_5_VLGazeVisionConfig.from_dict({**TOWER.to_dict(), **gaze})
    ours = Qwen2_5_VLGazeVisionTransformer._from_config(config, attn_implementation="sdpa").eval()
    stock = Qwen2_5_VisionTransformerPretrainedModel._from_config(TOWER, attn_implementation="sdpa").eval()
    stock.load_state_dict(ours.state_dict(), strict=False, assign=True)  # one set of weights in memory
    return ours, stock


def passes(patches: int, towers: tuple[nn.Module, nn.Module]) -> dict[str, Callable[[], Tensor]]:
    side = max(1, round((patches / 4) ** 0.5)) * 2
    grid = torch.tensor([[1, side, side]])
    colours = torch.randn(side * side, 3 * TOWER.saliency_width)
    values = torch.cat([colours, torch.rand(side * side, TOWER.saliency_width)], dim=1)
    ours, stock = towers
    return {"ours": lambda: ours(values, grid), "stock": lambda: stock(colours, grid)}


@torch.no_grad()
def measure(
    patches: Annotated[list[int], typer.Option(help="of an image, about as many")] = [1024, 4096, 16384],  # noqa: B006
    repeats: Annotated[int, typer.Option(help="median of so many passes")] = 5,
) -> Iterator[Result]:
    towers = make_towers(gaze_layers=[28])
    for count in sorted(patches):
        taken = passes(count, towers)
        found = median_seconds(taken, repeats if count < LARGE else 0)
        target = TARGET if count < LARGE else LARGE_TARGET
        what = f"forward, {count} patches, one calibrator"
        yield Result(what, "s", found["ours"], found["stock"], "ours with a map", STOCK, target, {"of": count})
        if count == min(patches):
            memory = {name: peak_of_tensors(run) for name, run in taken.items()}
            what = f"memory of a forward pass, {count} patches, one calibrator"
            named = ("ours with a map", STOCK)
            yield Result(what, "MiB", memory["ours"], memory["stock"], *named, MEMORY_TARGET, {"of": count})
    if max(patches) >= LARGE:
        run = passes(max(patches), make_towers(gaze_layers=[28], gaze_scope="window"))["ours"]
        what = f"forward, {max(patches)} patches, one calibrator, gaze_scope window"
        yield Result(what, "s", seconds(run)[0], found["stock"], "ours with a map", STOCK, None, {"of": max(patches)})
    every = make_towers(gaze_layers=list(range(TOWER.depth)))
    found = median_seconds(passes(min(patches), every), repeats)
    what = f"forward, {min(patches)} patches, calibrators in all {TOWER.depth} blocks"
    named = ("ours with a map", STOCK)
    yield Result(what, "s", found["ours"], found["stock"], *named, ALL_BLOCKS_TARGET, {"of": min(patches)})
