"""An explanation as a folder of two pictures and one file of numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eval.errors import InputError
from eval.output import all_or_nothing, check_output
from llamafactory_gaze.data.provenance import installed_versions
from llamafactory_gaze.explain.draw import draw_attention, draw_moved
from llamafactory_gaze.explain.measure import Explanation, explain
from llamafactory_gaze.inference import InferenceError, Source, load_model
from llamafactory_gaze.saliency.label import map_source
from llamafactory_gaze.saliency.maps import check_aspect_ratio, read_saliency_map


ATTENTION, MOVED, NUMBERS = "attention.png", "moved.png", "explanation.json"


def explain_files(
    model: Source,
    image_file: Path,
    map_file: Path,
    output: Path,
    adapters: Sequence[Source] = (),
    prompt: str = "Describe the image.",
    max_pixels: int | None = None,
) -> Explanation:
    """Explain what a model does with the map of an image, and write all of it into a folder.

    Written are `moved.png`, `explanation.json` and, where the model has attention of its own for gaze,
    `attention.png`; all of them or none. An earlier explanation in the folder is replaced.

    Args:
        model, adapters: as for `inference.load_model`.
        image_file, map_file: an image and its saliency map.
        output: a folder that is new, empty or holds an explanation.
        prompt, max_pixels: as for `measure.explain`.

    Raises:
        InferenceError: a file or model that cannot be used, or a model whose tower takes in no map.
        SaliencyMapError: the map cannot be read or does not fit the image.
        InputError: the output folder cannot be written, or holds other files.
    """
    check_output(output)
    _check_only_ours(output)
    image = _read_image(image_file)
    saliency = read_saliency_map(map_file)
    check_aspect_ratio((saliency.shape[1], saliency.shape[0]), image.size, str(map_file), str(image_file))
    loaded, processor = load_model(model, adapters)
    explanation = explain(loaded, processor, image, saliency, prompt, max_pixels)
    numbers = {
        "model": str(model),
        "adapters": [str(adapter) for adapter in adapters],
        "settings": loaded.config.vision_config.gaze_settings(),
        "image": str(image_file),
        "map": str(map_file),
        "map_source": map_source(map_file),
        "image_size": list(image.size),
        "map_size": [saliency.shape[1], saliency.shape[0]],
        "max_pixels": max_pixels or processor.image_max_pixels,
        "prompt": prompt,
        **_as_json(explanation, loaded.config.vision_config.spatial_merge_size),
        "dtype": str(loaded.dtype).removeprefix("torch."),
        "versions": installed_versions("llamafactory-gaze", "transformers", "peft", "torch"),
    }
    with all_or_nothing(output) as staging:
        if explanation.attention:
            draw_attention(explanation, image, saliency, staging / ATTENTION)
        draw_moved(explanation, image, saliency, staging / MOVED)
        (staging / NUMBERS).write_text(json.dumps(numbers, ensure_ascii=False) + "\n", encoding="utf-8")
    if not explanation.attention:
        (output / ATTENTION).unlink(missing_ok=True)  # of an earlier explanation
    return explanation


def _as_json(explanation: Explanation, merge: int) -> dict[str, Any]:
    """The measured numbers as plain lists, rounded to the digits that float32 has."""
    rows, columns = explanation.moved.shape
    return {
        "grid": {"patches": [rows * merge, columns * merge], "visual_tokens": [rows, columns]},
        "caption_with": explanation.caption_with,
        "caption_without": explanation.caption_without,
        "moved": _rounded(explanation.moved),
        "attention": {str(block): _rounded(heads) for block, heads in explanation.attention.items()},
    }


def _rounded(values: np.ndarray) -> Any:
    shortened = [float(f"{value:.6g}") for value in values.ravel().tolist()]
    return np.array(shortened).reshape(values.shape).tolist()


def _check_only_ours(folder: Path) -> None:
    others = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    others = [name for name in others if name not in (ATTENTION, MOVED, NUMBERS)]
    if others:
        raise InputError(f"{folder} holds other files, {others[0]} for one: name a new or empty folder with --output.")


def _read_image(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError as error:
        raise InferenceError(f"The image {path} does not exist: correct the path.") from error
    # PIL raises nearly anything on a damaged file: OSError, SyntaxError, ValueError, ...
    except Exception as error:
        raise InferenceError(
            f"The image {path} cannot be decoded ({type(error).__name__}): give a picture, such as a PNG or JPEG file."
        ) from error
