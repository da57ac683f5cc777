"""The calibrator against an independent numpy version of the paper's formulas (appendix A.3)."""

import numpy as np
import pytest
import torch
from transformers import AttentionInterface
from transformers.utils.generic import is_flash_attention_requested

from llamafactory_gaze.modeling.configuration import Qwen2_5_VLGazeVisionConfig
from llamafactory_gaze.modeling.cross_attention import SaliencyCalibrator
from llamafactory_gaze.modeling.gaze import Gaze
from llamafactory_gaze.modeling.segments import Segments
from tests.modeling.references import make_positions, softmax, turned, varlen_attention


WIDTH, HEADS, LENGTHS = 32, 4, (16, 24)  # two images of 16 and 24 patches
WINDOWS = (10, 6, 10, 6, 8)  # the first image has two, the other three
D_H = WIDTH // HEADS


def make_calibrator(**gaze) -> SaliencyCalibrator:
    torch.manual_seed(0)
    gaze = {"gaze_num_heads": HEADS, **gaze}
    config = Qwen2_5_VLGazeVisionConfig(depth=2, hidden_size=WIDTH, num_heads=gaze.pop("num_heads", 2), **gaze)
    config._attn_implementation = "eager"
    calibrator = SaliencyCalibrator(config).double()
    with torch.no_grad():
        for parameter in calibrator.parameters():  # W_O starts at zero and norms at one: nothing would be tested
            parameter.normal_(std=0.3)
    return calibrator


def make_input() -> tuple[torch.Tensor, Gaze]:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(sum(LENGTHS), WIDTH, generator=generator, dtype=torch.float64)
    saliency = torch.rand(sum(LENGTHS), 392, generator=generator, dtype=torch.float64)
    return features, Gaze(saliency, Segments(LENGTHS), Segments(WINDOWS))


POSITIONS = make_positions(sum(LENGTHS), D_H)


def reference(
    calibrator: SaliencyCalibrator, features: np.ndarray, saliency: np.ndarray, cos: np.ndarray, sin: np.ndarray
) -> np.ndarray:
    """One image, written from the paper: Eq. (1), MHCA, and the two ways to integrate Z."""
    weight = {name: value.detach().numpy() for name, value in calibrator.state_dict().items()}
    if calibrator.config.gaze_query == "global":
        saliency = saliency.mean(0, keepdims=True)
    m = saliency @ weight["saliency_proj.weight"].T
    kv = features / np.sqrt((features**2).mean(-1, keepdims=True) + 1e-6) * weight["norm.weight"]
    q, k, v = (source @ weight[f"{name}_proj.weight"].T for name, source in (("q", m), ("k", kv), ("v", kv)))
    heads = []
    for i in range(0, WIDTH, D_H):
        q_h, k_h, v_h = (states[:, i : i + D_H] for states in (q, k, v))
        if calibrator.config.gaze_rope:
            q_h, k_h = turned(q_h, cos, sin), turned(k_h, cos, sin)
        heads.append(softmax(q_h @ k_h.T / np.sqrt(D_H)) @ v_h)
    x = features + np.concatenate(heads, axis=1) @ weight["o_proj.weight"].T
    if calibrator.config.gaze_norm == "post":
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        x = x * weight["post_norm.weight"] + weight["post_norm.bias"]
    return x


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize(
    "settings", [{}, {"gaze_query": "global"}, {"gaze_rope": True, "num_heads": HEADS}], ids=["patch", "global", "rope"]
)
def test_equals_the_papers_formulas(settings, norm, attention):
    calibrator = make_calibrator(gaze_norm=norm, **settings)
    calibrator.config._attn_implementation = attention
    features, gaze = make_input()
    with torch.no_grad():
        output = calibrator(features, gaze, POSITIONS).numpy()

    first = LENGTHS[0]
    for image in (slice(None, first), slice(first, None)):
        inputs = (features, gaze.saliency, *POSITIONS)
        expected = reference(calibrator, *(tensor[image].numpy() for tensor in inputs))
        # the RMSNorm of transformers computes in float32
        np.testing.assert_allclose(output[image], expected, atol=2e-6)


@pytest.mark.parametrize("query", ["patch", "global"])
def test_the_map_of_one_image_leaves_the_other_alone(query):
    calibrator = make_calibrator(gaze_query=query)
    features, gaze = make_input()
    changed = gaze.saliency.clone()
    changed[: LENGTHS[0]] = 0.5
    with torch.no_grad():
        before, after = (
            calibrator(features, gaze, POSITIONS),
            calibrator(features, gaze._replace(saliency=changed), POSITIONS),
        )
    assert torch.equal(before[LENGTHS[0] :], after[LENGTHS[0] :])
    assert (before[: LENGTHS[0]] != after[: LENGTHS[0]]).any(1).all()


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_an_image_without_a_map_passes_untouched_and_the_parameters_still_get_gradients(norm):
    calibrator = make_calibrator(gaze_norm=norm)
    features, gaze = make_input()
    saliency = gaze.saliency.clone()
    saliency[: LENGTHS[0]] = -1
    output = calibrator(features, gaze._replace(saliency=saliency), POSITIONS)
    assert torch.equal(output[: LENGTHS[0]], features[: LENGTHS[0]])
    assert not torch.equal(output[LENGTHS[0] :], features[LENGTHS[0] :])

    output = calibrator(features, gaze._replace(saliency=torch.full_like(saliency, -1)), POSITIONS)
    assert torch.equal(output, features)
    output.sum().backward()  # DDP waits for a gradient of every parameter, be it zero
    assert all(p.grad is not None and not p.grad.any() for p in calibrator.parameters())


def test_no_saliency_differs_from_no_map():
    """A black map says 'nobody looked here', and is not the same as having no map."""
    calibrator = make_calibrator()
    features, gaze = make_input()
    with torch.no_grad():
        black = calibrator(features, gaze._replace(saliency=torch.zeros_like(gaze.saliency)), POSITIONS)
    assert (black != features).any(1).all()


@pytest.mark.parametrize("query", ["patch", "global"])
def test_flash_attention_is_called_with_the_segments_of_the_images(query):
    AttentionInterface.register("flash_attention_stand_in", varlen_attention)
    calibrator = make_calibrator(gaze_query=query)
    features, gaze = make_input()
    with torch.no_grad():
        expected = calibrator(features, gaze, POSITIONS)
        calibrator.config._attn_implementation = "flash_attention_stand_in"
        assert is_flash_attention_requested(calibrator.config)
        # the eager attention of transformers takes its softmax in float32
        torch.testing.assert_close(calibrator(features, gaze, POSITIONS), expected, rtol=0, atol=2e-6)
