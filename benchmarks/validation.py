"""How long `llamafactory-gaze validate` takes: 5,000 rows, 1,000 images of 800x600 pixels, 1,000 or 5,000 maps.

    python benchmarks/validation.py            # one map for each image
    python benchmarks/validation.py --own      # one for each image and person

Simulated: smooth noise in place of photographs (JPEG), Gaussians at random fixations in place of maps (16-bit PNG). The
data set is made in a temporary folder (about a minute), which takes most of the time.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from llamafactory_gaze.data.maps.heatmaps import encode_map, fixation_heatmap
from llamafactory_gaze.data.registry import gaze_entry, register


IMAGES, PEOPLE, SIZE = 1000, 5, (800, 600)


def make(folder: Path, own: bool) -> None:
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
        list(pool.map(picture, range(IMAGES)))
    training = range(IMAGES * 3 // 4)
    for split, numbers in {"stage2": training, "stage1": training, "test": range(len(training), IMAGES)}.items():
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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--own", action="store_true", help="one map for each image and person")
    own = parser.parse_args().own
    command = [Path(sys.executable).with_name("llamafactory-gaze"), "validate", "noise", "--dataset-dir"]
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), own)
        start = time.perf_counter()
        subprocess.run([*command, folder], check=True)
        seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{seconds:.1f} s, {used.ru_utime + used.ru_stime:.1f} s of CPU time, {used.ru_maxrss / 1024:.0f} MB at most")


if __name__ == "__main__":
    main()
