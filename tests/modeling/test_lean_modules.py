"""Parts of the blocks that work in place where no gradient is taken: the stock ones' numbers, and inputs unharmed."""

import pytest
import torch
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VLMLP,
    Qwen2_5_VLRMSNorm,
    apply_rotary_pos_emb_vision,
)

from llamafactory_gaze.modeling.gaze import LeanMLP, LeanRMSNorm, rotated


WIDTH = 48
CONFIG = Qwen2_5_VLVisionConfig(hidden_size=WIDTH, intermediate_size=80)
PAIRS = {
    "norm": (lambda: LeanRMSNorm(WIDTH, eps=1e-6), lambda: Qwen2_5_VLRMSNorm(WIDTH, eps=1e-6)),
    "mlp": (lambda: LeanMLP(CONFIG, bias=True), lambda: Qwen2_5_VLMLP(CONFIG, bias=True)),
    "mlp with gelu": tuple(
        lambda module=module: module(Qwen2_5_VLVisionConfig(**{**CONFIG.to_dict(), "hidden_act": "gelu"}), bias=True)
        for module in (LeanMLP, Qwen2_5_VLMLP)
    ),
}


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize(
    ("pair", "weights", "inputs"),
    [
        *((pair, torch.float32, torch.float32) for pair in PAIRS),
        *((pair, torch.bfloat16, torch.bfloat16) for pair in PAIRS),
        ("norm", torch.float32, torch.bfloat16),  # as `upcast_layernorm` leaves it
    ],
)
def test_equal_to_the_stock_module(pair, weights, inputs, gradients):
    torch.manual_seed(0)
    lean, stock = (make().to(weights) for make in PAIRS[pair])
    for parameter in lean.parameters():
        torch.nn.init.normal_(parameter)
    stock.load_state_dict(lean.state_dict())
    states = torch.randn(37, WIDTH).to(inputs)
    before = states.clone()
    with torch.set_grad_enabled(gradients):
        found, expected = lean(states), stock(states)
    assert found.dtype == expected.dtype and found.requires_grad == gradients
    assert torch.equal(found, expected)
    assert torch.equal(states, before)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair.startswith("mlp")])
def test_gradients_are_those_of_the_stock_mlp(pair, kind):
    torch.manual_seed(0)
    lean, stock = (make().to(kind) for make in PAIRS[pair])
    stock.load_state_dict(lean.state_dict())
    states, weights = torch.randn(37, WIDTH, dtype=kind), torch.randn(37, WIDTH, dtype=kind)
    found, expected = (
        torch.autograd.grad((mlp(given) * weights).sum(), [given, *mlp.parameters()])
        for mlp, given in ((mlp, states.clone().requires_grad_()) for mlp in (lean, stock))
    )
    assert len(found) == 7 and all(gradient.any() for gradient in found)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == kind and torch.equal(ours, theirs)


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_rotary_positions_are_the_stock_ones(kind, gradients):
    torch.manual_seed(0)
    both = torch.randn(37, 3, 4, 12).to(kind)
    query, key, _ = both.unbind(1)
    positions, before = (torch.randn(37, 12), torch.randn(37, 12)), both.clone()
    with torch.set_grad_enabled(gradients):
        found, expected = rotated(query, key, positions), apply_rotary_pos_emb_vision(query, key, *positions)
    for ours, stock in zip(found, expected, strict=True):
        assert ours.dtype == kind and torch.equal(ours, stock)
    assert torch.equal(both, before)
