"""What the parts of the tower that take gaze in have in common.

A part that takes gaze in is called `calibrator` wherever it stands in the tower: by this name it is trained, counted
and saved, whatever the `gaze_fusion`.
"""

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import silu
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VLMLP,
    Qwen2_5_VLRMSNorm,
    Qwen2_5_VLVisionAttention,
    Qwen2_5_VLVisionBlock,
    apply_rotary_pos_emb_vision,
)

from llamafactory_gaze.modeling.configuration import Qwen2_5_VLGazeVisionConfig
from llamafactory_gaze.modeling.recompute import GatedSiLU, remade
from llamafactory_gaze.modeling.segments import Segments, attend


Positions = tuple[Tensor, Tensor]  # cosine and sine of the tower's rotary positions, each (patches, d_h)


class Gaze(NamedTuple):
    """What a block needs to know of the gaze.

    Attributes:
        saliency: (patches, d_s,raw), the map's values in [0, 1] cut like the image and in the order of the block's
            hidden states; every value of an image without a map is -1.
        images: the patches of each image (each frame of a video).
        windows: the same, for the tower's windows.
    """

    saliency: Tensor
    images: Segments
    windows: Segments


def where_looked(saliency: Tensor, with_gaze: Tensor, without: Tensor) -> Tensor:
    """Row by row `with_gaze` for patches of images that have a map, `without` for others, bit for bit.

    Args:
        saliency: (patches, d_s,raw), see `Gaze`.
        with_gaze, without: (patches, ...) of the same shape.
    """
    has_map = (saliency[:, 0] >= 0).view(-1, *[1] * (without.ndim - 1))
    return torch.where(has_map, with_gaze.to(without.dtype), without)


class ZeroInitLinear(nn.Linear):
    """A linear map that starts at zero, so that what it ends has no effect before training."""

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)


def rotated(query: Tensor, key: Tensor, positions: Positions) -> tuple[Tensor, Tensor]:
    """The stock rotary positions, bit for bit; on the way without gradients with fewer copies.

    Args:
        query, key: (patches, heads, d_h).
    """
    if torch.is_grad_enabled():
        return apply_rotary_pos_emb_vision(query, key, *positions)
    cos, sin = (each.unsqueeze(-2).float() for each in positions)  # each (patches, 1, d_h)
    return _rotated(query, cos, sin), _rotated(key, cos, sin)


def _rotated(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """states * cos + rotate_half(states) * sin, whose halves change places without a copy of them."""
    exact = states.float()
    turned = exact * cos
    (first, second), (sin_first, sin_second) = exact.chunk(2, -1), sin.chunk(2, -1)
    of_first, of_second = turned.chunk(2, -1)
    of_first.sub_(second * sin_first)
    of_second.add_(first * sin_second)
    return turned.to(states.dtype)


class SegmentAttention(Qwen2_5_VLVisionAttention):
    """The stock self-attention, which calls its kernel for segments of one length together (`segments.py`)."""

    def forward(
        self,
        hidden_states: Tensor,
        cu_seqlens: Segments,
        rotary_pos_emb: Tensor | None = None,
        position_embeddings: Positions | None = None,
        gaze: Gaze | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """hidden_states: (patches, d_vit) -> the same shape; attention stays within the segments of `cu_seqlens`."""
        assert position_embeddings is not None  # None in the stock signature alone
        # (patches, 3 * d_vit) -> three of (patches, heads, d_h)
        query, key, value = torch.unbind(self.qkv(hidden_states).view(len(hidden_states), 3, self.num_heads, -1), 1)
        query, key = rotated(query, key, position_embeddings)
        query = self.inform(query, gaze)
        if torch.is_grad_enabled():
            value = value.contiguous()  # a view would keep queries and keys as well
        return self.proj(attend(self, query, key, value, cu_seqlens, cu_seqlens, **kwargs))

    def inform(self, query: Tensor, gaze: Gaze | None) -> Tensor:
        """What gaze makes of the queries, (patches, heads, d_h) -> the same shape: here nothing."""
        return query


class LeanRMSNorm(Qwen2_5_VLRMSNorm):
    """The stock norm, bit for bit; on the way without gradients its products take the place of the squares."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        if torch.is_grad_enabled() or self.weight.dtype != hidden_states.dtype:  # a product of two types has another
            return super().forward(hidden_states)
        states = hidden_states.float()
        squares = states.pow(2)
        scale = torch.rsqrt(squares.mean(-1, keepdim=True) + self.variance_epsilon)
        return torch.mul(states, scale, out=squares).to(hidden_states.dtype).mul_(self.weight)


class LeanMLP(Qwen2_5_VLMLP):
    """The stock MLP, which keeps less for the way back, and on the way without one writes over what it has used."""

    gradient_checkpointing = False  # transformers sets it in all modules that have it

    def __init__(self, config: Qwen2_5_VLGazeVisionConfig, bias: bool = False) -> None:
        super().__init__(config, bias)
        self.is_silu = config.hidden_act == "silu"
        self.open_in_place = partial(silu, inplace=True) if self.is_silu else self.act_fn

    def forward(self, hidden_state: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            opened = self.open_in_place(self.gate_proj(hidden_state))
            return self.down_proj(opened.mul_(self.up_proj(hidden_state)))
        product = GatedSiLU.apply if self.is_silu else self.product
        halves = self.gate_proj(hidden_state), self.up_proj(hidden_state)
        opened, kept_apart = remade(self, product, *halves, keeps_inputs_alone=self.is_silu)
        with kept_apart:
            return self.down_proj(opened)

    def product(self, gate: Tensor, up: Tensor) -> Tensor:
        return self.act_fn(gate) * up


class PlainBlock(Qwen2_5_VLVisionBlock):
    """The stock block, with a place for gaze between self-attention and MLP, which here is empty."""

    attention: type[SegmentAttention] = SegmentAttention

    def __init__(self, config: Qwen2_5_VLGazeVisionConfig) -> None:
        super().__init__(config)
        self.norm1 = LeanRMSNorm(config.hidden_size, eps=1e-6)
        self.norm2 = LeanRMSNorm(config.hidden_size, eps=1e-6)
        self.attn = self.attention(config)
        self.mlp = LeanMLP(config, bias=True)

    def forward(self, hidden_states: Tensor, gaze: Gaze | None = None, **kwargs: Any) -> Tensor:
        """hidden_states: (patches, d_vit) in window order -> the same shape."""
        normed, kept_apart = remade(self, self.norm1, hidden_states)
        with kept_apart:
            hidden_states = hidden_states + self.attn(normed, gaze=gaze, **kwargs)
        hidden_states = self.calibrate(hidden_states, gaze, **kwargs)
        normed, kept_apart = remade(self, self.norm2, hidden_states)
        with kept_apart:
            return hidden_states + self.mlp(normed)

    def calibrate(self, hidden_states: Tensor, gaze: Gaze | None, **kwargs: Any) -> Tensor:
        """What gaze makes of the features after self-attention: here nothing."""
        return hidden_states
