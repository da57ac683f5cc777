"""The ways in for gaze that are built into the tower: which classes `gaze_fusion` puts there."""

from typing import NamedTuple

from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLVisionBlock

from llamafactory_gaze.modeling.cross_attention import CrossAttentionBlock
from llamafactory_gaze.modeling.gaze import PlainBlock
from llamafactory_gaze.modeling.input_channel import PatchEmbed, SaliencyPatchEmbed
from llamafactory_gaze.modeling.score_modulation import ScoreModulationBlock


class Fusion(NamedTuple):
    """Attributes:
    block: class of the blocks that `gaze_layers` names; the others are `PlainBlock`.
    patch_embed: class of the patch embedding.
    """

    block: type[Qwen2_5_VLVisionBlock] = PlainBlock
    patch_embed: type[PatchEmbed] = PatchEmbed


FUSIONS = {
    "cross_attention": Fusion(block=CrossAttentionBlock),
    "score_modulation": Fusion(block=ScoreModulationBlock),
    "input_channel": Fusion(patch_embed=SaliencyPatchEmbed),
}
STOCK_TOWER = Fusion()  # for gaze that is drawn into the picture or written into the prompt
