"""The contract of flash attention 2, whose kernel needs a GPU: a reference stands in for it, everything else is real.

What reaches the kernel goes through transformers' own path: packed (patches, heads, d_h) in bfloat16, segments in
int32, the longest of them as a number. What the kernel returns must be what sdpa makes of the same.
"""

import pytest
import torch
from transformers import modeling_flash_attention_utils as flash

from tests.modeling.test_image_cache import grid, pixels
from tests.modeling.test_model import awaken, load_gaze


CALLS: list[tuple] = []


def kernel(
    q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p=0.0, softmax_scale=None, causal=False
):
    """What flash_attn_varlen_func computes, by its documentation, segment by segment in float32."""
    assert q.dtype == k.dtype == v.dtype == torch.bfloat16  # the kernel takes half precision only
    assert q.ndim == 3 and k.shape == v.shape and q.shape[1:] == k.shape[1:]
    assert cu_seqlens_q.dtype == cu_seqlens_k.dtype == torch.int32 and cu_seqlens_q.is_contiguous()
    assert cu_seqlens_q[-1] == len(q) and cu_seqlens_k[-1] == len(k) and len(cu_seqlens_q) == len(cu_seqlens_k)
    assert isinstance(max_seqlen_q, int) and max_seqlen_q == cu_seqlens_q.diff().max()
    assert isinstance(max_seqlen_k, int) and max_seqlen_k == cu_seqlens_k.diff().max()
    assert dropout_p == 0 and not causal
    CALLS.append((tuple(cu_seqlens_q.tolist()), tuple(cu_seqlens_k.tolist())))
    parts = []
    for i in range(len(cu_seqlens_q) - 1):
        query = q[cu_seqlens_q[i] : cu_seqlens_q[i + 1]].float().transpose(0, 1)
        key, value = (each[cu_seqlens_k[i] : cu_seqlens_k[i + 1]].float().transpose(0, 1) for each in (k, v))
        parts.append(((query @ key.mT * softmax_scale).softmax(-1) @ value).transpose(0, 1))
    return torch.cat(parts).to(q.dtype)


@pytest.fixture
def flash_attention(monkeypatch):
    CALLS.clear()
    process = flash._lazy_define_process_function(kernel)
    functions = (None, kernel, None, flash._pad_input, flash._unpad_input)
    monkeypatch.setattr(flash, "lazy_import_flash_attention", lambda *args, **kwargs: (functions, process))


def tower_of(checkpoint: str, **gaze):
    return awaken(load_gaze(checkpoint, **gaze)).to(torch.bfloat16).model.visual


def images(tower) -> torch.Tensor:
    return tower(pixels(0, 1, maps=1).bfloat16(), grid(0, 1)).pooler_output.float()


@pytest.mark.parametrize(
    "gaze",
    [{}, {"gaze_query": "global"}, {"gaze_scope": "window"}, {"gaze_rope": True}, {"gaze_fusion": "score_modulation"}],
    ids=str,
)
def test_the_kernel_gets_what_it_asks_for_and_gives_what_sdpa_gives(stock_checkpoint, flash_attention, gaze):
    tower = tower_of(stock_checkpoint, **gaze)
    with torch.no_grad():
        expected = images(tower)
        tower.config._attn_implementation_internal = "flash_attention_2"
        found = images(tower)
    assert (found - expected).norm() < 0.02 * expected.norm()  # bfloat16
    image_ends, window_ends = (0, 192, 256), (0, 64, 128, 160, 192, 256)
    blocks = [image_ends if i in tower.fullatt_block_indexes else window_ends for i in range(4)]
    calls = [(ends, ends) for ends in blocks]
    if gaze.get("gaze_fusion") != "score_modulation":
        calibrator = {"global": ((0, 1, 2), image_ends)}.get(gaze.get("gaze_query"), (image_ends, image_ends))
        calls.insert(3, (window_ends, window_ends) if gaze.get("gaze_scope") == "window" else calibrator)
    assert calls == CALLS


@pytest.mark.parametrize("checkpointing", [None, {"use_reentrant": True}, {"use_reentrant": False}], ids=str)
def test_gradients_come_back_through_it(stock_checkpoint, flash_attention, checkpointing):
    model = awaken(load_gaze(stock_checkpoint)).to(torch.bfloat16)
    tower = model.model.visual
    tower.requires_grad_(False)
    tower.blocks[2].calibrator.requires_grad_(True)
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=checkpointing)
    model.train()
    found = {}
    for name in ("sdpa", "flash_attention_2"):
        tower.zero_grad()
        tower.config._attn_implementation_internal = name
        images(tower).square().sum().backward()
        found[name] = torch.cat([p.grad.float().flatten() for p in tower.blocks[2].calibrator.parameters()])
    difference = (found["sdpa"] - found["flash_attention_2"]).norm()
    assert difference < 0.05 * found["sdpa"].norm()  # bfloat16


@pytest.mark.parametrize("gaze", [{}, {"gaze_query": "global"}, {"gaze_norm": "post"}, {"gaze_rope": True}], ids=str)
def test_weights_trained_in_float32_reach_the_kernel_in_half_precision(stock_checkpoint, flash_attention, gaze):
    """As LLaMA-Factory has them with `bf16: true`: autocast around the forward pass, gradients in float32."""
    tower = tower_of(stock_checkpoint, **gaze)
    tower.requires_grad_(False)
    calibrator = tower.blocks[2].calibrator.float().requires_grad_(True)
    found = []
    for attention in ("sdpa", "flash_attention_2"):
        tower.config._attn_implementation = attention
        tower.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            output = images(tower)
        output.square().mean().backward()
        assert {weight.grad.dtype for weight in calibrator.parameters()} == {torch.float32}
        found.append(torch.cat([weight.grad.flatten() for weight in calibrator.parameters()]))
    assert CALLS
    assert (found[1] - found[0]).norm() < 0.05 * found[0].norm()
