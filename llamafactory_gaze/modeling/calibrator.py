"""The saliency calibrator: the paper's E_sal and multi-head cross-attention (MHCA), for one block of the visual tower.

Where it stands in a block of Qwen2.5-VL's tower (the tower is pre-norm with RMSNorm; the paper writes post-norm):

    x   = x + Attention(RMSNorm(x))                                  the block's own self-attention
    M'  = M_patches E_sal                                            Eq. (1), appendix A.3.1
    KV  = RMSNorm(x)                                                 the paper's X_intermediate1 = LayerNorm(x)
    Z   = Concat(head_1, ..., head_h) W_O                            MHCA, appendix A.3.2
          head_k = softmax((M' W_Q^k) (KV W_K^k)^T / sqrt(d_h)) (KV W_V^k)
    x   = x + Z                    gaze_norm: pre  (default; W_O starts at zero, so a fresh model is the base model)
    x   = LayerNorm(x + Z)         gaze_norm: post (the paper's X_intermediate2)
    x   = x + MLP(RMSNorm(x))                                        the block's own MLP

The cross-attention stays within one image. Patches of an image without a map pass through untouched, bit for bit.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLRMSNorm, eager_attention_forward
from transformers.utils.generic import is_flash_attention_requested

from llamafactory_gaze.modeling.configuration import Qwen2_5_VLGazeVisionConfig


class Gaze(NamedTuple):
    """What a patched block needs to know of the gaze.

    Attributes:
        saliency: (patches, d_s,raw), the map's values in [0, 1] cut like the image and in the order of the block's
            hidden states; every value of an image without a map is -1.
        cu_seqlens: (images + 1,) int32, where the patches of each image (each frame of a video) begin and end.
    """

    saliency: Tensor
    cu_seqlens: Tensor


class ZeroInitLinear(nn.Linear):
    """A linear map that starts at zero, so that what it ends has no effect before training. Used for W_O."""

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)


class SaliencyCalibrator(nn.Module):
    """Cross-attention from the saliency map to the features of one image (paper, appendix A.3)."""

    num_key_value_groups = 1  # transformers' eager attention asks for it
    is_causal = False

    def __init__(self, config: Qwen2_5_VLGazeVisionConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.config = config
        self.num_heads: int = config.gaze_num_heads  # type: ignore[assignment] # resolved by the configuration
        self.scaling = (width // self.num_heads) ** -0.5
        self.saliency_proj = nn.Linear(config.saliency_width, width, bias=False)  # E_sal, Eq. (1)
        self.norm = Qwen2_5_VLRMSNorm(width, eps=1e-6)
        self.q_proj = nn.Linear(width, width, bias=False)  # W_Q^cross
        self.k_proj = nn.Linear(width, width, bias=False)  # W_K^cross
        self.v_proj = nn.Linear(width, width, bias=False)  # W_V^cross
        self.o_proj = ZeroInitLinear(width, width, bias=False)  # W_O^cross
        self.post_norm = nn.LayerNorm(width) if config.gaze_norm == "post" else nn.Identity()

    def forward(self, hidden_states: Tensor, gaze: Gaze) -> Tensor:
        """Args:
            hidden_states: (patches, d_vit), the block's features after self-attention.
            gaze: the saliency of the same patches.

        Returns:
            (patches, d_vit), the features that go on to the MLP.
        """
        has_map = gaze.saliency[:, :1] >= 0  # (patches, 1)
        calibrated = self.post_norm(hidden_states + self._cross_attention(hidden_states, gaze).to(hidden_states.dtype))
        return torch.where(has_map, calibrated.to(hidden_states.dtype), hidden_states)

    def _cross_attention(self, hidden_states: Tensor, gaze: Gaze) -> Tensor:
        """MHCA(Q = M', K = V = RMSNorm(x)) within each image -> (patches, d_vit)."""
        keys_lengths = gaze.cu_seqlens.diff()  # (images,)
        saliency, query_lengths, query_ends = gaze.saliency, keys_lengths, gaze.cu_seqlens
        if self.config.gaze_query == "global":  # N_s = 1: the map of an image becomes its mean patch
            saliency = torch.stack([image.mean(0) for image in saliency.split(keys_lengths.tolist())])
            query_lengths = torch.ones_like(keys_lengths)
            query_ends = torch.arange(len(gaze.cu_seqlens), dtype=torch.int32, device=saliency.device)

        features = self.norm(hidden_states)
        saliency_features = self.saliency_proj(saliency.clamp(min=0))  # M', (N_s, d_vit); -1 marks the absence of a map
        query = self._split_heads(self.q_proj(saliency_features))
        key = self._split_heads(self.k_proj(features))
        value = self._split_heads(self.v_proj(features))  # each (1, heads, N, d_h)

        attention = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        if is_flash_attention_requested(self.config):
            heads = attention(
                self,
                query,
                key,
                value,
                attention_mask=None,
                scaling=self.scaling,
                dropout=0.0,
                cu_seq_lens_q=query_ends,
                cu_seq_lens_k=gaze.cu_seqlens,
                max_length_q=query_lengths.max(),
                max_length_k=keys_lengths.max(),
                is_causal=False,
            )[0]
        else:
            images = zip(
                query.split(query_lengths.tolist(), dim=2),
                key.split(keys_lengths.tolist(), dim=2),
                value.split(keys_lengths.tolist(), dim=2),
                strict=True,
            )
            heads = torch.cat(
                [
                    attention(self, q, k, v, attention_mask=None, scaling=self.scaling, dropout=0.0, is_causal=False)[0]
                    for q, k, v in images
                ],
                dim=1,
            )  # (1, N_s, heads, d_h)

        output = self.o_proj(heads.reshape(saliency.shape[0], -1))  # (N_s, d_vit)
        if self.config.gaze_query == "global":
            output = output.repeat_interleave(keys_lengths, dim=0)  # the same Z for every patch of the image
        return output

    def _split_heads(self, states: Tensor) -> Tensor:
        """(N, d_vit) -> (1, heads, N, d_h)"""
        return states.view(states.shape[0], self.num_heads, -1).transpose(0, 1).unsqueeze(0)
