"""Attention in segments: one call for those of one length, the same numbers, and no wait for a device."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

from llamafactory_gaze.modeling import segments
from llamafactory_gaze.modeling.gaze import Gaze
from llamafactory_gaze.modeling.input_channel import PatchProjection
from llamafactory_gaze.modeling.recompute import remade
from llamafactory_gaze.modeling.segments import Segments, attend
from llamafactory_gaze.modeling.vision_tower import Layout
from tests.modeling.test_model import awaken, load_gaze


class Module:
    scaling, num_key_value_groups, is_causal, training = 0.3, 1, False, False

    def __init__(self, kernel: str) -> None:
        self.config = Qwen2_5_VLVisionConfig()
        self.config._attn_implementation = kernel


LENGTHS = [(4, 4, 4), (4, 2, 4, 2, 4), (1,), (3, 5), (8, 8, 2, 2)]


@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_segments_see_themselves_alone(lengths, kernel):
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(sum(lengths), 2, 8, generator=generator) for _ in range(3))
    places = Segments(lengths)
    found = attend(Module(kernel), query, key, value, places, places)
    start = 0
    for length in lengths:
        part = slice(start, start + length)
        scores = torch.einsum("qhd,khd->hqk", query[part], key[part]) * Module.scaling
        expected = torch.einsum("hqk,khd->qhd", scores.softmax(-1), value[part]).flatten(1)
        torch.testing.assert_close(found[part], expected)
        start += length


@pytest.mark.parametrize(("kernel", "lengths", "calls"), [
    ("sdpa", (4, 4, 4), 1), ("sdpa", (4, 2, 4, 2, 4), 2), ("eager", (4, 4, 4), 3),
])  # fmt: skip
def test_the_kernel_is_called_once_for_each_length(monkeypatch, kernel, lengths, calls):
    seen = []
    find = segments.ALL_ATTENTION_FUNCTIONS.get_interface

    def watched(*named):
        def run(module, query, *rest, **kwargs):
            seen.append(query.shape[0])
            return find(*named)(module, query, *rest, **kwargs)

        return run

    monkeypatch.setattr(segments.ALL_ATTENTION_FUNCTIONS, "get_interface", watched)
    states, places = torch.randn(sum(lengths), 2, 8), Segments(lengths)
    attend(Module(kernel), states, states, states, places, places)
    assert len(seen) == calls and sum(seen) == len(lengths)


@pytest.mark.parametrize("size", [(12, 16), (18, 10), (8, 8)], ids=str)
def test_windows_are_those_of_the_stock_tower(stock_checkpoint, size):
    tower = load_gaze(stock_checkpoint).model.visual
    grid = torch.tensor([[1, *size], [2, 4, 6]])
    layout = tower.layout(grid, torch.device("cpu"))
    _, ends = Qwen2_5_VisionTransformerPretrainedModel.get_window_index(tower, grid)
    stock = torch.unique_consecutive(torch.tensor(ends, dtype=torch.int32))
    assert torch.equal(layout.windows.ends, stock)
    assert layout.images.ends.tolist() == [0, size[0] * size[1], size[0] * size[1] + 24, size[0] * size[1] + 48]


@pytest.mark.parametrize("gaze", [{}, {"gaze_query": "global"}, {"gaze_scope": "window"},
                                  {"gaze_fusion": "score_modulation"}], ids=str)  # fmt: skip
def test_nothing_in_the_tower_waits_for_the_device(stock_checkpoint, gaze):
    """Tensors of a device that is not there have no values: whoever asks for one stops here."""
    with FakeTensorMode():
        try:
            torch.empty(2, 2, device="cuda")[:, 1:]
        except RuntimeError:
            pytest.skip(f"torch {torch.__version__} asks for the device itself")
    tower = load_gaze(stock_checkpoint, **gaze).model.visual
    grid = torch.tensor([[1, 12, 16], [1, 18, 10]])
    layout = tower.layout(grid, torch.device("cpu"))
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():

        def there(tensor: torch.Tensor) -> torch.Tensor:
            return torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda")

        for module in tower.modules():
            for name, parameter in module.named_parameters(recurse=False):
                module._parameters[name] = torch.nn.Parameter(there(parameter), requires_grad=False)
        layout = Layout(
            there(layout.window_index), *(Segments(each.lengths, "cuda") for each in (layout.images, layout.windows)),
            tuple(there(each) for each in layout.position_embeddings),
        )  # fmt: skip
        values = torch.empty(12 * 16 + 18 * 10, 4 * 392, device="cuda")
        seen = Gaze(values[:, 3 * 392 :], layout.images, layout.windows)
        output = tower.gaze_stage(tower.image_stage(values, grid, layout), layout, seen).pooler_output
    assert output.device.type == "cuda" and output.shape == (93, 32)


def test_a_query_sees_its_window_alone(stock_checkpoint):
    """What `gaze_scope: window` changes: features of another window have no say in what a query finds."""
    grid = torch.tensor([[1, 16, 16]])  # four windows, 64 patches each

    def moved(scope: str) -> set[int]:
        tower = awaken(load_gaze(stock_checkpoint, gaze_layers=[2], gaze_scope=scope)).model.visual
        calibrator = tower.blocks[2].calibrator
        layout = tower.layout(grid, torch.device("cpu"))
        features = torch.randn(256, 32, generator=torch.Generator().manual_seed(0))
        changed = features.clone()
        changed[70] += 1  # in the second window
        gaze = Gaze(torch.rand(256, 392, generator=torch.Generator().manual_seed(1)), layout.images, layout.windows)
        with torch.no_grad():
            before, after = (calibrator(each, gaze, layout.position_embeddings) for each in (features, changed))
        return {int(i) // 64 for i in (before != after).any(1).nonzero()}

    assert moved("window") == {1}
    assert moved("image") == {0, 1, 2, 3}


@pytest.mark.parametrize("patches", [1, 5, 192])
def test_the_patch_embedding_is_a_matrix_product(patches):
    projection = PatchProjection(3, 32, (2, 14, 14), stride=(2, 14, 14), bias=False)
    values = torch.randn(patches, 3, 2, 14, 14)
    with torch.no_grad():
        expected = values.flatten(1).double() @ projection.weight.flatten(1).double().T
        assert projection.product(values).shape == projection(values).shape
        torch.testing.assert_close(projection.product(values).flatten(1).double(), expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(projection(values).flatten(1).double(), expected, rtol=1e-5, atol=1e-5)


def test_what_is_remade_is_not_kept_and_has_the_gradients_of_what_was():
    weight = torch.randn(8, 8, requires_grad=True)
    inputs = [torch.randn(4, 8, requires_grad=True) for _ in range(2)]

    def gated(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.silu(gate) * up

    expected = torch.autograd.grad((gated(*inputs) @ weight).square().sum(), [weight, *inputs])
    kept = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        value, apart = remade(GradientCheckpointingLayer(), gated, *inputs)
        with apart:
            output = value @ weight
    assert not any(each.data_ptr() == value.data_ptr() for each in kept)
    found = torch.autograd.grad(output.square().sum(), [weight, *inputs])
    for each, other in zip(found, expected, strict=True):
        torch.testing.assert_close(each, other)
