"""From an image and a saliency map to a caption in a few lines, with transformers and peft alone.

    model, processor = load_model("saves/export")
    inputs = gaze_inputs(processor, Image.open("a.jpg"), read_saliency_map("a_map.png"), "Describe the image.")
    print(caption(model, processor, inputs))

`inputs` is what LLaMA-Factory's plug-in (`integration/mm_plugin.py`) makes of the same image, map and prompt.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from peft import PeftModel, get_peft_model_state_dict
from PIL import Image
from safetensors import safe_open
from torch import nn
from transformers import AutoConfig, AutoProcessor, BatchFeature, Qwen2_5_VLForConditionalGeneration
from transformers.utils import logging

from llamafactory_gaze.export.whole import check_whole
from llamafactory_gaze.integration.arguments import GazeArguments
from llamafactory_gaze.integration.settings import WEIGHTS, gaze_config
from llamafactory_gaze.modeling import Qwen2_5_VLGazeConfig, Qwen2_5_VLGazeForConditionalGeneration
from llamafactory_gaze.modeling.configuration import IN_TOWER
from llamafactory_gaze.modeling.gaze import ZeroInitLinear
from llamafactory_gaze.modeling.processing_qwen2_5_vl_gaze import Qwen2_5_VLGazeProcessor
from llamafactory_gaze.saliency.gazed_image import GazedImage


Source = str | os.PathLike[str]  # a folder, or a name on the Hugging Face Hub


class InferenceError(ValueError):
    """A model cannot be used as asked; one sentence says which one, why, and what to do."""


def load_model(
    model: Source,
    adapters: Sequence[Source] = (),
    dtype: torch.dtype | str = "auto",
    device: torch.device | str | None = None,
) -> tuple[Qwen2_5_VLGazeForConditionalGeneration, Qwen2_5_VLGazeProcessor]:
    """Load a trained gaze model, ready to generate.

    Args:
        model: an exported gaze model, or the base model that `adapters` were trained on.
        adapters: output folders of trainings, in the order of training; each is merged before the next is loaded.
        dtype: of the weights; "auto" is that of the checkpoint.
        device: default: the first GPU, or the CPU where there is none.

    Returns:
        the model in evaluation mode, and its processor, which knows the model's `gaze_fusion`, and scales images down
        as the training of the last adapter did.

    Raises:
        InferenceError: no such model, a part of one, no Qwen2.5-VL, a model without gaze, or adapters that carry no
            gaze settings, do not fit each other or the model, or of which the first ones are missing.
    """
    _refuse_parts(model)
    config = _config(os.fspath(model), [os.fspath(adapter) for adapter in adapters])
    loaded, processor, missing = _load(Qwen2_5_VLGazeForConditionalGeneration, model, config=config, dtype=dtype)
    _void(loaded, missing)
    for adapter in adapters:
        try:
            tuned = PeftModel.from_pretrained(loaded, os.fspath(adapter))
            _check_weights(tuned, os.fspath(adapter))
            loaded = tuned.merge_and_unload()
        except InferenceError:
            raise
        except Exception as error:  # peft and torch raise nearly anything on an adapter that is damaged
            raise InferenceError(f"The adapter {adapter} cannot be loaded: {_first_line(error)}") from error
        # What peft leaves behind would make the next adapter a second one beside this one.
        vars(loaded).pop("peft_config", None)
    if any(parameter.isnan().any() for name, parameter in loaded.named_parameters() if ".calibrator." in name):
        raise InferenceError(
            f"Nothing holds the calibrator's weights, neither {model} nor {', '.join(map(str, adapters))}: give all "
            "adapters in the order of training, stage 1 first."
        )
    processor = Qwen2_5_VLGazeProcessor.from_stock(processor, config.vision_config.gaze_fusion)
    if adapters and (pixels := _trained_pixels(Path(adapters[-1]))) is not None:
        processor.image_max_pixels = pixels
    return _ready(loaded, device), processor


def load_stock_model(model: Source) -> tuple[Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLGazeProcessor]:
    """Load a stock Qwen2.5-VL, which never gets a map, as something to compare with.

    Returns:
        the model in evaluation mode, and a processor that cuts images as that of a gaze model does.

    Raises:
        InferenceError: no such model, or one that lacks weights.
    """
    _refuse_parts(model)
    loaded, processor, _ = _load(Qwen2_5_VLForConditionalGeneration, model, dtype="auto")
    return _ready(loaded, None), Qwen2_5_VLGazeProcessor.from_stock(processor, IN_TOWER[0])


def gaze_inputs(
    processor: Qwen2_5_VLGazeProcessor,
    image: Image.Image,
    saliency: np.ndarray | None,
    prompt: str,
    max_pixels: int | None = None,
) -> BatchFeature:
    """What the model takes in for one image, its map and a prompt; the answer is left to `model.generate(**inputs)`.

    Args:
        processor: as `load_model` returns it.
        image: any mode.
        saliency: (H, W) in [0, 1], any size with the aspect ratio of the image; None for an image without a map.
        prompt: the text behind the image.
        max_pixels: a larger image is scaled down, as in training with `image_max_pixels`; default: the processor's own.

    Returns:
        `input_ids` and `attention_mask` (1, length), `image_grid_thw` (1, 3) and `pixel_values`, which is
        (patches, 4 * 2 * 14 * 14) where the map goes into the tower and (patches, 3 * 2 * 14 * 14) otherwise.

    Raises:
        SaliencyMapError: the map has another aspect ratio than the image.
        ValueError: the map is not two-dimensional or leaves [0, 1].
    """
    item = {"type": "image", "image": GazedImage(image, saliency)}
    turn = {"role": "user", "content": [item, {"type": "text", "text": prompt}]}
    text = processor.apply_chat_template([turn], tokenize=False, add_generation_prompt=True)
    return processor(images=item["image"], text=[text], image_max_pixels=max_pixels, return_tensors="pt")


def caption(
    model: Qwen2_5_VLGazeForConditionalGeneration, processor: Any, inputs: BatchFeature, max_new_tokens: int = 256
) -> str:
    """The model's greedy answer to what `gaze_inputs` returns."""
    inputs = inputs.to(model.device)
    tokens = model.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=max_new_tokens)
    answer = tokens[0, inputs["input_ids"].shape[1] :]
    return processor.tokenizer.decode(answer, skip_special_tokens=True).strip()


def _refuse_parts(model: Source) -> None:
    try:
        check_whole(model)
    except ValueError as error:
        raise InferenceError(str(error)) from error


def _config(model: str, adapters: list[str]) -> Qwen2_5_VLGazeConfig:
    """The configuration that the model and its adapters agree on, by the rules for recipes that say nothing of gaze."""
    if (Path(model) / "adapter_config.json").is_file():
        raise InferenceError(f"{model} is an adapter: name its base model as the model, and {model} as an adapter.")
    try:
        config = AutoConfig.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise InferenceError(
            f"No model is found at {model}: give a folder with a model, or a name on the Hugging Face Hub."
        ) from error
    if config.model_type == "qwen2_5_vl" and not adapters:
        raise InferenceError(
            f"{model} is a stock Qwen2.5-VL, which knows nothing of gaze: add the adapters that were trained on it, or "
            "give an exported gaze model."
        )
    missing = [adapter for adapter in adapters if Path(adapter).exists() and not _has_adapter(adapter)]
    if missing:
        raise InferenceError(f"{missing[0]} holds no adapter: there is no adapter_config.json in it.")
    options = SimpleNamespace(
        model_name_or_path=model,
        adapter_name_or_path=adapters,
        gaze=GazeArguments(),
        adapter_folder=None,
        cache_dir=None,
        model_revision="main",
        hf_hub_token=None,
    )
    try:
        return gaze_config(config, options)
    except ValueError as error:
        raise InferenceError(_first_line(error)) from error


def _load(kind: Any, model: Source, **options: Any) -> tuple[Any, Any, list[str]]:
    """A model, its processor, and the names of the calibrators' weights that its checkpoint lacks.

    Raises:
        InferenceError: there is no such model, or it lacks other weights.
    """
    try:
        with _quiet():
            loaded, report = kind.from_pretrained(model, output_loading_info=True, use_safetensors=True, **options)
        processor = AutoProcessor.from_pretrained(model)
    except OSError as error:
        raise InferenceError(f"The model {model} cannot be loaded: {_first_line(error)}") from error
    missing = report["missing_keys"]
    lacking = sorted(name for name in missing if ".calibrator." not in name)
    if lacking:
        raise InferenceError(
            f"The model {model} is not complete: it lacks {len(lacking)} weights, such as {lacking[0]}."
        )
    return loaded, processor, missing


def _trained_pixels(adapter: Path) -> int | None:
    """`image_max_pixels` of an adapter's training, which saved its processor beside the weights."""
    try:
        pixels = json.loads((adapter / "processor_config.json").read_text(encoding="utf-8"))["image_max_pixels"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pixels if isinstance(pixels, int) else None


def _check_weights(tuned: PeftModel, adapter: str) -> None:
    """Refuses an adapter that lacks weights, which peft replaces by random ones with a warning, or has no numbers.

    Raises:
        InferenceError: one of them.
    """
    wanted = get_peft_model_state_dict(tuned)
    if (file := Path(adapter) / WEIGHTS).is_file():
        with safe_open(file, "pt") as opened:
            lacking = sorted(set(wanted) - set(opened.keys()))
        if lacking:
            raise InferenceError(
                f"The adapter {adapter} is not complete: it lacks {len(lacking)} weights, such as {lacking[0]}."
            )
    odd = next((name for name, values in wanted.items() if not values.isfinite().all()), None)
    if odd is not None:
        raise InferenceError(f"The adapter {adapter} has weights that are no finite numbers, such as {odd}.")


def _ready(model: nn.Module, device: torch.device | str | None) -> Any:
    return model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()


def _has_adapter(folder: str) -> bool:
    return (Path(folder) / "adapter_config.json").is_file()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' table of missing weights: the adapters bring them, and what stays missing is an error."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def _void(model: nn.Module, missing: Sequence[str]) -> None:
    """Marks random weights, those that no checkpoint has given a value, by NaN: an adapter has to replace them.

    Stage 2's adapter only adds to the calibrator that stage 1's brings; without stage 1 it would add to random numbers.
    """
    for name in missing:
        module = model.get_submodule(name.rpartition(".")[0])
        if isinstance(module, nn.Linear) and not isinstance(module, ZeroInitLinear):
            nn.init.constant_(module.weight, math.nan)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
