"""The cost model against what a CPU takes: a forward run of the tower, by its operations and the speed of a product.

    python -m benchmarks cost_model [--patches 1024 --patches 2048]

"ours" is the time measured on the tower of the 3B's shape (random weights, float32, one image with a map), "peer" what
the model predicts: its operations through the speed of a matrix product of the tower's own sizes, measured in the same
run.
The tables of docs/cost_model.md are made by `python -m benchmarks.cost.tables`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Annotated

import torch
import typer

from benchmarks.cost import flops
from benchmarks.cost.counted import run_tower, tower_module
from benchmarks.cost.shapes import SHAPES
from benchmarks.frame import Result


def best(run: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of some runs, after one that does not count."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def measure(
    patches: Annotated[list[int], typer.Option(help="rounded down to whole windows")] = [1024, 2304],  # noqa: B006
    repeats: Annotated[int, typer.Option(help="of each, the fastest counts")] = 2,
) -> Iterator[Result]:
    shape = SHAPES["3B"]
    module = tower_module(shape.tower, "cpu").eval()
    with torch.no_grad():
        for n in patches:
            side = math.isqrt(n) // 8 * 8
            grid = (side, side)
            a, b = torch.rand(side * side, shape.tower.width), torch.rand(shape.tower.width, shape.tower.inner)
            product = best(lambda a=a, b=b: a @ b, 3)
            speed = flops.linear(len(a), (shape.tower.width, shape.tower.inner)) / product
            operations = flops.stock_tower(grid, shape.tower) + flops.calibrator(grid, shape.tower)
            taken = best(lambda grid=grid: run_tower(module, grid), repeats)
            yield Result(
                what=f"tower, {side * side:,} patches",
                unit="s",
                ours=taken,
                peer=operations / speed,
                ours_is="measured",
                peer_is="operations through the speed of a matrix product",
                shape={"tflop": operations / 1e12, "gflop_per_second": speed / 1e9},
            )
