"""The control that shows cause: somebody's map, moved by hand from the thing looked at to another thing of the picture.

It needs a data set that names the things in its pictures: `objects` (names), `boxes` (x0, y0, x1, y1 in pixels of the
image, in the same order) and `looked_at` (names). Rows at which one thing alone was looked at are moved.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from llamafactory_gaze.data.registry import write_atomically
from llamafactory_gaze.saliency.maps import read_saliency_map
from llamafactory_gaze.study.definition import StudyError


Box = tuple[float, float, float, float]
NAME = "moved"


@dataclass(frozen=True)
class Move:
    """One row's map, moved. Row of the test set; the things that it leaves and reaches."""

    row: int
    left: str
    reached: str


def make_moved(test: Path, folder: Path, seed: int = 0) -> list[Move]:
    """Writes the data set `moved` into `folder`: images, maps, moved.json, dataset_info.json.

    Each row is one of the test set, with its map moved to another thing chosen by chance; in its caption the name of
    the one stands for that of the other, and `simulated` says that nobody looked or spoke so.

    Args:
        test: the test set's rows (.json); paths in it are relative to it.

    Raises:
        StudyError: the rows do not name what is in the pictures, or nobody looked at one thing alone.
    """
    rows: list[dict[str, Any]] = json.loads(test.read_text(encoding="utf-8"))
    needed = ("objects", "boxes", "looked_at")
    if missing := [name for name in needed if not all(row.get(name) for row in rows)]:
        raise StudyError(
            f"{test}: the control `moved` needs to know what is where, but some rows have no `{missing[0]}`. Give "
            "every row `objects`, `boxes` and `looked_at`, or take the control out."
        )
    rng = np.random.default_rng(seed)
    for name in ("images", "maps"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    moves, moved_rows = [], []
    for number, row in enumerate(rows):
        others = [name for name in row["objects"] if name not in row["looked_at"]]
        if len(row["looked_at"]) != 1 or not others:
            continue
        move = Move(number, row["looked_at"][0], str(rng.choice(others)))
        box = dict(zip(row["objects"], row["boxes"], strict=True))
        with Image.open(test.parent / row["images"][0]) as image:
            size = image.size
        saliency = read_saliency_map(test.parent / row["saliencies"][0])
        target = folder / "maps" / f"{number:05d}.png"
        shifted = move_map(saliency, size, box[move.left], box[move.reached])
        Image.fromarray((shifted * 65535).round().astype(np.uint16)).save(target)
        moved_rows.append(_moved_row(row, move, target, test.parent, folder))
        moves.append(move)
    if not moves:
        raise StudyError(
            f"{test}: the control `moved` needs rows at which one thing alone was looked at; there are none."
        )
    (folder / "moved.json").write_text(json.dumps(moved_rows, indent=1, ensure_ascii=False), encoding="utf-8")
    columns = {"messages": "conversations", "images": "images", "saliencies": "saliencies"}
    info = {NAME: {"file_name": "moved.json", "formatting": "gaze", "columns": columns}}
    (folder / "dataset_info.json").write_text(json.dumps(info, indent=1), encoding="utf-8")
    return moves


def read_moves(folder: Path) -> list[Move]:
    """The moves of a data set that `make_moved` wrote, in the order of its rows."""
    rows = json.loads((folder / "moved.json").read_text(encoding="utf-8"))
    return [Move(**row["move"]) for row in rows]


def move_map(saliency: np.ndarray, size: tuple[int, int], left: Box, reached: Box) -> np.ndarray:
    """Shifts a map by the way from the middle of one box to that of another; what comes in from outside is black.

    Args:
        saliency: (H, W) in [0, 1].
        size: (width, height) of the image, in whose pixels the boxes are.

    Returns:
        (H, W) in [0, 1].
    """
    height, width = saliency.shape
    dx = round(((reached[0] + reached[2]) - (left[0] + left[2])) / 2 * width / size[0])
    dy = round(((reached[1] + reached[3]) - (left[1] + left[3])) / 2 * height / size[1])
    shifted = np.zeros_like(saliency)
    shifted[max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)] = saliency[
        max(0, -dy) : height - max(0, dy), max(0, -dx) : width - max(0, dx)
    ]
    return shifted


def follows(move: Move, before: str, after: str) -> bool:
    """Whether the caption went with the map: what it left is named only before, what it reached only after."""
    return move.left in before and move.left not in after and move.reached in after and move.reached not in before


def _moved_row(row: dict[str, Any], move: Move, target: Path, source: Path, folder: Path) -> dict[str, Any]:
    question, answer = row["conversations"]
    caption = answer["value"].replace(move.left, move.reached)
    return {
        **row,
        "conversations": [question, {**answer, "value": caption}],
        "images": [_copied(source / path, folder) for path in row["images"]],
        "saliencies": [str(target.relative_to(folder))],
        "looked_at": [move.reached],
        "simulated": True,
        "move": {"row": move.row, "left": move.left, "reached": move.reached},
    }


def _copied(image: Path, folder: Path) -> str:
    """A row names files of its own data set alone; the copy's name tells images of one name apart."""
    content = image.read_bytes()
    name = f"images/{hashlib.sha256(content).hexdigest()[:16]}{image.suffix}"
    if not (folder / name).exists():
        write_atomically(folder / name, content)
    return name
