"""Data set preparation by LLaMA-Factory, rows with maps against the same rows without: 1,000, 10,000 and 100,000.

    python -m benchmarks preparation [--rows 1000 --rows 10000]

Loading, aligning and tokenising rows of ten small images, each with a map, in a process of its own for each size, with
an empty cache of `datasets`. The stock side has the same rows without maps and the stock template. Imports and the
tokenizer do not count.

Linear: the time of a row beyond the second size is at most 1.1 of that between the first two (the constant of a run
falls out of both). Flat: the memory of the process itself at the largest size is at most 1.1 of that at the smallest.
Memory is what the process holds for itself (RssAnon): the pages of Arrow files that `datasets` maps are not counted,
since the system takes them back when it needs them. A JSON list is read whole by `datasets`, so the rows are JSON
lines; `--json-list` shows the other.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image

from benchmarks.frame import Result, in_child
from llamafactory_gaze.demo.run import BASE_MODEL


TIME_TARGET, MEMORY_TARGET = 1.1, 1.1
IMAGES, SIZE = 10, (112, 84)


def make(folder: Path, rows: int, json_list: bool) -> None:
    rng = np.random.default_rng(0)
    for i in range(IMAGES):
        colours = rng.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
        Image.fromarray(colours).save(folder / f"{i}.jpg")
        Image.fromarray(rng.integers(0, 2**16, (SIZE[1], SIZE[0])).astype(np.uint16)).save(folder / f"{i}.png")
    ending = "json" if json_list else "jsonl"
    columns = {"messages": "conversations", "images": "images"}
    registry = {
        "stock": {"file_name": f"rows.{ending}", "formatting": "sharegpt", "columns": columns},
        "ours": {
            "file_name": f"rows.{ending}", "formatting": "gaze", "columns": {**columns, "saliencies": "saliencies"},
        },
    }  # fmt: skip
    (folder / "dataset_info.json").write_text(json.dumps(registry))
    lines = (
        json.dumps(
            {
                "conversations": [
                    {"from": "human", "value": "<image>Describe the image."},
                    {"from": "gpt", "value": f"Caption number {i} of a person who saw a red circle."},
                ],
                "images": [f"{i % IMAGES}.jpg"],
                "saliencies": [f"{i % IMAGES}.png"],
            }
        )
        for i in range(rows)
    )
    text = f"[{','.join(lines)}]" if json_list else "\n".join(lines)
    (folder / f"rows.{ending}").write_text(text)


def prepare(folder: str, name: str) -> dict[str, float]:
    """Seconds, and the largest memory in MiB; in a process that has loaded nothing yet."""
    os.environ |= {"HF_DATASETS_CACHE": f"{folder}/cache_{name}", "HF_HUB_OFFLINE": "1"}
    import torch  # noqa: F401 - arms the plug-in
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer

    gaze = name == "ours"
    recipe: dict[str, Any] = {
        "model_name_or_path": str(BASE_MODEL), "stage": "sft", "do_train": True, "finetuning_type": "lora",
        "lora_target": "gaze" if gaze else "all", "dataset_dir": folder, "dataset": name, "cutoff_len": 512,
        "template": "qwen2_5_vl_gaze" if gaze else "qwen2_vl", "output_dir": f"{folder}/output_{name}",
        "report_to": "none", "use_cpu": True,
    }  # fmt: skip
    model_args, data_args, training_args, *_ = get_train_args(recipe)
    module = load_tokenizer(model_args)
    template = get_template_and_fix_tokenizer(module["tokenizer"], data_args)
    sizes, ended = [own_mib()], Event()

    def watch() -> None:
        while not ended.wait(0.02):
            sizes.append(own_mib())

    thread = Thread(target=watch, daemon=True)
    thread.start()
    start = time.perf_counter()
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):  # the first row is printed
        get_dataset(template, model_args, data_args, training_args, stage="sft", **module)
    taken = time.perf_counter() - start
    ended.set()
    thread.join()
    return {"seconds": taken, "mib": max(sizes)}


def own_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def measure(
    rows: Annotated[list[int], typer.Option(help="sizes, the smallest first")] = [1_000, 10_000, 100_000],  # noqa: B006
    json_list: Annotated[bool, typer.Option("--json-list", help="one JSON list in place of JSON lines")] = False,
) -> Iterator[Result]:
    found: dict[int, dict[str, float]] = {}
    for size in rows:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), size, json_list)
            stock, found[size] = (in_child(prepare, folder, name) for name in ("stock", "ours"))
        named = ("rows with maps", "the same rows without maps, stock")
        each = (1000 * found[size]["seconds"] / size, 1000 * stock["seconds"] / size)
        yield Result(f"a row of {size:,}", "ms", *each, *named)
        yield Result(f"largest memory, {size:,} rows", "MiB", found[size]["mib"], stock["mib"], *named)
    if len(rows) > 2:
        steps = [
            1000 * (found[large]["seconds"] - found[small]["seconds"]) / (large - small)
            for small, large in pairwise((*rows[:2], rows[-1]))
        ]
        first, last = f"{rows[0]:,} to {rows[1]:,} rows", f"{rows[1]:,} to {rows[-1]:,} rows"
        yield Result(f"a further row, {last}", "ms", steps[1], steps[0], "with maps", f"ours, {first}", TIME_TARGET)
    if len(rows) > 1:
        yield Result(
            f"memory with {rows[-1]:,} rows", "MiB", found[rows[-1]]["mib"], found[rows[0]]["mib"], "with maps",
            f"ours, {rows[0]:,} rows", MEMORY_TARGET,
        )  # fmt: skip
