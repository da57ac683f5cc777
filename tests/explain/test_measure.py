"""What is laid over the image lies where it belongs: attention and moved tokens, over several windows."""

import numpy as np
import pytest
import torch

from llamafactory_gaze.explain import explain, measure
from llamafactory_gaze.inference import InferenceError
from llamafactory_gaze.saliency import SaliencyMapError
from tests.explain.conftest import (
    DEPTH,
    HEIGHT,
    LAST,
    PROMPT,
    WIDTH,
    awaken,
    fresh_model,
    make_image,
    make_processor,
    random_map,
)


ROWS, COLUMNS = HEIGHT // 14, WIDTH // 14
WINDOW = 4  # merged tokens on a side: window_size 112 / (2 * 14)
# patches (row, column) in all four windows, at corners and inside
DOTS = [(0, 0), (0, 15), (11, 0), (11, 15), (3, 7), (4, 8), (7, 7), (8, 8), (2, 13), (9, 3)]


@pytest.fixture(autouse=True)
def short_captions(monkeypatch):
    """Most tests are about the tower; the few that are about captions say so."""
    monkeypatch.setattr(measure, "caption", lambda model, processor, inputs: f"{inputs['pixel_values'].shape[1]}")


def explained(model, saliency, image=None):
    processor = make_processor(model.config.vision_config.gaze_fusion)
    return explain(model, processor, image or make_image(), saliency, PROMPT)


def dot(row: int, column: int) -> np.ndarray:
    saliency = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
    saliency[row * 14 : (row + 1) * 14, column * 14 : (column + 1) * 14] = 1
    return saliency


def block_order() -> list[tuple[int, int]]:
    """(row, column) of each patch in the order of the tower's blocks, counted out by hand."""
    order = []
    for window_row in range(0, ROWS // 2, WINDOW):
        for window_column in range(0, COLUMNS // 2, WINDOW):
            for row in range(window_row, min(window_row + WINDOW, ROWS // 2)):
                for column in range(window_column, min(window_column + WINDOW, COLUMNS // 2)):
                    order += [(2 * row + y, 2 * column + x) for y in (0, 1) for x in (0, 1)]
    assert sorted(order) == [(row, column) for row in range(ROWS) for column in range(COLUMNS)]
    return order


def test_one_looked_at_patch_moves_its_own_token_only():
    """In the last block score_modulation scales the query of the looked-at patch, and nothing else."""
    model = awaken(fresh_model(gaze_fusion="score_modulation", **LAST))
    for row, column in DOTS:
        result = explained(model, dot(row, column))
        assert result.moved.shape == (ROWS // 2, COLUMNS // 2) and result.attention == {}
        assert np.argwhere(result.moved).tolist() == [[row // 2, column // 2]]


def test_through_the_input_channel_too_where_patches_do_not_attend_to_each_other():
    model = awaken(fresh_model(gaze_fusion="input_channel"))
    with torch.no_grad():
        for block in model.model.visual.blocks:
            for parameter in block.attn.proj.parameters():
                parameter.zero_()
    for row, column in DOTS:
        result = explained(model, dot(row, column))
        assert np.argwhere(result.moved).tolist() == [[row // 2, column // 2]]
        assert result.attention == {}


def test_moved_is_relative_to_the_token_without_a_map():
    model, saliency = awaken(fresh_model(**LAST)), random_map()
    result = explained(model, saliency)
    inputs = measure.gaze_inputs(make_processor(), make_image(), saliency, PROMPT)
    pixels, grid = inputs["pixel_values"], inputs["image_grid_thw"]
    with torch.no_grad():
        moved = model.model.visual(pixels, grid).pooler_output.numpy()
        unmoved = model.model.visual(pixels[:, : 3 * 392], grid).pooler_output.numpy()
    row, column = 4, 6
    token = row * (COLUMNS // 2) + column
    expected = np.sqrt(((moved[token] - unmoved[token]) ** 2).sum()) / np.sqrt((unmoved[token] ** 2).sum())
    assert result.moved[row, column] == pytest.approx(expected, rel=1e-4) and expected > 0.001
    assert (result.caption_with, result.caption_without) == (str(4 * 392), str(3 * 392))


@pytest.mark.parametrize("fusion", ["cross_attention", "score_modulation", "input_channel"])
def test_in_a_fresh_model_nothing_moves(fusion):
    assert not explained(fresh_model(gaze_fusion=fusion), random_map()).moved.any()


@pytest.mark.parametrize("query", ["patch", "global"])
def test_attention_against_loops(query, monkeypatch):
    """Queries, keys, weights and places computed patch by patch, with nothing of the model's own order."""
    monkeypatch.setattr(measure, "_QUERIES_AT_ONCE", 50)  # several parts, the last one smaller
    layers = sorted({1, DEPTH - 1})
    model, saliency = awaken(fresh_model(gaze_layers=layers, gaze_query=query)), random_map()
    seen = {}
    for layer in layers:
        model.model.visual.blocks[layer].calibrator.register_forward_hook(
            lambda module, args, output, layer=layer: seen.setdefault(layer, args[0])
        )
    result = explained(model, saliency)
    assert list(result.attention) == layers

    order = block_order()
    squares = {(y, x): saliency[y * 14 : y * 14 + 14, x * 14 : x * 14 + 14].ravel() for y, x in order}
    for layer in layers:
        calibrator = model.model.visual.blocks[layer].calibrator
        weight = {name: value.detach().double().numpy() for name, value in calibrator.state_dict().items()}
        features = seen[layer].double().numpy()
        features = features / np.sqrt((features**2).mean(1, keepdims=True) + 1e-6) * weight["norm.weight"]
        keys = {place: features[i] @ weight["k_proj.weight"].T for i, place in enumerate(order)}
        asked = list(squares.values()) if query == "patch" else [np.mean(list(squares.values()), axis=0)]
        width = features.shape[1] // calibrator.num_heads
        for head in range(calibrator.num_heads):
            part = slice(head * width, (head + 1) * width)
            expected = np.zeros((ROWS, COLUMNS))
            for square in asked:
                m = np.tile(square, 2).astype(float) @ weight["saliency_proj.weight"].T @ weight["q_proj.weight"].T
                scores = {place: m[part] @ key[part] / np.sqrt(width) for place, key in keys.items()}
                highest = max(scores.values())
                total = sum(np.exp(score - highest) for score in scores.values())
                share = square.mean() / sum(other.mean() for other in asked)
                for place, score in scores.items():
                    expected[place] += share * np.exp(score - highest) / total
            np.testing.assert_allclose(result.attention[layer][head], expected, rtol=2e-3, atol=1e-6)
            assert expected.max() > 2 * expected.min()  # there is something to get wrong


def test_head_maps_sum_to_one_and_a_black_map_asks_everywhere_alike():
    model = awaken(fresh_model(gaze_num_heads=2, **LAST))
    for saliency in (random_map(), np.zeros((HEIGHT, WIDTH), dtype=np.float32)):
        heads = explained(model, saliency).attention[DEPTH - 1]
        assert heads.shape == (2, ROWS, COLUMNS) and heads.dtype == np.float32
        np.testing.assert_allclose(heads.sum((1, 2)), 1, rtol=1e-5)
    # black queries are zero: all keys score alike
    np.testing.assert_allclose(heads, 1 / (ROWS * COLUMNS), rtol=1e-5)


def test_nothing_is_left_in_the_model():
    model = awaken(fresh_model(**LAST))
    explained(model, random_map())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_bfloat16():
    heads = explained(awaken(fresh_model(**LAST)).bfloat16(), random_map()).attention[DEPTH - 1]
    np.testing.assert_allclose(heads.sum((1, 2)), 1, rtol=1e-5)


@pytest.mark.parametrize("fusion", ["overlay", "dim", "crop", "text"])
def test_a_tower_that_takes_in_no_map_is_not_explained(fusion):
    with pytest.raises(InferenceError, match=f"gaze_fusion {fusion} takes in no map"):
        explained(fresh_model(gaze_fusion=fusion), random_map())


def test_a_map_of_another_shape_is_refused():
    with pytest.raises(SaliencyMapError, match="does not have the aspect ratio"):
        explained(fresh_model(), random_map().T)
