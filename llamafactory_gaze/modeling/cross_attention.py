"""`gaze_fusion: cross_attention`, the paper's own: E_sal and multi-head cross-attention (MHCA) in a block of the tower.

Where it stands in a block of Qwen2.5-VL's tower (the tower is pre-norm with RMSNorm; the paper writes post-norm):

    x   = x + Attention(RMSNorm(x))                                  the block's own self-attention
    M'  = M_patches E_sal                                            Eq. (1), appendix A.3.1
    KV  = RMSNorm(x)                                                 the paper's X_intermediate1 = LayerNorm(x)
    Z   = Concat(head_1, ..., head_h) W_O                            MHCA, appendix A.3.2
          head_k = softmax((M' W_Q^k) (KV W_K^k)^T / sqrt(d_h)) (KV W_V^k)
    x   = x + Z                    gaze_norm: pre  (default; W_O starts at zero, so a fresh model is the base model)
    x   = LayerNorm(x + Z)         gaze_norm: post (the paper's X_intermediate2)
    x   = x + MLP(RMSNorm(x))                                        the block's own MLP

With `gaze_rope: true` queries and keys are turned by the tower's rotary positions, as in its self-attention; the
paper's formula has no positions. The cross-attention stays within one image, with `gaze_scope: window` within a window
of the tower (8 x 8 patches), so that its cost grows with the patches and not with their square. Patches of an image
without a map pass through untouched, bit for bit.
"""

from typing import Any

import torch
from torch import Tensor, nn

from llamafactory_gaze.modeling.configuration import Qwen2_5_VLGazeVisionConfig
from llamafactory_gaze.modeling.gaze import (
    Gaze,
    LeanRMSNorm,
    PlainBlock,
    Positions,
    ZeroInitLinear,
    rotated,
    where_looked,
)
from llamafactory_gaze.modeling.recompute import remade
from llamafactory_gaze.modeling.segments import Segments, attend


class PatchQuery:
    """N_s = N_p: every patch of the map asks, and is answered where it lies."""

    @staticmethod
    def ask(gaze: Gaze, scope: Segments) -> tuple[Tensor, Segments]:
        """M_patches (N_s, d_s,raw), and which of them ask which segment of the image."""
        return gaze.saliency, scope

    @staticmethod
    def answer(output: Tensor, gaze: Gaze) -> Tensor:
        """Z (N_s, d_vit) -> (patches, d_vit)"""
        return output


class GlobalQuery:
    """N_s = 1: the mean patch of an image's map asks once, and the answer is replicated to all its patches (A.3.2)."""

    @staticmethod
    def ask(gaze: Gaze, scope: Segments) -> tuple[Tensor, Segments]:
        images = gaze.saliency.split(scope.lengths)
        return torch.stack([image.mean(0) for image in images]), Segments([1] * len(images), scope.device)

    @staticmethod
    def answer(output: Tensor, gaze: Gaze) -> Tensor:
        images = zip(output, gaze.images.lengths, strict=True)
        return torch.cat([answer.expand(patches, -1) for answer, patches in images])


def without_positions(query: Tensor, key: Tensor, positions: Positions) -> tuple[Tensor, Tensor]:
    """The paper's formula: queries and keys as they are."""
    return query, key


SCOPES: dict[str, Any] = {"image": lambda gaze: gaze.images, "window": lambda gaze: gaze.windows}
QUERIES: dict[str, Any] = {"patch": PatchQuery, "global": GlobalQuery}
NORMS: dict[str, Any] = {"pre": lambda width: nn.Identity(), "post": nn.LayerNorm}
POSITIONS = {False: without_positions, True: rotated}


class SaliencyCalibrator(nn.Module):
    """Cross-attention from the saliency map to the features of one image (paper, appendix A.3)."""

    num_key_value_groups = 1  # transformers' eager attention asks for it
    gradient_checkpointing = False  # transformers sets it in all modules that have it
    is_causal = False

    def __init__(self, config: Qwen2_5_VLGazeVisionConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.config = config
        self.num_heads: int = config.gaze_num_heads  # type: ignore[assignment] # resolved by the configuration
        self.scaling = (width // self.num_heads) ** -0.5
        self.scope = SCOPES[config.gaze_scope]
        self.query = QUERIES[config.gaze_query]
        self.positions = POSITIONS[config.gaze_rope]
        self.saliency_proj = nn.Linear(config.saliency_width, width, bias=False)  # E_sal, Eq. (1)
        self.norm = LeanRMSNorm(width, eps=1e-6)
        self.q_proj = nn.Linear(width, width, bias=False)  # W_Q^cross
        self.k_proj = nn.Linear(width, width, bias=False)  # W_K^cross
        self.v_proj = nn.Linear(width, width, bias=False)  # W_V^cross
        self.o_proj = ZeroInitLinear(width, width, bias=False)  # W_O^cross
        self.post_norm = NORMS[config.gaze_norm](width)

    def forward(self, hidden_states: Tensor, gaze: Gaze, position_embeddings: Positions) -> Tensor:
        """Args:
            hidden_states: (patches, d_vit), the block's features after self-attention.
            gaze: the saliency of the same patches.
            position_embeddings: their rotary positions.

        Returns:
            (patches, d_vit), the features that go on to the MLP.
        """
        query, key, value, asking = self.project(hidden_states, gaze, position_embeddings)
        output = self.o_proj(attend(self, query, key, value, asking, self.scope(gaze)))  # Z, (N_s, d_vit)
        informed = self.post_norm(hidden_states + self.query.answer(output, gaze).to(hidden_states.dtype))
        return where_looked(gaze.saliency, informed, hidden_states)

    def project(
        self, hidden_states: Tensor, gaze: Gaze, position_embeddings: Positions
    ) -> tuple[Tensor, Tensor, Tensor, Segments]:
        """Queries (N_s, heads, d_h), keys and values (patches, heads, d_h), and which queries ask which segment."""
        saliency, asking = self.query.ask(gaze, self.scope(gaze))
        # M', (N_s, d_vit); -1 marks the absence of a map
        saliency_features, kept_apart = remade(self, self.saliency_proj, saliency.clamp(min=0))
        with kept_apart:
            query = self._split_heads(self.q_proj(saliency_features))
        features, kept_apart = remade(self, self.norm, hidden_states)
        with kept_apart:
            key = self._split_heads(self.k_proj(features))
            value = self._split_heads(self.v_proj(features))
        return *self.positions(query, key, position_embeddings), value, asking

    def _split_heads(self, states: Tensor) -> Tensor:
        """(N, d_vit) -> (N, heads, d_h)"""
        return states.view(states.shape[0], self.num_heads, -1)


class CrossAttentionBlock(PlainBlock):
    """The stock block with a calibrator between its self-attention and its MLP."""

    def __init__(self, config: Qwen2_5_VLGazeVisionConfig) -> None:
        super().__init__(config)
        self.calibrator = SaliencyCalibrator(config)

    def calibrate(self, hidden_states: Tensor, gaze: Gaze | None, **kwargs: Any) -> Tensor:
        return hidden_states if gaze is None else self.calibrator(hidden_states, gaze, kwargs["position_embeddings"])
