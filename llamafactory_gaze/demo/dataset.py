"""Writes the SIMULATED demo data set: pictures, saliency maps and captions, in LLaMA-Factory's shape."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from llamafactory_gaze.data.folders import building_beside, replace_folder
from llamafactory_gaze.data.registry import read_registry
from llamafactory_gaze.demo.captions import PROMPT, plain, rainbow
from llamafactory_gaze.demo.observers import SIGMA, Observer, look, make_observers, saliency_map
from llamafactory_gaze.demo.scenes import CATEGORIES, Scene, make_scene


_COLUMNS = {"messages": "conversations", "images": "images", "saliencies": "saliencies"}
_FILES = {"demo_stage1": "train_stage1.json", "demo_stage2": "train_stage2.json", "demo_test": "test.json"}

_CARD = """SIMULATED data: nothing in this folder was recorded from people.

# Demo data set of llamafactory-gaze

Pictures drawn by a program in the five categories of the paper, looked at and described by simulated observers. Each
observer looks at one or two of the things in a picture, chosen with equal chances, and names exactly those, in the
order of looking and in that observer's own manner of speaking. So the saliency map tells what a caption is about, and
the picture alone does not.

| file | rows | captions |
|---|---|---|
| `train_stage1.json` | {train_rows} | style-normalised: what was looked at, in the base model's plain style and order |
| `train_stage2.json` | {train_rows} | original: each observer's own manner |
| `test.json` | {test_rows} | original; {test_images} pictures that are not in the training files, the same observers |

{train_images} training pictures, {test_images} test pictures, {observers} observers, seed {seed}.
`images/` holds the pictures, `maps/` the saliency maps. In a row, `looked_at` names the things looked at in their
order, `objects` all things in the picture, and `boxes` where these are (x0, y0, x1, y1 in pixels).

## Maps

- Which: one for each picture and simulated observer, of that observer's own fixations.
- Gaussian around each fixation, with a standard deviation of {sigma:g} pixels of the picture, weighted by its duration;
  the sum is scaled so that its maximum is 1.
- 16-bit greyscale PNG of half the picture's size.

## Made by

`llamafactory_gaze.demo.dataset.make_demo_data`. Licence: that of llamafactory-gaze.
"""


def make_demo_data(
    directory: str | Path, *, train_images: int = 200, test_images: int = 30, observers: int = 16, seed: int = 0
) -> None:
    """Writes the whole data set into `directory`, replacing it; it appears there complete or not at all.

    Args:
        directory: LLaMA-Factory's `dataset_dir`; gets images/, maps/, train_stage1.json, train_stage2.json,
            test.json, dataset_info.json (entries demo_stage1, demo_stage2, demo_test) and README.md.
        train_images: number of pictures in both training files, spread evenly over the categories.
        test_images: number of held-out pictures.
        observers: number of observers; every one of them sees every picture.
        seed: the same seed gives the same files.

    Raises:
        ValueError: a number is too small.
        FileExistsError: `directory` holds something that is not a demo data set.
    """
    if min(train_images, test_images, observers) < 1:
        raise ValueError("train_images, test_images and observers must be at least 1.")
    directory = Path(directory)
    if directory.exists() and any(directory.iterdir()) and read_registry(directory).keys() != _FILES.keys():
        raise FileExistsError(f"{directory} holds other files: name a new or empty directory.")
    with building_beside(directory) as building:
        _write(building, train_images, test_images, observers, seed)
        replace_folder(building, directory.resolve())


def _write(directory: Path, train_images: int, test_images: int, observers: int, seed: int) -> None:
    for folder in ("images", "maps"):
        (directory / folder).mkdir(parents=True)
    people = make_observers(observers, np.random.default_rng([seed, 0]))
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in _FILES}
    for number in range(train_images + test_images):
        rng = np.random.default_rng([seed, 1, number])  # a picture does not depend on how many there are
        scene = make_scene(CATEGORIES[number % len(CATEGORIES)], rng)
        scene.image.save(directory / "images" / f"scene{number:04d}.png")
        for observer in people:
            styled, original = _view(directory, number, scene, observer, rng)
            if number < train_images:
                rows["demo_stage1"].append(styled)
                rows["demo_stage2"].append(original)
            else:
                rows["demo_test"].append(original)

    for name, file in _FILES.items():
        _write_json(directory / file, rows[name])
    info = {name: {"file_name": file, "formatting": "gaze", "columns": _COLUMNS} for name, file in _FILES.items()}
    _write_json(directory / "dataset_info.json", info)
    card = _CARD.format(
        train_rows=len(rows["demo_stage1"]),
        test_rows=len(rows["demo_test"]),
        train_images=train_images,
        test_images=test_images,
        observers=observers,
        seed=seed,
        sigma=SIGMA,
    )
    (directory / "README.md").write_text(card, encoding="utf-8")


def _view(
    directory: Path, number: int, scene: Scene, observer: Observer, rng: np.random.Generator
) -> tuple[dict[str, Any], dict[str, Any]]:
    """One viewing: saves its map, returns its row with the style-normalised caption and with the original one."""
    viewing = look(observer, scene, rng)
    image, sample = f"scene{number:04d}", f"scene{number:04d}_{observer.name}"
    map_file = f"maps/{sample}.png"
    saliency_map(viewing.fixations, *scene.image.size).save(directory / map_file)

    def row(caption: str) -> dict[str, Any]:
        return {
            "id": sample,
            "image_id": image,
            "participant": observer.name,
            "category": scene.category,
            "simulated": True,
            "conversations": [{"from": "human", "value": f"<image>{PROMPT}"}, {"from": "gpt", "value": caption}],
            "images": [f"images/{image}.png"],
            "saliencies": [map_file],
            "looked_at": [thing.name for thing in viewing.things],
            "objects": [thing.name for thing in scene.things],
            "boxes": [[round(edge, 1) for edge in thing.box] for thing in scene.things],
        }

    things = list(viewing.things)
    return row(plain(rainbow(things))), row(observer.manner.describe(things))


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
