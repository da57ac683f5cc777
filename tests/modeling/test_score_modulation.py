"""The modulated self-attention against an independent numpy version of the paper's formula (appendix A.2.2)."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from transformers import AttentionInterface
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLVisionAttention
from transformers.utils.generic import is_flash_attention_requested

from llamafactory_gaze.modeling.configuration import Qwen2_5_VLGazeVisionConfig
from llamafactory_gaze.modeling.gaze import Gaze
from llamafactory_gaze.modeling.score_modulation import ModulatedAttention
from llamafactory_gaze.modeling.segments import Segments
from tests.modeling.references import make_positions, softmax, turned, varlen_attention


WIDTH, HEADS, LENGTHS = 32, 4, (16, 24)  # two images of 16 and 24 patches
D_H, FIRST = WIDTH // HEADS, LENGTHS[0]
WINDOWS = Segments((10, 6, 12, 12))  # each image has two
POSITIONS = make_positions(sum(LENGTHS), D_H)


def make_attention(kernel: str = "eager", awake: bool = True) -> ModulatedAttention:
    torch.manual_seed(0)
    config = Qwen2_5_VLGazeVisionConfig(
        depth=2, hidden_size=WIDTH, num_heads=HEADS, gaze_fusion="score_modulation", gaze_layers=[1]
    )
    config._attn_implementation = kernel
    attention = ModulatedAttention(config).double()
    with torch.no_grad():
        for name, parameter in attention.named_parameters():
            if "calibrator" not in name:
                parameter.normal_(std=0.3)
            elif awake:  # W_beta starts at zero: nothing would be tested
                parameter.normal_(std=0.1)
    return attention


def make_stock(attention: ModulatedAttention) -> Qwen2_5_VLVisionAttention:
    """The stock self-attention with the same weights."""
    stock = Qwen2_5_VLVisionAttention(attention.config).to(attention.proj.weight.dtype)
    weights = attention.state_dict()
    del weights["calibrator.weight"]
    stock.load_state_dict(weights)
    return stock


def make_input() -> tuple[torch.Tensor, Gaze]:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(sum(LENGTHS), WIDTH, generator=generator, dtype=torch.float64)
    saliency = torch.rand(sum(LENGTHS), 392, generator=generator, dtype=torch.float64)
    return features, Gaze(saliency, Segments(LENGTHS), WINDOWS)


def run(attention, features, gaze=None) -> torch.Tensor:
    if isinstance(attention, ModulatedAttention):
        return attention(features, cu_seqlens=WINDOWS, position_embeddings=POSITIONS, gaze=gaze)
    return attention(features, cu_seqlens=WINDOWS.ends, position_embeddings=POSITIONS)


def reference(
    attention: ModulatedAttention, features: np.ndarray, saliency: np.ndarray, cos: np.ndarray, sin: np.ndarray
) -> np.ndarray:
    """One window, written from the paper."""
    weight = {name: value.detach().numpy() for name, value in attention.state_dict().items()}
    queries, keys, values = np.split(features @ weight["qkv.weight"].T + weight["qkv.bias"], 3, axis=1)
    heads = []
    for head in range(HEADS):
        q, k, v = (states[:, head * D_H : (head + 1) * D_H] for states in (queries, keys, values))
        beta = 1 + saliency @ weight["calibrator.weight"][head]  # of each query
        scores = (turned(q, cos, sin) @ turned(k, cos, sin).T) * beta[:, None] / np.sqrt(D_H)
        heads.append(softmax(scores) @ v)
    return np.concatenate(heads, axis=1) @ weight["proj.weight"].T + weight["proj.bias"]


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
def test_equals_the_papers_formula(kernel):
    attention = make_attention(kernel)
    features, gaze = make_input()
    with torch.no_grad():
        output = run(attention, features, gaze).numpy()
    for start, end in pairwise(WINDOWS.ends.tolist()):
        inputs = (features, gaze.saliency, *POSITIONS)
        expected = reference(attention, *(tensor[start:end].numpy() for tensor in inputs))
        # transformers turns queries and keys in float32
        np.testing.assert_allclose(output[start:end], expected, atol=5e-6)


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_fresh_one_is_the_stock_attention_bit_for_bit(kernel, dtype):
    attention = make_attention(kernel, awake=False).to(dtype)
    features, gaze = make_input()
    features, gaze = features.to(dtype), gaze._replace(saliency=gaze.saliency.to(dtype))
    assert torch.equal(run(attention, features, gaze), run(make_stock(attention), features))


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
def test_an_image_without_a_map_is_as_in_the_stock_attention_bit_for_bit(kernel):
    attention = make_attention(kernel)
    features, gaze = make_input()
    gaze.saliency[:FIRST] = -1
    with torch.no_grad():
        output, stock = run(attention, features, gaze), run(make_stock(attention), features)
    assert torch.equal(output[:FIRST], stock[:FIRST])
    assert (output[FIRST:] != stock[FIRST:]).any(1).all()


def test_the_map_of_a_patch_moves_no_other_patch():
    """beta belongs to the query."""
    attention = make_attention()
    features, gaze = make_input()
    changed = gaze.saliency.clone()
    changed[7] = 0.5
    with torch.no_grad():
        before, after = run(attention, features, gaze), run(attention, features, gaze._replace(saliency=changed))
    assert (before != after).any(1).nonzero().flatten().tolist() == [7]


def test_the_attention_stays_within_its_window():
    attention = make_attention()
    features, gaze = make_input()
    changed = features.clone()
    changed[12] += 1  # in the second window
    with torch.no_grad():
        moved = (run(attention, changed, gaze) != run(attention, features, gaze)).any(1)
    assert moved.nonzero().flatten().tolist() == list(range(10, 16))


def test_without_a_map_every_parameter_still_gets_a_gradient():
    """DDP waits for one, be it zero."""
    attention = make_attention()
    features, gaze = make_input()
    run(attention, features, gaze._replace(saliency=torch.full_like(gaze.saliency, -1))).square().sum().backward()
    assert all(parameter.grad is not None for parameter in attention.parameters())
    assert not attention.calibrator.weight.grad.any()
    assert attention.qkv.weight.grad.any()


def test_a_fresh_one_can_learn():
    """W_beta starts at zero; its gradient does not."""
    attention = make_attention(awake=False)
    assert not attention.calibrator.weight.any()
    features, gaze = make_input()
    run(attention, features, gaze).square().sum().backward()
    assert attention.calibrator.weight.grad.any(1).all()  # of every head


def test_flash_attention_is_called_with_the_windows_of_the_block():
    AttentionInterface.register("flash_attention_stand_in", varlen_attention)
    attention = make_attention()
    features, gaze = make_input()
    with torch.no_grad():
        expected = run(attention, features, gaze)
        attention.config._attn_implementation = "flash_attention_stand_in"
        assert is_flash_attention_requested(attention.config)
        # the eager attention of transformers takes its softmax in float32
        torch.testing.assert_close(run(attention, features, gaze), expected, rtol=0, atol=2e-6)
