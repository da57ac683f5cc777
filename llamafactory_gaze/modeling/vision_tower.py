"""The gaze model's visual tower: Qwen2.5-VL's with a fourth input channel, the saliency map, and parts that take it in.

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

The blocks before the first that takes gaze in, `image_stage`, see the image alone: for a new map on an image that was
seen before they need not run again (`image_cache.py`), and in training they are frozen and need no gradients.
`gaze_stage` is the rest.
"""

from hashlib import blake2b
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import transformers
from torch import Tensor, nn
from transformers import initialization as init
from transformers.integrations import is_deepspeed_zero3_enabled
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VisionTransformerPretrainedModel,
    Qwen2_5_VLPreTrainedModel,
)
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from llamafactory_gaze import __version__
from llamafactory_gaze.modeling.configuration import Qwen2_5_VLGazeVisionConfig
from llamafactory_gaze.modeling.fusions import FUSIONS, STOCK_TOWER
from llamafactory_gaze.modeling.gaze import Gaze, PlainBlock, Positions, ZeroInitLinear
from llamafactory_gaze.modeling.image_cache import ImageCache
from llamafactory_gaze.modeling.input_channel import split_saliency, with_saliency_channel
from llamafactory_gaze.modeling.segments import Segments


class ZeroInitMixin(Qwen2_5_VLPreTrainedModel):
    """Keeps at zero what starts at zero when `from_pretrained` fills the modules that a checkpoint does not hold."""

    _no_split_modules = ["Qwen2_5_VLDecoderLayer", "PlainBlock", "CrossAttentionBlock", "ScoreModulationBlock"]  # noqa: RUF012

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, ZeroInitLinear):
            init.zeros_(module.weight)
        else:
            super()._init_weights(module)


class Layout(NamedTuple):
    """How the patches of several images stand in the blocks.

    Attributes:
        window_index: (patches / 4,), for each group of 2 x 2 patches its place in the order of the processor.
        images: the patches of each image (each frame of a video).
        windows: the patches of each window.
        position_embeddings: cosine and sine of the rotary positions, each (patches, d_h).
    """

    window_index: Tensor
    images: Segments
    windows: Segments
    position_embeddings: Positions


class Qwen2_5_VLGazeVisionTransformer(ZeroInitMixin, Qwen2_5_VisionTransformerPretrainedModel):
    config: Qwen2_5_VLGazeVisionConfig
    image_cache: ImageCache | None = None

    def __init__(self, config: Qwen2_5_VLGazeVisionConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        fusion = FUSIONS.get(config.gaze_fusion, STOCK_TOWER)
        patched = config.gaze_layers or ()
        self.patch_embed = fusion.patch_embed(config)
        self.blocks = nn.ModuleList(
            [(fusion.block if layer in patched else PlainBlock)(config) for layer in range(config.depth)]
        )
        self.takes_gaze = fusion is not STOCK_TOWER
        self.register_load_state_dict_post_hook(_forget_images)
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs
    def forward(self, hidden_states: Tensor, grid_thw: Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Args:
            hidden_states: (patches, 4 * T * P * P) with a saliency channel or (patches, 3 * T * P * P) without.
            grid_thw: (images, 3), patches of each image in time, height and width.

        Returns:
            The stock tower's output: `pooler_output` is (patches / 4, d_llm).

        Raises:
            ValueError: the width of `hidden_states` is neither of the two.
        """
        if self.takes_gaze and (self.training or is_deepspeed_zero3_enabled()):
            # The calibrators run even where no image has a map: DDP and ZeRO-3 wait for them on every rank, ZeRO-3 also
            # where nothing is trained.
            hidden_states = with_saliency_channel(hidden_states, self.config)
        colours, saliency = split_saliency(hidden_states, self.config)
        layout = self.layout(grid_thw, hidden_states.device)
        gaze = None
        if saliency is not None and self.takes_gaze:
            gaze = Gaze(self._in_window_order(saliency, layout), layout.images, layout.windows)
        frozen = self._image_stage_is_frozen() and not hidden_states.requires_grad
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
            if self.image_cache is not None and self._image_stage_is_known(frozen, kwargs):
                features = self.image_cache.features(colours, grid_thw, self.image_stage)
            else:
                features = self.image_stage(hidden_states, grid_thw, layout, **kwargs)
        if frozen and self.training and self._is_checkpointed():
            features.requires_grad_()  # reentrant checkpointing forgets a block none of whose inputs needs a gradient
        return self.gaze_stage(features, layout, gaze, **kwargs)

    def image_stage(
        self, pixel_values: Tensor, grid_thw: Tensor, layout: Layout | None = None, **kwargs: Any
    ) -> Tensor:
        """What the tower makes of the images before gaze comes in.

        Args:
            pixel_values: (patches, 3 or 4 * T * P * P); only `gaze_fusion: input_channel` sees the map here.
            grid_thw: (images, 3).

        Returns:
            (patches, d_vit) in window order, image by image.
        """
        layout = self.layout(grid_thw, pixel_values.device) if layout is None else layout
        features = self._in_window_order(self.patch_embed(pixel_values), layout)
        return self._run(range(self._first_gaze_block), features, layout, **kwargs)

    def gaze_stage(
        self, features: Tensor, layout: Layout, gaze: Gaze | None, **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        """The tower from the first block that takes gaze in: (patches, d_vit) -> its output."""
        features = self._run(range(self._first_gaze_block, len(self.blocks)), features, layout, gaze=gaze, **kwargs)
        merged = self.merger(features)[layout.window_index.argsort()]
        return BaseModelOutputWithPooling(last_hidden_state=features, pooler_output=merged)

    def layout(self, grid_thw: Tensor, device: torch.device) -> Layout:
        """As the stock tower computes it; a grid on the host keeps all of it from waiting for the device."""
        grid_thw = grid_thw.cpu()
        window_index, window_ends = self.get_window_index(grid_thw)
        window_index = window_index.to(device)
        windows = [end - begin for begin, end in pairwise(window_ends) if end > begin]
        images = [h * w for t, h, w in grid_thw.tolist() for _ in range(t)]
        angles = self.rot_pos_emb(grid_thw)
        angles = angles.reshape(-1, self.spatial_merge_unit, angles.shape[-1])[window_index].reshape(angles.shape)
        angles = torch.cat([angles, angles], dim=-1)
        return Layout(window_index, Segments(images, device), Segments(windows, device), (angles.cos(), angles.sin()))

    def train(self, mode: bool = True) -> "Qwen2_5_VLGazeVisionTransformer":
        if mode and self.image_cache is not None and not self._image_stage_is_frozen():
            self.image_cache.clear()  # the weights may change
        return super().train(mode)

    @property
    def _first_gaze_block(self) -> int:
        return max(self.config.first_trained_block, 0)

    def image_stage_digest(self) -> str:
        """Another one for other weights of the image stage, another kernel, or another version of what runs it."""
        digest = blake2b(digest_size=32)
        for number, module in enumerate(self._image_stage_modules()):
            for name, tensor in module.state_dict().items():
                digest.update(f"{number} {name} {tensor.dtype} {[*tensor.shape]} ".encode())
                digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        run_by = (self.config._attn_implementation, torch.__version__, transformers.__version__, __version__)
        layout = (self.window_size, self.patch_size, self.spatial_merge_size, [*self.fullatt_block_indexes])
        return f"{digest.hexdigest()} {run_by} {layout}"

    def _image_stage_modules(self) -> list[nn.Module]:
        return [self.patch_embed, *self.blocks[: self._first_gaze_block]]

    def _image_stage_is_frozen(self) -> bool:
        """Whether nothing that is trained comes before gaze, so that no gradient need go there."""
        return not any(p.requires_grad for module in self._image_stage_modules() for p in module.parameters())

    def _image_stage_is_known(self, frozen: bool, kwargs: dict[str, Any]) -> bool:
        """Whether the image stage is a function of the image alone, and nobody wants to see inside."""
        inside = any(
            kwargs.get(name, getattr(self.config, name, False))
            for name in ("output_hidden_states", "output_attentions")
        )
        fixed = frozen or not (self.training or torch.is_grad_enabled())
        return self._first_gaze_block > 0 and fixed and not inside

    def _is_checkpointed(self) -> bool:
        return any(getattr(block, "gradient_checkpointing", False) for block in self.blocks)

    def _run(self, blocks: range, features: Tensor, layout: Layout, **kwargs: Any) -> Tensor:
        for i in blocks:
            features = self.blocks[i](
                features,
                cu_seqlens=layout.images if i in self.fullatt_block_indexes else layout.windows,
                position_embeddings=layout.position_embeddings,
                **kwargs,
            )
        return features

    def _in_window_order(self, patches: Tensor, layout: Layout) -> Tensor:
        """(patches, ...) in processor order -> the order of the blocks (module docstring)."""
        groups = patches.reshape(-1, self.spatial_merge_unit, patches.shape[-1])
        return groups[layout.window_index].reshape(patches.shape)


def _forget_images(tower: Qwen2_5_VLGazeVisionTransformer, _: Any) -> None:
    """Weights were loaded, e.g. those of the best checkpoint."""
    if tower.image_cache is not None:
        tower.image_cache.clear()


__all__ = ["Qwen2_5_VLGazeVisionTransformer"]
