"""The blocks before gaze comes in run without gradients where they are frozen, and once per image: equal numbers."""

from contextlib import nullcontext
from weakref import ref

import pytest
import torch
from peft import LoraConfig, get_peft_model

from llamafactory_gaze.modeling import cross_attention, gaze
from tests.modeling.test_image_cache import counted, grid, pixels
from tests.modeling.test_model import awaken, load_gaze


FIRST = 2  # the patched block of `load_gaze`
CHECKPOINTING = (None, {"use_reentrant": True}, {"use_reentrant": False})


def trainable(checkpoint: str, checkpointing: dict | None = None):
    """A tower as stage 1 trains it: the calibrator, the MLP of its block, and all later blocks."""
    model = awaken(load_gaze(checkpoint))
    tower = model.model.visual
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(
            ".calibrator." in name or f"visual.blocks.{FIRST}.mlp." in name or f"visual.blocks.{FIRST + 1}." in name
        )
    if checkpointing is not None:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=checkpointing)
        model.enable_input_require_grads()
    model.train()
    return model, tower


def gradients(tower, *images: int, maps: int) -> dict[str, torch.Tensor]:
    tower.zero_grad()
    tower(pixels(*images, maps=maps), grid(*images)).pooler_output.square().sum().backward()
    return {name: parameter.grad.clone() for name, parameter in tower.named_parameters() if parameter.grad is not None}


def kept_whole(module, function, *inputs, keeps_inputs_alone=False):
    """In place of `remade`."""
    return function(*inputs), nullcontext()


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert set(found) == set(expected)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("checkpointing", CHECKPOINTING, ids=str)
def test_gradients_are_those_of_a_tower_that_keeps_the_whole_graph(stock_checkpoint, monkeypatch, checkpointing):
    _, tower = trainable(stock_checkpoint, checkpointing)
    found = gradients(tower, 0, 1, maps=1)
    assert {name for name, parameter in tower.named_parameters() if parameter.requires_grad} == set(found)
    monkeypatch.setattr(type(tower), "_image_stage_is_frozen", lambda self: False)
    assert_equal(found, gradients(tower, 0, 1, maps=1))


@pytest.mark.parametrize("checkpointing", CHECKPOINTING, ids=str)
def test_gradients_in_mixed_precision_are_those_without_remaking(stock_checkpoint, monkeypatch, checkpointing):
    """Weights in bfloat16, those that are trained in float32, as LLaMA-Factory has them with `bf16: true`."""
    model, tower = trainable(stock_checkpoint, checkpointing)
    for parameter in model.parameters():
        parameter.data = parameter.to(torch.float32 if parameter.requires_grad else torch.bfloat16)

    def mixed() -> dict[str, torch.Tensor]:
        tower.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            output = tower(pixels(0, 1, maps=1).bfloat16(), grid(0, 1)).pooler_output
        output.float().square().sum().backward()  # outside, as accelerate does it
        return {name: parameter.grad.clone() for name, parameter in tower.named_parameters() if parameter.requires_grad}

    found = mixed()
    assert found[f"blocks.{FIRST}.calibrator.saliency_proj.weight"].any()
    for module in (gaze, cross_attention):
        monkeypatch.setattr(module, "remade", kept_whole)
    for name, gradient in mixed().items():
        assert torch.equal(found[name], gradient), name


def test_what_draws_is_not_made_again(stock_checkpoint, monkeypatch):
    """`lora_dropout` on E_sal: the mask of the way back is that of the way there."""
    model, tower = trainable(stock_checkpoint)
    tuned = get_peft_model(model, LoraConfig(target_modules=["saliency_proj"], lora_dropout=0.5))
    torch.nn.init.normal_(tower.blocks[FIRST].calibrator.saliency_proj.lora_B["default"].weight)
    tuned.train()

    def seeded() -> dict[str, torch.Tensor]:
        torch.manual_seed(3)
        return gradients(tower, 0, 1, maps=1)

    found = seeded()
    assert set(found) == {f"blocks.{FIRST}.calibrator.saliency_proj.lora_{ab}.default.weight" for ab in "AB"}
    monkeypatch.setattr(cross_attention, "remade", kept_whole)
    assert_equal(found, seeded())


@pytest.mark.parametrize("checkpointing", CHECKPOINTING[1:], ids=str)
def test_a_checkpointed_block_keeps_nothing_inside(stock_checkpoint, checkpointing):
    _, tower = trainable(stock_checkpoint, checkpointing)
    kept = []
    tower.blocks[FIRST + 1].mlp.gate_proj.register_forward_hook(lambda module, args, output: kept.append(ref(output)))
    output = tower(pixels(0, maps=1), grid(0)).pooler_output
    assert len(kept) == 1 and kept[0]() is None
    output.sum().backward()
    assert len(kept) == 2  # made again, once


@pytest.mark.parametrize("checkpointing", CHECKPOINTING, ids=str)
def test_no_graph_is_kept_before_the_first_patched_block(stock_checkpoint, checkpointing):
    _, tower = trainable(stock_checkpoint, checkpointing)
    kept = {}
    for i, block in enumerate(tower.blocks):
        block.register_forward_hook(lambda module, args, output, i=i: kept.update({i: output.grad_fn is not None}))
    tower(pixels(0, maps=1), grid(0))
    assert [kept[i] for i in range(FIRST)] == [False] * FIRST
    if checkpointing is None:  # a checkpointed block itself keeps none
        assert kept[FIRST] and kept[FIRST + 1]


@pytest.mark.parametrize("checkpointing", CHECKPOINTING, ids=str)
def test_in_training_too_an_image_goes_through_the_frozen_blocks_once(stock_checkpoint, checkpointing):
    model, tower = trainable(stock_checkpoint, checkpointing)
    expected = [gradients(tower, 0, maps=seed) for seed in (1, 2)]
    model.cache_images(2)
    with counted(tower) as calls:
        for seed, numbers in zip((1, 2), expected, strict=True):
            assert_equal(gradients(tower, 0, maps=seed), numbers)
            tower.eval()
            tower.train()  # as an evaluation in between does
    assert [calls[i] for i in range(FIRST)] == [1] * FIRST and calls[FIRST] >= 2


def test_where_something_before_is_trained_all_of_it_is(stock_checkpoint):
    model, tower = trainable(stock_checkpoint)
    tower.blocks[0].mlp.up_proj.weight.requires_grad_(True)
    model.cache_images(2)
    assert "blocks.0.mlp.up_proj.weight" in gradients(tower, 0, maps=1)
    assert len(tower.image_cache) == 0


def test_gradients_of_the_pixels_can_be_had(stock_checkpoint):
    """What attribution methods ask for."""
    _, tower = trainable(stock_checkpoint)
    tower.eval()
    values = pixels(0, maps=1).requires_grad_()
    tower(values, grid(0)).pooler_output.sum().backward()
    assert (values.grad[:, : 3 * 2 * 14 * 14] != 0).any()
