"""The tables of docs/cost_model.md.

python -m benchmarks.cost.tables           # prints them
python -m benchmarks.cost.tables --write   # puts them into the page, between its comments
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.cost import flops, memory
from benchmarks.cost.shapes import SHAPES, Shape


PAGE = Path(__file__).parents[2] / "docs" / "cost_model.md"
GRIDS = {"1k": (32, 32), "4k": (64, 64), "16k": (128, 128)}
PEAK, UTILISATION = (
    989e12,
    0.4,
)  # an H100's dense bfloat16 products each second, and the part that is assumed to be used
TEXT = 100  # tokens of prompt and description beside the image's: assumed
PAPER = (52, 94)  # 1920 x 1080, scaled down to `image_max_pixels: 1003520`
ROWS, IMAGES, EPOCHS = 778, 30, {"stage 1": 5, "stage 2": 3}
CORPUS = 10_000_000
# Bytes that the backward run needs, of a patch in the gaze stage and of a token in a layer of the language model, in
# bfloat16 with an attention that keeps no matrix (sdpa, flash-attn): counted, tests/cost/test_cost_model.py.
KEPT_PATCH = 128_407
KEPT_TOKEN = {"3B": 92_232, "7B": 159_352}


def row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def table(head: tuple[str, ...], rows: Iterator[tuple[object, ...]]) -> str:
    return "\n".join([row(*head), row(*["---", *["---:"] * (len(head) - 1)]), *(row(*cells) for cells in rows)])


def tera(number: float) -> str:
    return f"{number / 1e12:.2f}"


def giga(number: float) -> str:
    return f"{number / 1e9:.1f}"


def patches(grid: tuple[int, int]) -> int:
    return grid[0] * grid[1]


def blocks(grid: tuple[int, int], shape: Shape) -> int:
    return sum(flops.block(grid, shape.tower, i in shape.tower.full) for i in range(shape.tower.depth))


def forward() -> str:
    def rows() -> Iterator[tuple[object, ...]]:
        for shape in SHAPES.values():
            for name, grid in GRIDS.items():
                tokens = patches(grid) // 4 + TEXT
                yield (
                    f"{shape.name}, {name}",
                    tera(flops.stock_tower(grid, shape.tower)),
                    tera(flops.calibrator(grid, shape.tower)),
                    f"{flops.calibrator(grid, shape.tower, 'global') / 1e12:.3f}",
                    tera(flops.prefill(tokens, shape.language)),
                    f"{flops.decode(tokens, shape.language) / 1e12:.4f}",
                )

    return table(("TFLOP", "tower", "calibrator, patch", "global", "prefill", "one further token"), rows())


def shares() -> str:
    def rows() -> Iterator[tuple[object, ...]]:
        shape = SHAPES["3B"]
        for name, grid in GRIDS.items():
            one, answer = flops.calibrator(grid, shape.tower), flops.calibrator(grid, shape.tower, "global")
            whole = flops.stock_tower(grid, shape.tower)
            of_blocks = [f"{count * one / blocks(grid, shape):.1%}" for count in (1, 4, 32)]
            of_tower = [f"{count * one / whole:.1%}" for count in (1, 4, 32)]
            near = flops.calibrator(grid, shape.tower, scope="window")
            yield (name, *of_blocks, *of_tower, f"{near / whole:.1%}", f"{answer / whole:.1%}")

    head = ("patches", "1 of the blocks", "4", "32", "1 of the tower", "4", "32", "window", "global")
    return table(head, rows())


def step() -> str:
    def rows() -> Iterator[tuple[object, ...]]:
        for shape in SHAPES.values():
            for name, grid in {**GRIDS, "paper": PAPER}.items():
                tokens = patches(grid) // 4 + TEXT
                plain, known = (flops.step(grid, tokens, shape, known) for known in (False, True))
                again = flops.step(grid, tokens, shape, checkpointing=True)
                yield (
                    f"{shape.name}, {name}",
                    tera(plain.image_stage),
                    tera(plain.gaze_stage),
                    tera(plain.language),
                    tera(plain.total),
                    tera(known.total),
                    tera(again.total),
                    f"{plain.total / PEAK / UTILISATION * 1e3:.0f} ms",
                )

    head = ("TFLOP a row", "before gaze", "from gaze on", "language", "all", "image known", "checkpointing", "H100")
    return table(head, rows())


def fixed(shape: Shape, language: bool) -> float:
    """Weights in bfloat16, and what is trained with its gradients and moments."""
    trained = memory.lora_parameters(shape, language=language)
    trained += len(shape.calibrators) * memory.calibrator_parameters(shape.tower)
    return memory.parameters(shape) * memory.BFLOAT16 + trained * memory.TRAINED


def kept(grid: tuple[int, int], shape: Shape, rows: int, checkpointing: bool = False) -> float:
    """What a batch keeps for its backward run: activations and logits."""
    tokens = patches(grid) // 4 + TEXT
    language = tokens * shape.language.layers * KEPT_TOKEN[shape.name]
    gaze = patches(grid) * KEPT_PATCH
    if checkpointing:  # the inputs of blocks and layers, and one of them whole
        language = tokens * (shape.language.layers * shape.language.width * 2 + KEPT_TOKEN[shape.name])
        gaze = patches(grid) * (4 * shape.tower.width * 2 + KEPT_PATCH / 4)
    return rows * (language + gaze + memory.logits(tokens, shape.language))


def held() -> str:
    def rows() -> Iterator[tuple[object, ...]]:
        for shape in SHAPES.values():
            for name, grid in {**GRIDS, "paper": PAPER}.items():
                base = [fixed(shape, language) for language in (False, True)]
                batches = [kept(grid, shape, count, again) for again in (False, True) for count in (1, 4)]
                yield (f"{shape.name}, {name}", *map(giga, base), *map(giga, batches))

    head = ("GB", "weights, stage 1", "stage 2", "batch 1", "batch 4", "1, checkpointing", "4, checkpointing")
    return table(head, rows())


def runs() -> str:
    def rows() -> Iterator[tuple[object, ...]]:
        tokens = patches(PAPER) // 4 + TEXT
        for shape in SHAPES.values():
            for stage, epochs in EPOCHS.items():
                plain, known = (flops.step(PAPER, tokens, shape, known).total for known in (False, True))
                all_rows = ROWS * epochs
                cached = all_rows * known + IMAGES * flops.step(PAPER, tokens, shape).image_stage
                for what, total in {"": all_rows * plain, ", `gaze_cached_images: 30`": cached}.items():
                    yield f"{shape.name}, {stage}{what}", f"{total / 1e15:.1f}", hours(total, 60)

    return table(("run", "PFLOP", "minutes of one H100"), rows())


def hours(operations: float, unit: float = 3600) -> str:
    return f"{operations / PEAK / UTILISATION / unit:.0f}"


def corpus() -> str:
    def rows() -> Iterator[tuple[object, ...]]:
        tokens = patches(PAPER) // 4 + TEXT
        for shape in SHAPES.values():
            seen = flops.stock_tower(PAPER, shape.tower) + flops.prefill(tokens, shape.language)
            said = seen + TEXT * flops.decode(tokens, shape.language)
            epoch = flops.step(PAPER, tokens, shape).total
            yield shape.name, hours(CORPUS * said), hours(CORPUS * epoch), hours(CORPUS * epoch / 64)

    return table(("GPU-hours", "targets of stage 1", "an epoch", "an epoch, hours on 64 GPUs"), rows())


TABLES = {
    "forward": forward, "shares": shares, "step": step, "memory": held, "runs": runs, "corpus": corpus,
}  # fmt: skip


def filled(page: str) -> str:
    """The page with each table in its place."""
    for name, made in TABLES.items():
        place = re.compile(rf"(<!-- {name}: begin -->\n).*?(<!-- {name}: end -->)", re.DOTALL)
        text = made()
        page = place.sub(lambda found, text=text: f"{found[1]}{text}\n{found[2]}", page)
    return page


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print("\n\n".join(f"{name}\n\n{made()}" for name, made in TABLES.items()))
