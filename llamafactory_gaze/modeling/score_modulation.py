"""`gaze_fusion: score_modulation`, a rival after MULAN (appendix A.2.2): gaze scales the self-attention scores.

    Scores(q_i, K_j) = (q_i K_j^T) beta_i / sqrt(d_h)
    beta_i           = 1 + M_patches,i W_beta              one for each head; W_beta starts at zero

beta_i belongs to the query, so it is the query that is scaled, and every attention kernel does the rest. The paper
leaves open how beta comes from the map: here it is linear in the map's patch, and 1 at the start and without a map, so
that a fresh model, and an image without a map, is the base model's, bit for bit. MULAN: Sood et al., CVPR Workshops
2021.
"""

from typing import Any

from torch import Tensor, float32, promote_types
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VLVisionAttention,
    Qwen2_5_VLVisionBlock,
    apply_rotary_pos_emb_vision,
)

from llamafactory_gaze.modeling.configuration import Qwen2_5_VLGazeVisionConfig
from llamafactory_gaze.modeling.gaze import Gaze, ZeroInitLinear, attend, where_looked


class ModulatedAttention(Qwen2_5_VLVisionAttention):
    """The stock self-attention with queries scaled by what the map says of their patches."""

    def __init__(self, config: Qwen2_5_VLGazeVisionConfig) -> None:
        super().__init__(config)
        self.calibrator = ZeroInitLinear(config.saliency_width, config.num_heads, bias=False)  # W_beta

    def forward(
        self,
        hidden_states: Tensor,
        cu_seqlens: Tensor,
        rotary_pos_emb: Tensor | None = None,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        gaze: Gaze | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """hidden_states: (patches, d_vit) -> the same shape; attention stays within the segments of `cu_seqlens`."""
        if gaze is None or position_embeddings is None:
            return super().forward(
                hidden_states, cu_seqlens, rotary_pos_emb, position_embeddings=position_embeddings, **kwargs
            )
        # (patches, 3 * d_vit) -> three of (patches, heads, d_h)
        query, key, value = self.qkv(hidden_states).view(hidden_states.shape[0], 3, self.num_heads, -1).unbind(1)
        query, key = apply_rotary_pos_emb_vision(query, key, *position_embeddings)
        change = self.calibrator(gaze.saliency.clamp(min=0)).unsqueeze(-1)  # (patches, heads, 1)
        beta = 1 + change.to(promote_types(change.dtype, float32))  # in bfloat16 small changes of 1 are none
        query = where_looked(gaze.saliency, beta * query, query)
        return self.proj(attend(self, query, key, value, cu_seqlens, cu_seqlens))


class ScoreModulationBlock(Qwen2_5_VLVisionBlock):
    """The stock block with modulated self-attention, which the block hands its `gaze`."""

    def __init__(self, config: Qwen2_5_VLGazeVisionConfig) -> None:
        super().__init__(config)
        self.attn = ModulatedAttention(config)
