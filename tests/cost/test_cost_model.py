"""The formulas of the cost model against counts on our own modules, in the real sizes, without computing anything."""

import dataclasses

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.cost import counted, flops, memory, tables
from benchmarks.cost.shapes import SHAPES


SHAPE = SHAPES["3B"]
# Four blocks, of which the last sees the whole image: what stands from block 28 on.
LATE = dataclasses.replace(SHAPE.tower, depth=4, full=(3,))


@pytest.fixture(scope="module")
def tower():
    return counted.tower_module(SHAPE.tower)


def of_stock_and_of_ours(module, grid, shape):
    stock = flops.stock_tower(grid, shape)
    assert counted.flops(lambda: counted.run_tower(module, grid, with_map=False)) == stock
    assert counted.flops(lambda: counted.run_tower(module, grid)) == stock + flops.calibrator(grid, shape)


def test_a_forward_run_of_the_tower_has_the_operations_of_the_formula(tower):
    of_stock_and_of_ours(tower, (16, 16), SHAPE.tower)


def test_so_have_images_whose_windows_are_cut_off():
    module = counted.tower_module(LATE, gaze_layers=[0])
    for grid in (tables.PAPER, (10, 6)):
        of_stock_and_of_ours(module, grid, LATE)


def test_so_has_the_7b_s():
    shape = SHAPES["7B"].tower
    of_stock_and_of_ours(counted.tower_module(shape), (8, 8), shape)


@pytest.mark.parametrize("setting", [{"gaze_query": "global"}, {"gaze_scope": "window"}])
def test_so_has_the_calibrator_that_asks_once_or_within_windows(setting):
    module, grid = counted.tower_module(LATE, gaze_layers=[0], **setting), (10, 12)
    expected = flops.calibrator(grid, LATE, **{name.removeprefix("gaze_"): value for name, value in setting.items()})
    assert counted.flops(lambda: counted.run_tower(module, grid)) == flops.stock_tower(grid, LATE) + expected


@pytest.mark.parametrize("name", SHAPES)
def test_so_have_the_layers_of_the_language_model(name):
    language = dataclasses.replace(SHAPES[name].language, layers=2)
    module = counted.language_module(language)
    count = counted.flops(lambda: counted.run_language(module, 512))
    assert count == pytest.approx(2 * flops.layer(512, 512, language), rel=1e-3)  # the rotary angles come on top


def test_so_has_a_training_step_of_the_tower():
    grid = (16, 16)
    module = counted.trained(counted.tower_module(SHAPE.tower))
    with FlopCounterMode(display=False) as counter:
        counted.run_tower(module, grid).sum().backward()
    lora = 3 * 2 * grid[0] * grid[1] * memory.lora_parameters(SHAPE)  # forward, and the two products of backward
    step = flops.step(grid, 164, SHAPE)
    assert counter.get_total_flops() == step.image_stage + step.gaze_stage + lora
    assert lora < 0.025 * step.gaze_stage


def test_a_training_step_of_the_language_model_costs_two_forward_runs_and_one_of_attention():
    language = dataclasses.replace(SHAPE.language, layers=2)
    module = counted.language_module(language).requires_grad_(False)
    tokens = 256
    with FlopCounterMode(display=False) as counter:
        counted.run_language(module, tokens).sum().backward()
    expected = 2 * (2 * flops.layer(tokens, tokens, language) + flops.attention(tokens, tokens, language.width))
    assert counter.get_total_flops() == pytest.approx(expected, rel=2e-3)
    head = 2 * flops.linear(tokens, (language.width, language.vocabulary))
    assert flops.step((32, 32), tokens, dataclasses.replace(SHAPE, language=language)).language == expected + head


@pytest.mark.parametrize("name", SHAPES)
def test_parameters_are_counted_as_they_are(name, tower):
    shape = SHAPES[name]
    module = tower if name == "3B" else counted.tower_module(shape.tower)
    ours = sum(each.numel() for each in module.parameters())
    language = sum(each.numel() for each in counted.language_module(shape.language).parameters())
    head = 0 if shape.language.tied else shape.language.width * shape.language.vocabulary  # not in the text model
    assert ours == memory.tower_parameters(shape.tower) + memory.calibrator_parameters(shape.tower)
    assert memory.parameters(shape) == ours + language + head


def test_what_is_trained_is_counted_as_it_is():
    module = counted.trained(counted.tower_module(SHAPE.tower))
    trained = sum(each.numel() for each in module.parameters() if each.requires_grad)
    assert trained == memory.calibrator_parameters(SHAPE.tower) + memory.lora_parameters(SHAPE)


def test_what_the_backward_run_needs_grows_with_the_patches_alone():
    module = counted.trained(counted.tower_module(LATE, "cpu", gaze_layers=[0])).to(torch.bfloat16)
    for grid in ((8, 8), (16, 16)):
        count = counted.kept(module, lambda grid=grid: counted.run_tower(module, grid))
        assert count == tables.KEPT_PATCH * grid[0] * grid[1]


def test_and_with_the_tokens_alone():
    """A layer more, of the 3B's; the 7B's is counted alike, in more seconds."""
    counts = []
    for layers in (1, 2):
        language = dataclasses.replace(SHAPE.language, layers=layers, vocabulary=8)
        module = counted.language_module(language, "cpu").to(torch.bfloat16).requires_grad_(False)
        counts.append(counted.kept(module, lambda module=module: counted.run_language(module, 16)))
    assert counts[1] - counts[0] == 16 * tables.KEPT_TOKEN["3B"]


def test_the_page_has_these_tables():
    page = tables.PAGE.read_text(encoding="utf-8")
    assert tables.filled(page) == page
    for name, made in tables.TABLES.items():
        assert made() in page, name
