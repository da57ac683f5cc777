"""The tower's way in: colours, and behind them the saliency channel; `gaze_fusion: input_channel` mixes it in there.

`gaze_fusion: input_channel` is the paper's rival of appendix A.2.1, the map as an extra channel of the patch embedding:

    PatchEmbed([I; M]) = PatchEmbed(I) + M_patches W_M               W_M starts at zero

A convolution is linear in its channels, so an extra channel is a sum, and the pre-trained weights stay as they are.
"""

from torch import Tensor, cat, nn
from torch.nn.functional import linear
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionPatchEmbed

from llamafactory_gaze.modeling.configuration import Qwen2_5_VLGazeVisionConfig
from llamafactory_gaze.modeling.gaze import ZeroInitLinear, where_looked
from llamafactory_gaze.saliency.patches import NO_MAP


def split_saliency(pixel_values: Tensor, config: Qwen2_5_VLGazeVisionConfig) -> tuple[Tensor, Tensor | None]:
    """Takes the saliency channel off.

    Args:
        pixel_values: (patches, 4 * T * P * P) with a saliency channel or (patches, 3 * T * P * P) without.

    Returns:
        (patches, 3 * T * P * P) colours, and (patches, T * P * P) saliency or None.

    Raises:
        ValueError: the width is neither of the two.
    """
    width, colours = pixel_values.shape[-1], config.in_channels * config.saliency_width
    if width == colours:
        return pixel_values, None
    if width == colours + config.saliency_width:
        return pixel_values[:, :colours], pixel_values[:, colours:]
    raise ValueError(
        f"pixel_values has {width} columns: expected {colours} (image alone) or {colours + config.saliency_width} "
        "(image and saliency map)."
    )


def with_saliency_channel(pixel_values: Tensor, config: Qwen2_5_VLGazeVisionConfig) -> Tensor:
    """Adds the channel of images without a map where it is missing: (patches, 3 or 4 * T * P * P) -> 4 * T * P * P.

    Raises:
        ValueError: see `split_saliency`.
    """
    if split_saliency(pixel_values, config)[1] is not None:
        return pixel_values
    return cat([pixel_values, pixel_values.new_full((len(pixel_values), config.saliency_width), NO_MAP)], dim=1)


class PatchProjection(nn.Conv3d):
    """The convolution of the patch embedding: its patches do not overlap, so that it is a matrix product.

    As which it runs on a GPU, where convolutions of this shape in bfloat16 are slow. On a CPU it stays a convolution,
    at 1% of the tower's time: there a fresh model is the base model bit for bit.
    """

    def forward(self, patches: Tensor) -> Tensor:
        """patches: (N, 3, T, P, P) -> (N, d_vit, 1, 1, 1)"""
        return super().forward(patches) if patches.device.type == "cpu" else self.product(patches)

    def product(self, patches: Tensor) -> Tensor:
        return linear(patches.flatten(1), self.weight.flatten(1))[..., None, None, None]


class PatchEmbed(Qwen2_5_VisionPatchEmbed):
    """The stock patch embedding, which sees the colours alone."""

    def __init__(self, config: Qwen2_5_VLGazeVisionConfig) -> None:
        super().__init__(config.patch_size, config.temporal_patch_size, config.in_channels, config.hidden_size)
        self.config = config
        kernel = (config.temporal_patch_size, config.patch_size, config.patch_size)
        self.proj = PatchProjection(config.in_channels, config.hidden_size, kernel, stride=kernel, bias=False)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """hidden_states: pixel_values with or without saliency channel -> (patches, d_vit)."""
        return super().forward(split_saliency(hidden_states, self.config)[0])


class SaliencyPatchEmbed(PatchEmbed):
    """The patch embedding with the map as one more channel."""

    def __init__(self, config: Qwen2_5_VLGazeVisionConfig) -> None:
        super().__init__(config)
        self.calibrator = ZeroInitLinear(config.saliency_width, config.hidden_size, bias=False)  # W_M

    def forward(self, hidden_states: Tensor) -> Tensor:
        embedded = super().forward(hidden_states)
        saliency = split_saliency(hidden_states, self.config)[1]
        if saliency is None:
            return embedded
        channel = self.calibrator(saliency.clamp(min=0).to(embedded.dtype))
        return where_looked(saliency, embedded + channel, embedded)
