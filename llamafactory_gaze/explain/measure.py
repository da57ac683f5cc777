"""What the visual tower does with one image's map: where the calibrator looks, and which visual tokens move.

Everything comes back in raster order, row by row as the eye reads the image, and can be laid over it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from llamafactory_gaze.inference import InferenceError, caption, gaze_inputs
from llamafactory_gaze.modeling import Qwen2_5_VLGazeForConditionalGeneration
from llamafactory_gaze.modeling.configuration import IN_TOWER
from llamafactory_gaze.modeling.cross_attention import SaliencyCalibrator


_QUERIES_AT_ONCE = 512  # all scores of a large image, (heads, patches, patches), would not fit into memory


@dataclass(frozen=True)
class Effect:
    """What a map does to one image of h x w patches, that is h/2 x w/2 visual tokens.

    Attributes:
        attention: block -> (heads, h, w) float32, where each head of the block's calibrator looks on behalf of the
            looked-at patches: its attention, averaged over the queries with the map as their weight. Each head's sums
            to 1, and 1 / (h * w) is chance. Empty where gaze comes in without attention of its own.
        moved: (h/2, w/2) float32, how far each visual token moves: norm of the difference between the token with the
            map and without, divided by the norm of the token without. 0 is not at all.
    """

    attention: dict[int, np.ndarray]
    moved: np.ndarray


@dataclass(frozen=True)
class Explanation(Effect):
    """An effect, and the model's greedy answers with the map and without."""

    caption_with: str
    caption_without: str


def explain(
    model: Qwen2_5_VLGazeForConditionalGeneration,
    processor: Any,
    image: Image.Image,
    saliency: np.ndarray,
    prompt: str,
    max_pixels: int | None = None,
) -> Explanation:
    """Measure what the map of an image does in the model, and ask for both captions.

    Args:
        prompt: the question that both captions answer.
        model, processor, image, saliency, max_pixels: as for `measure_effect`, which see for the errors, too.
    """
    effect = measure_effect(model, processor, image, saliency, max_pixels)
    with_map, without_map = (gaze_inputs(processor, image, each, prompt, max_pixels) for each in (saliency, None))
    return Explanation(
        effect.attention,
        effect.moved,
        caption_with=caption(model, processor, with_map),
        caption_without=caption(model, processor, without_map),
    )


def measure_effect(
    model: Qwen2_5_VLGazeForConditionalGeneration,
    processor: Any,
    image: Image.Image,
    saliency: np.ndarray,
    max_pixels: int | None = None,
) -> Effect:
    """Measure what the map of an image does in the visual tower, without any caption.

    Args:
        model, processor: as `inference.load_model` returns them.
        image: any mode.
        saliency: (H, W) in [0, 1], any size with the aspect ratio of the image. Of a black map all queries count alike.
        max_pixels: a larger image is scaled down, as in training with `image_max_pixels`; default: the processor's own.

    Raises:
        InferenceError: gaze comes into this model by the picture or by the prompt, and its tower takes in no map.
        SaliencyMapError: the map has another aspect ratio than the image.
    """
    fusion = model.config.vision_config.gaze_fusion
    if fusion not in IN_TOWER:
        raise InferenceError(
            f"The visual tower of a model with gaze_fusion {fusion} takes in no map, so there is nothing in it to "
            f"explain; it can be explained for {', '.join(IN_TOWER)}."
        )
    # The tower does not see the prompt.
    with_map, without_map = (gaze_inputs(processor, image, each, "", max_pixels) for each in (saliency, None))
    tower = model.model.visual
    grid = with_map["image_grid_thw"].to(model.device)
    with _listening(tower) as attention:
        moved = _tokens(tower, with_map["pixel_values"], grid)
    unmoved = _tokens(tower, without_map["pixel_values"], grid)
    distance = (moved - unmoved).norm(dim=1) / unmoved.norm(dim=1)

    _, h, w = grid[0].tolist()
    merge = tower.spatial_merge_size
    in_raster_order = _raster_order(tower, grid)
    return Effect(
        attention={block: in_raster_order(patches).cpu().numpy() for block, patches in sorted(attention.items())},
        moved=distance.reshape(h // merge, w // merge).cpu().numpy(),
    )


@torch.no_grad()
def _tokens(tower: Any, pixel_values: Tensor, grid: Tensor) -> Tensor:
    """The visual tokens as the language model gets them, row by row -> (patches / 4, d_llm) float32."""
    return tower(pixel_values.to(grid.device, tower.dtype), grid).pooler_output.float()


@contextmanager
def _listening(tower: Any) -> Iterator[dict[int, Tensor]]:
    """Within the block, what the calibrators do is written into the dictionary: block -> (heads, patches).

    The patches stand in the order of the tower's blocks.
    """
    attention: dict[int, Tensor] = {}

    def listen(block: int) -> Callable[..., None]:
        def hook(calibrator: SaliencyCalibrator, args: Any, kwargs: Any) -> None:
            inputs = signature(calibrator.forward).bind(*args, **kwargs).arguments
            attention[block] = _mean_attention(calibrator, **inputs)

        return hook

    handles = [
        block.calibrator.register_forward_pre_hook(listen(number), with_kwargs=True)
        for number, block in enumerate(tower.blocks)
        if isinstance(getattr(block, "calibrator", None), SaliencyCalibrator)
    ]
    try:
        yield attention
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def _mean_attention(calibrator: SaliencyCalibrator, hidden_states: Tensor, gaze: Any, **inputs: Any) -> Tensor:
    """The attention of the queries of one image, averaged with the map as weight -> (heads, patches) float32."""
    query, key, _, asking = calibrator.project(hidden_states, gaze, **inputs)
    query, key = query.float().transpose(0, 1), key.float().transpose(0, 1)  # (heads, N, d_h)
    weight = gaze.saliency.float().mean(1)  # of each patch; with gaze_query global there is one query for all of them
    if query.shape[1] != len(weight) or not weight.any():
        weight = torch.ones(query.shape[1], device=query.device)
    weight = weight / weight.sum()
    lengths, asked = asking.lengths, calibrator.scope(gaze).lengths
    means = []
    for q, k, share in zip(query.split(lengths, dim=1), key.split(asked, dim=1), weight.split(lengths), strict=True):
        mean = torch.zeros(k.shape[:2], device=k.device)
        for part, part_share in zip(q.split(_QUERIES_AT_ONCE, dim=1), share.split(_QUERIES_AT_ONCE), strict=True):
            scores = part @ k.transpose(1, 2) * calibrator.scaling  # (heads, queries, patches)
            mean += torch.einsum("q,hqk->hk", part_share, scores.softmax(-1))
        means.append(mean)
    return torch.cat(means, dim=1)


def _raster_order(tower: Any, grid: Tensor) -> Callable[[Tensor], Tensor]:
    """A function from (heads, patches) in the order of the tower's blocks to (heads, h, w).

    Undone are two orders (picture in `modeling/modeling_qwen2_5_vl_gaze.py`): groups of merge x merge patches stand
    window by window, and the patches of a group stand together.
    """
    _, h, w = grid[0].tolist()
    merge = tower.spatial_merge_size
    window_index, _ = tower.get_window_index(grid)
    place = window_index.argsort()

    def in_raster_order(patches: Tensor) -> Tensor:
        groups = patches.unflatten(1, (-1, merge * merge))[:, place.to(patches.device)]
        groups = groups.reshape(-1, h // merge, w // merge, merge, merge)
        return groups.transpose(2, 3).reshape(-1, h, w)  # (heads, group row, row, group column, column)

    return in_raster_order
