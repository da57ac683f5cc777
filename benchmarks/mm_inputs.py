"""`get_mm_inputs` of a batch of photographs with maps, ours, against the stock plug-in's on the same photographs.

    python -m benchmarks mm_inputs [--images 4] [--repeats 30]

Simulated photographs of 800x600 pixels (smooth noise and grain, JPEG), each with a map of Gaussians as the commands
write it (16-bit PNG of the same size), one at once and several. Both run in this process, in turns, with the image
processor of the demo's model and Qwen2.5-VL's bounds of sizes. Nothing is remembered between calls: every file is
decoded each time. Ours takes two images at once; a second core helps the stock plug-in only inside torch, and not where
OMP_NUM_THREADS is 1.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch  # noqa: F401 - arms the plug-in
import typer
from PIL import Image

from benchmarks.frame import Result, median_seconds
from llamafactory_gaze.data.maps.heatmaps import encode_map, fixation_heatmap
from llamafactory_gaze.demo.run import BASE_MODEL


TARGET = 1.15
SIZE = (800, 600)
QWEN_SIZE = {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 16384}  # in pixels, of Qwen2.5-VL


def photograph(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
    grain = rng.normal(0, 6, (SIZE[1], SIZE[0], 1))
    Image.fromarray((np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8)).save(path, quality=90)


def save_map(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = (rng.uniform(0, side, 12) for side in SIZE)
    path.write_bytes(encode_map(fixation_heatmap(x, y, np.ones(12), SIZE, 24)))


def demo_processor(folder: str) -> Any:
    """The processor as LLaMA-Factory's loader gives it to the plug-ins."""
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer

    model_args, *_ = get_train_args(
        {
            "model_name_or_path": str(BASE_MODEL), "stage": "sft", "do_train": True, "finetuning_type": "lora",
            "lora_target": "gaze", "dataset_dir": folder, "dataset": "none", "template": "qwen2_5_vl_gaze",
            "output_dir": folder, "report_to": "none", "use_cpu": True,
        }
    )  # fmt: skip
    return load_tokenizer(model_args)["processor"]


def measure(
    images: Annotated[int, typer.Option(help="in the larger batch, each of a row of its own")] = 4,
    repeats: Annotated[int, typer.Option(help="median of so many")] = 30,
) -> Iterator[Result]:
    from llamafactory.data.mm_plugin import Qwen2VLPlugin

    from llamafactory_gaze.integration.mm_plugin import GazeQwen2VLPlugin
    from llamafactory_gaze.integration.references import attach

    with tempfile.TemporaryDirectory() as folder:
        processor = demo_processor(folder)
        processor.image_processor.size = QWEN_SIZE
        paths = [(f"{folder}/{i}.jpg", f"{folder}/{i}.png") for i in range(images)]
        for i, (image, saliency) in enumerate(paths):
            photograph(Path(image), i)
            save_map(Path(saliency), i)

        def call(kind: Any, entries: list[Any]) -> dict[str, Any]:
            plugin = kind(image_token="<|image_pad|>", video_token="<|video_pad|>", audio_token=None)
            ones, none = [1] * len(entries), [0] * len(entries)
            return plugin.get_mm_inputs(entries, [], [], ones, none, none, [[0]] * len(entries), processor)

        for batch in sorted({1, images}):
            stock = partial(call, Qwen2VLPlugin, [image for image, _ in paths[:batch]])
            ours = partial(call, GazeQwen2VLPlugin, [attach(*pair) for pair in paths[:batch]])
            patches, width = ours()["pixel_values"].shape
            assert stock()["pixel_values"].shape == (patches, width * 3 // 4)
            times = median_seconds({"stock": stock, "ours": ours}, repeats)
            yield Result(
                f"{batch} of {SIZE[0]}x{SIZE[1]} at once", "ms", 1000 * times["ours"], 1000 * times["stock"],
                "with a 16-bit map of each image", "the stock plug-in without maps", TARGET, {"patches": patches},
            )  # fmt: skip
