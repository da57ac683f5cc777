"""The demo in one picture: the same image under two gazes, and what the model says for each."""

import json
from io import BytesIO
from itertools import combinations
from pathlib import Path
from textwrap import wrap
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from llamafactory_gaze.data.registry import write_atomically
from llamafactory_gaze.saliency.maps import overlay, read_saliency_map


def save_figure(figure: Figure, target: Path, dpi: int) -> None:
    """Writes a figure as PNG, whole or not at all."""
    buffer = BytesIO()
    figure.savefig(buffer, dpi=dpi, format="png")
    write_atomically(target, buffer.getvalue())


def draw_two_gazes(output: Path, target: Path) -> None:
    """Draws `target` (PNG) from the test set and the predictions that a run of the demo left in `output`.

    Shown is the first test image at which two observers looked at one thing each, and not the same; nothing is picked
    by hand.
    """
    rows: list[dict[str, Any]] = json.loads((output / "test.json").read_text())

    def captions(system: str) -> list[str]:
        lines = (output / f"{system}.jsonl").read_text().splitlines()
        return [json.loads(line)["predict"].strip() for line in lines]

    injected, baseline = captions("injected"), captions("baseline")
    pair = next(
        (i, j)
        for i, j in combinations(range(len(rows)), 2)
        if rows[i]["image_id"] == rows[j]["image_id"]
        and len(rows[i]["looked_at"]) == len(rows[j]["looked_at"]) == 1
        and rows[i]["looked_at"] != rows[j]["looked_at"]
    )
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    axes = figure.subplots(1, 3)
    image = Image.open(output / rows[pair[0]]["images"][0])
    size = (image.width * 3, image.height * 3)
    _panel(axes[0], image.resize(size), "the image alone", f"baseline: {baseline[pair[0]]}")
    for axis, i, name in zip(axes[1:], pair, ("one gaze", "another gaze"), strict=True):
        saliency = read_saliency_map(output / rows[i]["saliencies"][0])
        said = rows[i]["conversations"][1]["value"]
        shown = overlay(image.resize(size), saliency)
        _panel(axis, shown, name, f"model: {injected[i]}\nobserver {rows[i]['participant']}: {said}")
    figure.suptitle("Simulated picture, observers and gaze; tiny model", fontsize=10, color="0.35")
    save_figure(figure, target, dpi=120)


def _panel(axis: Any, image: Image.Image, title: str, text: str) -> None:
    axis.imshow(image)
    axis.set_title(title, fontsize=12)
    axis.set_xticks([])
    axis.set_yticks([])
    lines = [line for part in text.split("\n") for line in wrap(part, 44)]
    axis.set_xlabel("\n".join(lines), fontsize=10, loc="left")
