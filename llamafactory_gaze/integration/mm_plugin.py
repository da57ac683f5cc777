"""The multimodal plug-in `qwen2_5_vl_gaze`: puts the saliency map behind the colours of its image, a fourth channel."""

from typing import Any

import numpy as np
import torch
from llamafactory.data.mm_plugin import Qwen2VLPlugin

from llamafactory_gaze.integration.references import detach
from llamafactory_gaze.saliency.maps import read_saliency_map
from llamafactory_gaze.saliency.patches import no_map_patches, patchify


class GazeQwen2VLPlugin(Qwen2VLPlugin):
    """Qwen2.5-VL's plug-in, whose `pixel_values` carries the maps of the images that have one.

    `pixel_values` is (patches, 4 * 2 * 14 * 14) with the map in [0, 1] in the last 2 * 14 * 14 columns (-1 in all of
    them where an image has no map), or of the stock width, (patches, 3 * 2 * 14 * 14), where no image has a map.
    """

    def _get_mm_token_metadata(self, images: list[Any], *args: Any) -> dict[str, Any] | None:
        return super()._get_mm_token_metadata([detach(image)[0] for image in images], *args)

    def _get_mm_inputs(
        self, images: list[Any], videos: list[Any], audios: list[Any], processor: Any
    ) -> dict[str, torch.Tensor]:
        pairs = [detach(image) for image in images]
        mm_inputs = super()._get_mm_inputs([image for image, _ in pairs], videos, audios, processor)
        ablation = getattr(processor, "gaze_ablation", "none")
        maps = [None if ablation == "off" else saliency for _, saliency in pairs]
        if any(saliency is not None for saliency in maps):
            saliency_patches = [
                _saliency_patches(saliency, grid, processor.image_processor, uniform=ablation == "uniform")
                for saliency, grid in zip(maps, mm_inputs["image_grid_thw"].tolist(), strict=True)
            ]
            channel = torch.from_numpy(np.concatenate(saliency_patches))
            mm_inputs["pixel_values"] = torch.cat([mm_inputs["pixel_values"], channel], dim=1)
        return mm_inputs


def _saliency_patches(
    saliency: str | bytes | None, grid_thw: list[int], image_processor: Any, uniform: bool
) -> np.ndarray:
    """The map of one image, cut like the image -> (patches, 2 * 14 * 14) float32."""
    t, h, w = grid_thw
    cut = {
        "patch_size": image_processor.patch_size,
        "merge_size": image_processor.merge_size,
        "temporal_patch_size": image_processor.temporal_patch_size,
    }
    if saliency is None:
        return no_map_patches((t, h, w), **cut)
    values = read_saliency_map(saliency)
    if uniform:
        values = np.full_like(values, values.mean())
    return patchify(values, (t, h, w), **cut)
