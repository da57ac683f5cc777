"""The patch embedding with a map: one more channel of the convolution, as the paper's appendix A.2.1 says."""

import pytest
import torch
from torch import nn
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionPatchEmbed

from llamafactory_gaze.modeling.configuration import Qwen2_5_VLGazeVisionConfig
from llamafactory_gaze.modeling.input_channel import PatchEmbed, SaliencyPatchEmbed


WIDTH, PATCHES, FIRST = 32, 24, 8  # the first image has 8 patches
PIXELS, SALIENCY = 3 * 2 * 14 * 14, 2 * 14 * 14
KERNEL = (2, 14, 14)
CONFIG = Qwen2_5_VLGazeVisionConfig(depth=2, hidden_size=WIDTH, num_heads=2, gaze_fusion="input_channel")


def make_embed(dtype: torch.dtype = torch.float32, awake: bool = True) -> SaliencyPatchEmbed:
    torch.manual_seed(0)
    embed = SaliencyPatchEmbed(CONFIG).to(dtype)
    if awake:  # W_M starts at zero: nothing would be tested
        nn.init.normal_(embed.calibrator.weight, std=0.1)
    return embed


def make_stock(embed: PatchEmbed) -> Qwen2_5_VisionPatchEmbed:
    stock = Qwen2_5_VisionPatchEmbed(14, 2, 3, WIDTH).to(embed.proj.weight.dtype)
    stock.proj.load_state_dict(embed.proj.state_dict())
    return stock


def make_input(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Colours around zero, as the processor normalises them, and a map in [0, 1]."""
    generator = torch.Generator().manual_seed(1)
    colours = torch.randn(PATCHES, PIXELS, generator=generator, dtype=torch.float64)
    return torch.cat([colours, torch.rand(PATCHES, SALIENCY, generator=generator, dtype=torch.float64)], 1).to(dtype)


def test_equals_a_convolution_with_four_channels():
    embed = make_embed(torch.float64)
    convolution = nn.Conv3d(4, WIDTH, kernel_size=KERNEL, stride=KERNEL, bias=False, dtype=torch.float64)
    with torch.no_grad():
        convolution.weight[:, :3] = embed.proj.weight
        convolution.weight[:, 3] = embed.calibrator.weight.view(WIDTH, *KERNEL)
        inputs = make_input(torch.float64)
        expected = convolution(inputs.view(PATCHES, 4, *KERNEL)).flatten(1)
        assert expected.shape == (PATCHES, WIDTH)
        torch.testing.assert_close(embed(inputs), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_fresh_one_is_the_stock_embedding_bit_for_bit(dtype):
    embed, inputs = make_embed(dtype, awake=False), make_input(dtype)
    assert torch.equal(embed(inputs), make_stock(embed)(inputs[:, :PIXELS]))


def test_without_a_map_it_is_the_stock_embedding_bit_for_bit():
    embed, inputs = make_embed(), make_input()
    stock = make_stock(embed)(inputs[:, :PIXELS])
    assert torch.equal(embed(inputs[:, :PIXELS]), stock)
    inputs[:FIRST, PIXELS:] = -1
    output = embed(inputs)
    assert torch.equal(output[:FIRST], stock[:FIRST])
    assert (output[FIRST:] != stock[FIRST:]).any(1).all()


def test_without_a_map_the_calibrator_still_gets_a_gradient():
    """DDP waits for one, be it zero."""
    embed, inputs = make_embed(), make_input()
    inputs[:, PIXELS:] = -1
    embed(inputs).square().sum().backward()
    assert embed.calibrator.weight.grad is not None and not embed.calibrator.weight.grad.any()
    embed(make_input()).square().sum().backward()
    assert embed.calibrator.weight.grad.any(1).all()


def test_the_stock_embedding_sees_the_colours_alone():
    torch.manual_seed(0)
    embed, inputs = PatchEmbed(CONFIG), make_input()
    assert set(embed.state_dict()) == {"proj.weight"}
    assert torch.equal(embed(inputs), make_stock(embed)(inputs[:, :PIXELS]))


@pytest.mark.parametrize("width", [SALIENCY, PIXELS - 1, PIXELS + 1, PIXELS + SALIENCY + 1])
@pytest.mark.parametrize("kind", [PatchEmbed, SaliencyPatchEmbed])
def test_a_wrong_width_is_refused(kind, width):
    with pytest.raises(ValueError, match=rf"has {width} columns: expected 1176 .* or 1568"):
        kind(CONFIG)(torch.zeros(PATCHES, width))
