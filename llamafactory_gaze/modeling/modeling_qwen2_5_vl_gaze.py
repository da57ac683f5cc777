"""Qwen2.5-VL with saliency calibrators in its visual tower.

Each class overrides one thing of its stock parent (transformers/models/qwen2_5_vl/modeling_qwen2_5_vl.py):

    Qwen2_5_VLGazeVisionBlock               the calibrator between self-attention and MLP
    Qwen2_5_VLGazeVisionTransformer         takes the saliency channel off `pixel_values`, puts it in window order
    Qwen2_5_VLGazeModel                     builds that tower; finds image tokens without `mm_token_type_ids`
    Qwen2_5_VLGazeForConditionalGeneration  the same for generation

`pixel_values` is (patches, 4 * 2 * 14 * 14): the stock columns followed by the saliency map's (`saliency/patches.py`).
The stock width, (patches, 3 * 2 * 14 * 14), means that no image has a map.

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
    Qwen2_5_VLVisionBlock,
)

from llamafactory_gaze.modeling.calibrator import Gaze, SaliencyCalibrator, ZeroInitLinear
from llamafactory_gaze.modeling.configuration import Qwen2_5_VLGazeConfig, Qwen2_5_VLGazeVisionConfig
from llamafactory_gaze.saliency.patches import NO_MAP


class _ZeroInitMixin(Qwen2_5_VLPreTrainedModel):
    """Keeps W_O at zero when `from_pretrained` fills the modules that a checkpoint does not hold."""

    _no_split_modules = ["Qwen2_5_VLDecoderLayer", "Qwen2_5_VLGazeVisionBlock"]  # noqa: RUF012

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, ZeroInitLinear):
            init.zeros_(module.weight)
        else:
            super()._init_weights(module)


class Qwen2_5_VLGazeVisionBlock(Qwen2_5_VLVisionBlock):
    """A block of the tower; with a calibrator if the configuration's `gaze_layers` name it, else the stock block."""

    def __init__(self, config: Qwen2_5_VLGazeVisionConfig, layer: int) -> None:
        super().__init__(config)
        self.calibrator = SaliencyCalibrator(config) if layer in (config.gaze_layers or ()) else None

    def forward(
        self,
        hidden_states: Tensor,
        cu_seqlens: Tensor,
        rotary_pos_emb: Tensor | None = None,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        gaze: Gaze | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """hidden_states: (patches, d_vit) in window order -> the same shape. `cu_seqlens` are the block's windows."""
        hidden_states = hidden_states + self.attn(
            self.norm1(hidden_states),
            cu_seqlens=cu_seqlens,
            rotary_pos_emb=rotary_pos_emb,
            position_embeddings=position_embeddings,
            **kwargs,
        )
        if self.calibrator is not None and gaze is not None:
            hidden_states = self.calibrator(hidden_states, gaze)
        return hidden_states + self.mlp(self.norm2(hidden_states))


class Qwen2_5_VLGazeVisionTransformer(_ZeroInitMixin, Qwen2_5_VisionTransformerPretrainedModel):
    """The stock tower with a fourth input channel, the saliency map, that only the patched blocks see."""

    config: Qwen2_5_VLGazeVisionConfig

    def __init__(self, config: Qwen2_5_VLGazeVisionConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.blocks = nn.ModuleList([Qwen2_5_VLGazeVisionBlock(config, layer) for layer in range(config.depth)])
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
        pixels, saliency = self._split_saliency(hidden_states)
        if saliency is None and not self.training:
            return super().forward(pixels, grid_thw, **kwargs)
        if saliency is None:
            # Training runs the calibrator even so: DDP and ZeRO-3 wait for its parameters on every rank.
            saliency = pixels.new_full((pixels.shape[0], self.config.saliency_width), NO_MAP)
        frames = torch.repeat_interleave(grid_thw[:, 1] * grid_thw[:, 2], grid_thw[:, 0])  # patches of each frame
        gaze = Gaze(
            saliency=self._in_window_order(saliency, grid_thw),
            cu_seqlens=F.pad(frames.cumsum(0, dtype=torch.int32), (1, 0)),
        )
        return super().forward(pixels, grid_thw, gaze=gaze, **kwargs)

    def _split_saliency(self, hidden_states: Tensor) -> tuple[Tensor, Tensor | None]:
        pixel_width = self.config.in_channels * self.config.saliency_width
        width = hidden_states.shape[-1]
        if width == pixel_width:
            return hidden_states, None
        if width == pixel_width + self.config.saliency_width:
            return hidden_states[:, :pixel_width], hidden_states[:, pixel_width:]
        raise ValueError(
            f"pixel_values has {width} columns: expected {pixel_width} (image alone) or "
            f"{pixel_width + self.config.saliency_width} (image and saliency map)."
        )

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
        return (input_ids == self.config.image_token_id).int() + 2 * (input_ids == self.config.video_token_id).int()

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
    "Qwen2_5_VLGazeVisionBlock",
    "Qwen2_5_VLGazeVisionTransformer",
]
