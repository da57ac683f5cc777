"""Whether all of a model is in its folder: its export, download or copy may have been killed, or met a full disk."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open


MARK = ".export-unfinished"
_LAST = "processor_config.json"  # that LLaMA-Factory writes, of what a model needs
_AGAIN = "Its export, download or copy was stopped, or the disk was full: make the folder again."


def mark_unfinished(folder: Path) -> None:
    """Say that a folder is being written, perhaps over a former export: `check_whole` refuses it until `unmark`.

    What a killed export has left of files that safetensors was writing goes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / MARK).exists():
        for leftover in folder.glob(".tmp??????"):
            leftover.unlink()
    (folder / MARK).touch()
    (folder / _LAST).unlink(missing_ok=True)


def unmark(folder: Path) -> None:
    """Say that all of the export is there.

    Raises:
        ValueError: it is not, although nobody has said so: LLaMA-Factory only warns where it cannot write a processor.
    """
    if not (folder / _LAST).is_file():
        raise ValueError(f"{folder} has no {_LAST}, which the export should have written. {_AGAIN}")
    _check_files(folder)
    (folder / MARK).unlink(missing_ok=True)


def check_whole(model: str | os.PathLike[str]) -> None:
    """Refuse a folder that has only a part of a model. Of the weights only the heads are read, which takes no time.

    Args:
        model: as `from_pretrained` takes it. A name on the Hub, and a folder without `config.json`, pass.

    Raises:
        ValueError: one sentence that says which file is missing or cut off, and what to do.
    """
    folder = Path(model)
    if not (folder / "config.json").is_file():
        return
    if (folder / MARK).exists():
        raise ValueError(
            f"{folder} is not a whole model: its export began and has not ended. If it was killed, run the same "
            "llamafactory-cli export again."
        )
    _check_files(folder)


def check_weights(file: Path) -> None:
    """Refuse a file of weights that is missing or shorter than its head says.

    Raises:
        ValueError: names it.
    """
    try:
        with safe_open(file, "pt"):
            pass
    except FileNotFoundError:
        raise ValueError(f"{file.parent} is not whole: its {file.name} is missing. {_AGAIN}") from None
    except SafetensorError as error:
        raise ValueError(f"{file} is not whole ({error}). {_AGAIN}") from error


def _check_files(folder: Path) -> None:
    _read(folder / "config.json")
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.exists():  # which transformers prefers
        check_weights(single)
    elif index.exists():
        shards = _read(index).get("weight_map")
        if not isinstance(shards, dict) or not shards:
            raise ValueError(f"{index} names no weights. {_AGAIN}")
        for shard in sorted(set(shards.values())):
            check_weights(folder / shard)
    elif not any(folder.glob("pytorch_model*")):  # of older models
        raise ValueError(f"{folder} is not whole: it has a config.json, but no model.safetensors. {_AGAIN}")


def _read(file: Path) -> dict[str, Any]:
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is not valid JSON ({error}). {_AGAIN}") from error
    return read if isinstance(read, dict) else {}
