"""Qwen2.5-VL with saliency calibrators in its visual tower.

Each class overrides one thing of its stock parent (transformers/models/qwen2_5_vl/modeling_qwen2_5_vl.py):

    Qwen2_5_VLGazeVisionTransformer         puts the calibrators in, and the saliency channel into window order
    Qwen2_5_VLGazeModel                     builds that tower; finds image tokens without `mm_token_type_ids`, and puts
                                            the frames of a video in order (`positions.py`)
    Qwen2_5_VLGazeForConditionalGeneration  the same for generation

`pixel_values` is (patches, 4 * 2 * 14 * 14): the stock columns followed by the saliency map's (`saliency/patches.py`).
The stock width, (patches, 3 * 2 * 14 * 14), means that no image has a map. `pixel_values_videos` is alike, with a map
for each frame; two frames that follow each other are one temporal patch, which takes gaze in for itself.

Order of patches. The processor emits them in merge-grouped order; the tower re-orders the groups of 2 x 2 patches by
window before its first block. The saliency patches take the same way. Groups of an image of 12 x 12 patches, with
windows of 8 x 8 patches, that is 4 x 4 groups:

    processor order              window order (numbers are processor positions)
     0  1  2  3 |  4  5          window 0:  0  1  2  3  6  7  8  9 12 13 14 15 18 19 20 21
     6  7  8  9 | 10 11          window 1:  4  5 10 11 16 17 22 23
    12 13 14 15 | 16 17          window 2: 24 25 26 27 30 31 32 33
    18 19 20 21 | 22 23          window 3: 28 29 34 35
    ------------+------
    24 25 26 27 | 28 29
    30 31 32 33 | 34 35
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VisionTransformerPretrainedModel,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLModel,
    Qwen2_5_VLPreTrainedModel,
    Qwen2_5_VLTextModel,
)

from llamafactory_gaze.modeling.configuration import Qwen2_5_VLGazeConfig, Qwen2_5_VLGazeVisionConfig
from llamafactory_gaze.modeling.fusions import FUSIONS, STOCK_TOWER
from llamafactory_gaze.modeling.gaze import Gaze, PlainBlock, ZeroInitLinear
from llamafactory_gaze.modeling.input_channel import split_saliency, with_saliency_channel
from llamafactory_gaze.modeling.positions import IMAGE, VIDEO, positions_in_time


class _ZeroInitMixin(Qwen2_5_VLPreTrainedModel):
    """Keeps at zero what starts at zero when `from_pretrained` fills the modules that a checkpoint does not hold."""

    _no_split_modules = ["Qwen2_5_VLDecoderLayer", "PlainBlock", "CrossAttentionBlock", "ScoreModulationBlock"]  # noqa: RUF012

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, ZeroInitLinear):
            init.zeros_(module.weight)
        else:
            super()._init_weights(module)


class Qwen2_5_VLGazeVisionTransformer(_ZeroInitMixin, Qwen2_5_VisionTransformerPretrainedModel):
    """The stock tower with a fourth input channel, the saliency map, and parts that take it in (`fusions.py`)."""

    config: Qwen2_5_VLGazeVisionConfig

    def __init__(self, config: Qwen2_5_VLGazeVisionConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        fusion = FUSIONS.get(config.gaze_fusion, STOCK_TOWER)
        patched = config.gaze_layers or ()
        self.patch_embed = fusion.patch_embed(config)
        self.blocks = nn.ModuleList(
            [(fusion.block if layer in patched else PlainBlock)(config) for layer in range(config.depth)]
        )
        self.takes_gaze = fusion is not STOCK_TOWER
        self.post_init()

    def forward(self, hidden_states: Tensor, grid_thw: Tensor, **kwargs: Any) -> Any:
        """Args:
            hidden_states: (patches, 4 * T * P * P) with a saliency channel or (patches, 3 * T * P * P) without.
            grid_thw: (images, 3), patches of each image in time, height and width.

        Returns:
            The stock tower's output: `pooler_output` is (patches / 4, d_llm).

        Raises:
            ValueError: the width of `hidden_states` is neither of the two.
        """
        if self.takes_gaze and self.training:
            # The calibrators run even where no image has a map: DDP and ZeRO-3 wait for them on every rank.
            hidden_states = with_saliency_channel(hidden_states, self.config)
        saliency = split_saliency(hidden_states, self.config)[1]
        if saliency is None or not self.takes_gaze:
            return super().forward(hidden_states, grid_thw, **kwargs)
        frames = torch.repeat_interleave(grid_thw[:, 1] * grid_thw[:, 2], grid_thw[:, 0])  # patches of each frame
        gaze = Gaze(
            saliency=self._in_window_order(saliency, grid_thw),
            cu_seqlens=F.pad(frames.cumsum(0, dtype=torch.int32), (1, 0)),
        )
        return super().forward(hidden_states, grid_thw, gaze=gaze, **kwargs)

    def _in_window_order(self, saliency: Tensor, grid_thw: Tensor) -> Tensor:
        """(patches, d_s,raw) in processor order -> the order of the blocks' hidden states (module docstring)."""
        window_index, _ = self.get_window_index(grid_thw)
        groups = saliency.reshape(-1, self.spatial_merge_unit, saliency.shape[-1])
        return groups[window_index].reshape(saliency.shape)


class Qwen2_5_VLGazeModel(_ZeroInitMixin, Qwen2_5_VLModel):
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


class Qwen2_5_VLGazeForConditionalGeneration(_ZeroInitMixin, Qwen2_5_VLForConditionalGeneration):
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
    "Qwen2_5_VLGazeVisionTransformer",
]
