"""The cache of what the tower makes of an image before gaze comes in: the same numbers, fewer blocks."""

import copy
from contextlib import contextmanager

import pytest
import torch

from tests.modeling.test_model import awaken, load_gaze


GRIDS = [(1, 12, 16), (1, 8, 8), (1, 12, 16)]  # the first and the last are of one size
WIDTH = 2 * 14 * 14


def pixels(*images: int, maps: int | None = None) -> torch.Tensor:
    """Colours of images, and a map for each of them if a seed for the maps is given."""
    parts = []
    for i in images:
        t, h, w = GRIDS[i]
        colours = torch.randn(t * h * w, 3 * WIDTH, generator=torch.Generator().manual_seed(i))
        if maps is not None:
            saliency = torch.rand(t * h * w, WIDTH, generator=torch.Generator().manual_seed(100 + maps))
            colours = torch.cat([colours, saliency], dim=1)
        parts.append(colours)
    return torch.cat(parts)


def grid(*images: int) -> torch.Tensor:
    return torch.tensor([GRIDS[i] for i in images])


@contextmanager
def counted(tower):
    """How often each block runs, block -> calls."""
    calls = {}
    handles = [
        block.register_forward_pre_hook(lambda *_, i=i: calls.update({i: calls.get(i, 0) + 1}))
        for i, block in enumerate(tower.blocks)
    ]
    yield calls
    for handle in handles:
        handle.remove()


@pytest.fixture
def model(stock_checkpoint):
    model = awaken(load_gaze(stock_checkpoint))
    model.cache_images(2)
    return model


def tokens(model, *images: int, maps: int | None = None) -> torch.Tensor:
    with torch.no_grad():
        return model.model.visual(pixels(*images, maps=maps), grid(*images)).pooler_output


@pytest.mark.parametrize("fusion", ["cross_attention", "score_modulation", "text"])
def test_a_new_map_runs_the_last_blocks_alone_and_gives_the_same_numbers(stock_checkpoint, fusion):
    model = awaken(load_gaze(stock_checkpoint, gaze_fusion=fusion))
    maps = (None, 1, 2) if fusion != "text" else (None, None)
    expected = [tokens(model, 0, maps=seed) for seed in maps]
    model.cache_images(1)
    with counted(model.model.visual) as calls:
        found = [tokens(model, 0, maps=seed) for seed in maps]
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    assert calls == {0: 1, 1: 1, 2: len(maps), 3: len(maps)}


def test_images_of_a_batch_are_found_one_by_one(model):
    expected = {order: tokens(copy.deepcopy(model), *order, maps=3) for order in ((0, 1), (1, 2), (2, 0))}
    with counted(model.model.visual) as calls:
        for order, numbers in expected.items():
            torch.testing.assert_close(tokens(model, *order, maps=3), numbers, rtol=1e-4, atol=1e-5)
        # 0 and 1 together; 2, which throws 0 out; 0, which throws 1 out
        assert calls[0] == 3
        tokens(model, 2, 0)
        assert calls[0] == 3
        tokens(model, 1)
        assert calls[0] == 4
    assert len(model.model.visual.image_cache) == 2


def test_two_of_the_same_in_one_batch_are_computed_once(model):
    twice = tokens(model, 0, 0, maps=4)
    assert torch.equal(twice[: len(twice) // 2], twice[len(twice) // 2 :])
    assert len(model.model.visual.image_cache) == 1


def test_an_image_of_the_same_size_is_another_image(model):
    fresh = copy.deepcopy(model)
    tokens(model, 0, maps=5)
    assert torch.equal(tokens(model, 2, maps=5), tokens(fresh, 2, maps=5))


def test_videos_are_images_of_several_frames(stock_checkpoint):
    model = awaken(load_gaze(stock_checkpoint))
    video = torch.cat([pixels(0, maps=1), pixels(0, maps=2)])
    frames = torch.tensor([[2, 12, 16]])
    with torch.no_grad():
        expected = model.model.visual(video, frames).pooler_output
        model.cache_images(1)
        for _ in range(2):
            assert torch.equal(model.model.visual(video, frames).pooler_output, expected)


def test_it_stands_aside_where_it_could_be_wrong(stock_checkpoint, model):
    tower = model.model.visual
    tokens(model, 0)
    with counted(tower) as calls:
        tower(pixels(0), grid(0))  # with gradients
        tower.train()
        assert len(tower.image_cache) == 0
        tokens(model, 0)  # weights change in training
        tower.eval()
        tokens(model, 0)
        with torch.no_grad():
            states = tower(pixels(0), grid(0), output_hidden_states=True).hidden_states
    assert calls[0] == 4 and len(states) == len(tower.blocks) + 1
    for settings in ({"gaze_layers": [0]}, {"gaze_fusion": "input_channel"}):
        other = awaken(load_gaze(stock_checkpoint, **settings))
        expected = tokens(other, 0, maps=6)
        other.cache_images(1)
        assert torch.equal(tokens(other, 0, maps=6), expected) and torch.equal(tokens(other, 0, maps=6), expected)
        assert len(other.model.visual.image_cache) == 0


def test_other_weights_are_other_features(model):
    """As when a training loads its best checkpoint before its last evaluation."""
    best = {name: weight.clone() for name, weight in model.state_dict().items()}
    expected = tokens(model, 0)
    torch.nn.init.normal_(model.model.visual.blocks[0].mlp.down_proj.weight)
    model.cache_images(1)
    assert not torch.equal(tokens(model, 0), expected)
    model.load_state_dict(best)
    assert torch.equal(tokens(model, 0), expected)


def test_it_can_be_switched_off(model):
    tokens(model, 0)
    model.cache_images(0)
    assert model.model.visual.image_cache is None
