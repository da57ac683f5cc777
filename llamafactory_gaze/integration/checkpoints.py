"""Checkpoints that a kill or a full disk left half written, which a resumed training would trip over."""

from __future__ import annotations

import json
from pathlib import Path


_LAST_FILE = "trainer_state.json"  # transformers writes it behind the weights, the optimizer and the random states


def set_aside_incomplete(folder: Path) -> list[str]:
    """Rename each incomplete `checkpoint-N` of an output folder to `incomplete-checkpoint-N`.

    LLaMA-Factory resumes from the checkpoint of the highest number, whole or not, and so would fail each time.

    Returns:
        a sentence for each.
    """
    said = []
    for checkpoint in sorted(folder.glob("checkpoint-*")):
        if not checkpoint.is_dir() or _is_whole(checkpoint):
            continue
        aside = _free(checkpoint.with_name(f"incomplete-{checkpoint.name}"))
        try:
            checkpoint.rename(aside)
        except FileNotFoundError:  # another process of the same training was faster
            continue
        said.append(
            f"{checkpoint} is incomplete: the training was killed, or the disk was full, while it was written. It is "
            f"set aside as {aside.name}, which you may delete; the checkpoint before it is used, if there is one."
        )
    return said


def _is_whole(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / _LAST_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return True


def _free(path: Path) -> Path:
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free
