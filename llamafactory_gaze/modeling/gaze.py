"""What the parts of the tower that take gaze in have in common.

A part that takes gaze in is called `calibrator` wherever it stands in the tower: by this name it is trained, counted
and saved, whatever the `gaze_fusion`.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLVisionBlock, eager_attention_forward
from transformers.utils.generic import is_flash_attention_requested


class Gaze(NamedTuple):
    """What a block needs to know of the gaze.

    Attributes:
        saliency: (patches, d_s,raw), the map's values in [0, 1] cut like the image and in the order of the block's
            hidden states; every value of an image without a map is -1.
        cu_seqlens: (images + 1,) int32, where the patches of each image (each frame of a video) begin and end.
    """

    saliency: Tensor
    cu_seqlens: Tensor


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


class PlainBlock(Qwen2_5_VLVisionBlock):
    """The stock block; the gaze that the tower hands to all its blocks passes by."""

    def forward(self, *args: Any, gaze: Gaze | None = None, **kwargs: Any) -> Tensor:
        return super().forward(*args, **kwargs)


def attend(module: Any, query: Tensor, key: Tensor, value: Tensor, ends_q: Tensor, ends_k: Tensor) -> Tensor:
    """Attention within segments, with the kernel of transformers that the configuration names.

    Args:
        module: has `config`, `scaling`, `num_key_value_groups` and `is_causal`, as transformers' attention asks for.
        query: (N_q, heads, d_h).
        key, value: (N_k, heads, d_h).
        ends_q, ends_k: (segments + 1,) int32, where the segments begin and end: query segment i sees key segment i.

    Returns:
        (N_q, heads * d_h).
    """
    q, k, v = (states.transpose(0, 1).unsqueeze(0) for states in (query, key, value))  # each (1, heads, N, d_h)
    attention = ALL_ATTENTION_FUNCTIONS.get_interface(module.config._attn_implementation, eager_attention_forward)
    always = {"attention_mask": None, "scaling": module.scaling, "dropout": 0.0, "is_causal": False}
    if is_flash_attention_requested(module.config):
        lengths = {"max_length_q": ends_q.diff().max(), "max_length_k": ends_k.diff().max()}
        output = attention(module, q, k, v, cu_seq_lens_q=ends_q, cu_seq_lens_k=ends_k, **lengths, **always)[0]
    else:
        segments = zip(
            q.split(ends_q.diff().tolist(), dim=2),
            *(states.split(ends_k.diff().tolist(), dim=2) for states in (k, v)),
            strict=True,
        )
        output = torch.cat([attention(module, *segment, **always)[0] for segment in segments], dim=1)
    return output.reshape(query.shape[0], -1)  # from (1, N_q, heads, d_h)
