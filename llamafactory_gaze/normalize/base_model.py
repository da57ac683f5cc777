"""Which model it is that speaks: its files on this machine, and what identifies them elsewhere."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.export.whole import check_whole
from llamafactory_gaze.normalize.source import hash_files


_READ_BY_TRANSFORMERS = ("*.json", "*.safetensors", "*.bin", "*.jinja", "*.txt", "*.model")


@dataclass(frozen=True)
class FrozenModel:
    folder: Path
    identity: dict[str, str]  # `name` and `revision` on the Hugging Face Hub, or `name` and `files_sha256` of a folder


def find_model(name: str) -> FrozenModel:
    """Finds a Qwen2.5-VL in a folder or on the Hugging Face Hub, from where it is fetched unless it is here already.

    A folder is identified by the hash over the names and contents of all files in it that transformers reads, since its
    name says nothing elsewhere (of 7 GB in some seconds); a name on the Hub by the commit of its files.

    Raises:
        DataError: there is no such model, or a part of one, or it is not a stock Qwen2.5-VL.
    """
    if Path(name).is_dir():
        folder = Path(name).absolute()
        _check(folder, name)
        files = sorted({path for pattern in _READ_BY_TRANSFORMERS for path in folder.glob(pattern)})
        lines = "".join(f"{path.name} {digest}\n" for path, digest in hash_files(files).items())
        return FrozenModel(folder, {"name": folder.name, "files_sha256": hashlib.sha256(lines.encode()).hexdigest()})
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, allow_patterns=list(_READ_BY_TRANSFORMERS)))
    except (OSError, ValueError) as error:  # what it raises for a bad name, without a network, ... is one of the two
        reason = str(error).strip().partition("\n")[0]
        raise DataError(
            f"No model is found at {name}: expected a folder with a Qwen2.5-VL, or its name on the Hugging Face Hub "
            f"({reason})."
        ) from error
    _check(folder, name)
    return FrozenModel(folder, {"name": name, "revision": folder.name})


def _check(folder: Path, name: str) -> None:
    if (folder / "adapter_config.json").is_file():
        raise DataError(f"{name} is an adapter; the targets of stage 1 come from the base model without one: name it.")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{name} is not a model: it holds no config.json.") from None
    except ValueError as error:
        raise DataError(f"The config.json of {name} is not valid JSON ({error}).") from error
    model_type = config.get("model_type") if isinstance(config, dict) else None
    if model_type != "qwen2_5_vl":
        raise DataError(
            f"{name} is a model of type {model_type}; the targets of stage 1 come from the frozen base model, a stock "
            "Qwen2.5-VL (qwen2_5_vl)."
        )
    try:
        check_whole(folder)
    except ValueError as error:
        raise DataError(str(error)) from error
