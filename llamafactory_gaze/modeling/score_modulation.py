"""`gaze_fusion: score_modulation`, a rival after MULAN (appendix A.2.2): gaze scales the self-attention scores.

    Scores(q_i, K_j) = (q_i K_j^T) beta_i / sqrt(d_h)
    beta_i           = 1 + M_patches,i W_beta              one for each head; W_beta starts at zero

beta_i belongs to the query, so it is the query that is scaled, and every attention kernel does the rest. The paper
leaves open how beta comes from the map: here it is linear in the map's patch, and 1 at the start and without a map, so
that a fresh model, and an image without a map, is the base model's, bit for bit. MULAN: Sood et al., CVPR Workshops
2021.
"""

from torch import Tensor, float32, promote_types

from llamafactory_gaze.modeling.configuration import Qwen2_5_VLGazeVisionConfig
from llamafactory_gaze.modeling.gaze import Gaze, PlainBlock, SegmentAttention, ZeroInitLinear, where_looked


class ModulatedAttention(SegmentAttention):
    """The stock self-attention with queries scaled by what the map says of their patches."""

    def __init__(self, config: Qwen2_5_VLGazeVisionConfig) -> None:
        super().__init__(config)
        self.calibrator = ZeroInitLinear(config.saliency_width, config.num_heads, bias=False)  # W_beta

    def inform(self, query: Tensor, gaze: Gaze | None) -> Tensor:
        if gaze is None:
            return query
        change = self.calibrator(gaze.saliency.clamp(min=0)).unsqueeze(-1)  # (patches, heads, 1)
        beta = 1 + change.to(promote_types(change.dtype, float32))  # in bfloat16 small changes of 1 are none
        return where_looked(gaze.saliency, beta * query, query)


class ScoreModulationBlock(PlainBlock):
    """The stock block with modulated self-attention, which the block hands its `gaze`."""

    attention = ModulatedAttention
