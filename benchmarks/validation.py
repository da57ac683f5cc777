"""How long `llamafactory-gaze validate` takes: 5,000 rows, 1,000 images of 800x600 pixels, 1,000 or 5,000 maps.

    python -m benchmarks validation            # one map for each image
    python -m benchmarks validation --own      # one for each image and person

Simulated: smooth noise in place of photographs (JPEG), Gaussians at random fixations in place of maps (16-bit PNG). The
data set is made in a temporary folder (about a minute), which takes most of the time. The peer is what anybody could
write: Pillow decodes each file once, in one thread, and nothing else is checked.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from benchmarks.frame import Result, seconds
from llamafactory_gaze.data.maps.heatmaps import encode_map, fixation_heatmap
from llamafactory_gaze.data.registry import gaze_entry, register


PEOPLE, SIZE = 5, (800, 600)


def make(folder: Path, own: bool, images: int) -> None:
    for name in ("images", "maps"):
        (folder / "noise" / name).mkdir(parents=True)

    def picture(number: int) -> None:
        rng = np.random.default_rng(number)
        coarse = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
        coarse.resize(SIZE, Image.Resampling.BICUBIC).save(folder / f"noise/images/{number}.jpg", quality=92)
        for person in range(PEOPLE if own else 1):
            x, y = rng.uniform(0, SIZE[0], 10), rng.uniform(0, SIZE[1], 10)
            saliency = fixation_heatmap(x, y, np.ones(10), SIZE, 24)
            (folder / f"noise/maps/{number}_{person}.png").write_bytes(encode_map(saliency))

    with ThreadPoolExecutor() as pool:
        list(pool.map(picture, range(images)))
    training = range(images * 3 // 4)
    for split, numbers in {"stage2": training, "stage1": training, "test": range(len(training), images)}.items():
        rows = [row(number, person, own) for number in numbers for person in range(PEOPLE)]
        (folder / f"noise/{split}.json").write_text(json.dumps(rows))
        register(folder, {f"noise_{split}": gaze_entry(f"noise/{split}.json")})


def row(number: int, person: int, own: bool) -> dict:
    said = f"Noise of number {number}, seen by somebody who is called {person}, and described in some words."
    return {
        "id": f"{number}_{person}",
        "image_id": str(number),
        "participant": f"p{person}",
        "conversations": [{"from": "human", "value": "<image>Describe it."}, {"from": "gpt", "value": said}],
        "images": [f"noise/images/{number}.jpg"],
        "saliencies": [f"noise/maps/{number}_{person if own else 0}.png"],
    }


def decode(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.suffix in (".jpg", ".png"):
            with Image.open(path) as image:
                image.load()


def measure(
    own: Annotated[bool, typer.Option("--own", help="one map for each image and person")] = False,
    images: Annotated[int, typer.Option(help="so many")] = 1000,
) -> Iterator[Result]:
    command = [sys.executable, "-c", "from llamafactory_gaze.cli import main; main()", "validate", "noise"]
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), own, images)
        peer, _ = seconds(lambda: decode(Path(folder)))
        command += ["--dataset-dir", folder]
        ours, _ = seconds(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))
    yield Result(
        f"{images * PEOPLE:,} rows of {images:,} images", "s", ours, peer, "llamafactory-gaze validate",
        "Pillow, every file once in one thread, nothing checked",
    )  # fmt: skip
