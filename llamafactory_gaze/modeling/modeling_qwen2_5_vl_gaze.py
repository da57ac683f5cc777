"""Qwen2.5-VL with a visual tower that takes in where people look (`vision_tower.py`).

Each class overrides few things of its stock parent (transformers/models/qwen2_5_vl/modeling_qwen2_5_vl.py):

    Qwen2_5_VLGazeModel                     builds that tower; finds image tokens without `mm_token_type_ids`, and puts
                                            the frames of a video in order (`positions.py`)
    Qwen2_5_VLGazeForConditionalGeneration  the same for generation
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLModel,
    Qwen2_5_VLTextModel,
)

from llamafactory_gaze.modeling.configuration import Qwen2_5_VLGazeConfig
from llamafactory_gaze.modeling.feature_files import FeatureFiles
from llamafactory_gaze.modeling.image_cache import ImageCache
from llamafactory_gaze.modeling.positions import IMAGE, VIDEO, positions_in_time
from llamafactory_gaze.modeling.vision_tower import Qwen2_5_VLGazeVisionTransformer, ZeroInitMixin


class Qwen2_5_VLGazeModel(ZeroInitMixin, Qwen2_5_VLModel):
    config: Qwen2_5_VLGazeConfig

    def __init__(self, config: Qwen2_5_VLGazeConfig) -> None:
        # The stock constructor would first build a stock tower only to throw it away.
        super(Qwen2_5_VLModel, self).__init__(config)
        self.visual = Qwen2_5_VLGazeVisionTransformer._from_config(config.vision_config)
        self.language_model = Qwen2_5_VLTextModel._from_config(config.text_config)
        self.rope_deltas = None
        self.post_init()

    def token_types(self, input_ids: Tensor) -> Tensor:
        """(batch, length) token ids -> the same shape, 0 for text, 1 for an image's tokens, 2 for a video's."""
        is_image, is_video = input_ids == self.config.image_token_id, input_ids == self.config.video_token_id
        return IMAGE * is_image.int() + VIDEO * is_video.int()

    def get_rope_index(
        self,
        input_ids: Tensor,
        mm_token_type_ids: Tensor,
        image_grid_thw: Tensor | None = None,
        video_grid_thw: Tensor | None = None,
        second_per_grid_ts: Tensor | list[float] | None = None,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor]:
        """As the stock method; where there are videos, with their frames in order (`positions.py`)."""
        if video_grid_thw is None:
            return super().get_rope_index(
                input_ids, mm_token_type_ids, image_grid_thw, attention_mask=attention_mask, **kwargs
            )
        vision = self.config.vision_config
        seconds = [1.0] * len(video_grid_thw) if second_per_grid_ts is None else second_per_grid_ts
        return positions_in_time(
            mm_token_type_ids,
            attention_mask,
            image_grids=[] if image_grid_thw is None else image_grid_thw.tolist(),
            video_grids=video_grid_thw.tolist(),
            steps=[float(each) * vision.tokens_per_second for each in seconds],
            merge_size=vision.spatial_merge_size,
        )

    def compute_3d_position_ids(
        self, input_ids: Tensor | None, *args: Any, mm_token_type_ids: Tensor | None = None, **kwargs: Any
    ) -> Tensor | None:
        """As the stock method, but without `mm_token_type_ids` it derives them instead of giving up M-RoPE.

        LLaMA-Factory 0.9.5 passes none when it generates; the stock model then falls back to plain 1-D positions,
        though training used the 3-D ones.
        """
        if mm_token_type_ids is None and input_ids is not None:
            mm_token_type_ids = self.token_types(input_ids)
        return super().compute_3d_position_ids(input_ids, *args, mm_token_type_ids=mm_token_type_ids, **kwargs)


class Qwen2_5_VLGazeForConditionalGeneration(ZeroInitMixin, Qwen2_5_VLForConditionalGeneration):
    """Qwen2.5-VL that sees where people look.

    Loads a stock Qwen2.5-VL checkpoint with exactly the calibrators missing; these start without effect, so that the
    fresh model is the base model. Saves and loads as its own model type, `qwen2_5_vl_gaze`.
    """

    config: Qwen2_5_VLGazeConfig

    def __init__(self, config: Qwen2_5_VLGazeConfig) -> None:
        super(Qwen2_5_VLForConditionalGeneration, self).__init__(config)
        self.model = Qwen2_5_VLGazeModel(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """As the stock method, but from safetensors alone: other files of weights are pickled, and could hold code."""
        return super().from_pretrained(*args, **{**kwargs, "use_safetensors": True})

    def cache_images(self, images: int, folder: str | None = None, gigabytes: float = 20.0) -> None:
        """Keeps what the tower makes of images before gaze comes in, so that a new map needs the rest alone.

        The cache knows nothing of weights that change: in training it is used only where all that comes before gaze is
        frozen, else `train()` empties it, as loading weights does. It helps with `gaze_fusion` cross_attention,
        score_modulation and text, whose images are the same with any map.

        Args:
            images: how many are kept in memory, where the model is; an image of n patches takes n * d_vit numbers, 5 MB
                at 2,000 patches of the 3B model in bfloat16.
            folder: where features are kept in files as well, also for later runs with the same weights.
            gigabytes: the most that the folder may take.
        """
        tower = self.model.visual
        files = None if folder is None else FeatureFiles(Path(folder), gigabytes, tower.image_stage_digest)
        tower.image_cache = ImageCache(images, files) if images or files else None

    def _expand_inputs_for_generation(self, *args: Any, **kwargs: Any) -> tuple[Tensor, dict[str, Any]]:
        """As the stock method, which repeats tensors for beams; LLaMA-Factory's `second_per_grid_ts` is a list."""
        if kwargs.get("second_per_grid_ts") is not None:
            kwargs["second_per_grid_ts"] = torch.as_tensor(kwargs["second_per_grid_ts"])
        return super()._expand_inputs_for_generation(*args, **kwargs)

    def _prepare_position_ids_for_generation(self, inputs_tensor: Tensor, model_kwargs: dict[str, Any]) -> Tensor:
        """The positions of the prompt, 3-D wherever there is an image; see `compute_3d_position_ids`."""
        input_ids = model_kwargs.get("input_ids")
        if input_ids is None or input_ids.shape[1] == 0:
            input_ids = inputs_tensor
        if model_kwargs.get("mm_token_type_ids") is None and not input_ids.is_floating_point():
            model_kwargs = {**model_kwargs, "mm_token_type_ids": self.model.token_types(input_ids)}
        return super()._prepare_position_ids_for_generation(inputs_tensor, model_kwargs)


__all__ = [
    "Qwen2_5_VLGazeForConditionalGeneration",
    "Qwen2_5_VLGazeModel",
]
