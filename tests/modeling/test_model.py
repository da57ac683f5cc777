"""The whole model against the stock Qwen2.5-VL: identity, order of patches, isolation, positions, checkpoints."""

import re
import shutil
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils.checkpoint import checkpoint
from transformers import AutoModelForImageTextToText, Qwen2_5_VLForConditionalGeneration

from llamafactory_gaze import Qwen2_5_VLGazeConfig, Qwen2_5_VLGazeForConditionalGeneration
from llamafactory_gaze.modeling.configuration import IN_PICTURE, IN_PROMPT, IN_TOWER
from llamafactory_gaze.saliency.patches import NO_MAP, patchify
from tests.conftest import IMAGE_TOKEN, PAD, VIDEO_TOKEN, VISION_END, VISION_START


PIXELS, SALIENCY = 3 * 2 * 14 * 14, 2 * 14 * 14
CROSS_ATTENTION = ["k_proj", "norm", "o_proj", "q_proj", "saliency_proj", "v_proj"]
# Three images of different sizes; windows are 8 x 8 patches, so the first two have 2 x 2 windows and 2 x 3.
GRIDS = torch.tensor([[1, 12, 12], [1, 10, 20], [1, 4, 6]])


def load_gaze(path, **gaze) -> Qwen2_5_VLGazeForConditionalGeneration:
    stock = Qwen2_5_VLForConditionalGeneration.config_class.from_pretrained(path)
    layers = {} if gaze.get("gaze_fusion") == "input_channel" else {"gaze_layers": [2]}
    config = Qwen2_5_VLGazeConfig.from_stock(stock, **{**layers, **gaze})
    return Qwen2_5_VLGazeForConditionalGeneration.from_pretrained(path, config=config).eval()


def awaken(model: torch.nn.Module) -> torch.nn.Module:
    """Gives W_O, W_beta or W_M a value, as training would; before, a map has no effect."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("calibrator.o_proj.weight", "calibrator.saliency_proj.weight")):
                parameter.normal_(std=0.5, generator=generator)
            elif name.endswith("calibrator.weight"):
                parameter.normal_(std=0.1, generator=generator)
    return model


def calibrator_weights(fusion: str, layers: list[int], norm: str = "pre") -> set[str]:
    """Names of the parameters that a gaze model has and the stock model has not."""
    if fusion == "input_channel":
        return {"model.visual.patch_embed.calibrator.weight"}
    blocks = [f"model.visual.blocks.{layer}." for layer in layers]
    if fusion == "score_modulation":
        return {f"{block}attn.calibrator.weight" for block in blocks}
    names = [f"{name}.weight" for name in CROSS_ATTENTION]
    names += ["post_norm.weight", "post_norm.bias"] if norm == "post" else []
    return {f"{block}calibrator.{name}" for block in blocks for name in names}


def prompt(grids: torch.Tensor, text: int = 3, token: int = IMAGE_TOKEN) -> list[int]:
    ids = [5]
    for grid in grids:
        ids += [VISION_START, *[token] * (int(grid.prod()) // 4), VISION_END, 6]
    return ids + list(range(10, 10 + text))


def make_inputs(grids: torch.Tensor = GRIDS, maps: bool = True) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    patches = int(grids.prod(-1).sum())
    pixel_values = torch.randn(patches, PIXELS, generator=generator)
    if maps:
        pixel_values = torch.cat([pixel_values, torch.rand(patches, SALIENCY, generator=generator)], dim=1)
    return {"input_ids": torch.tensor([prompt(grids)]), "pixel_values": pixel_values, "image_grid_thw": grids}


def stock_logits(stock, inputs) -> torch.Tensor:
    token_types = (inputs["input_ids"] == IMAGE_TOKEN).int() + 2 * (inputs["input_ids"] == VIDEO_TOKEN).int()
    with torch.no_grad():
        return stock(
            **{**inputs, "pixel_values": inputs["pixel_values"][:, :PIXELS]}, mm_token_type_ids=token_types
        ).logits


@torch.no_grad()
def logits(model, inputs) -> torch.Tensor:
    return model(**inputs).logits


FRESH = [
    {"gaze_layers": [2]},
    {"gaze_layers": [0, 1, 2, 3]},
    {"gaze_layers": [0, 1, 2, 3], "gaze_query": "global"},
    {"gaze_layers": [0, 1, 2, 3], "gaze_rope": True},
    {"gaze_layers": [0, 1, 2, 3], "gaze_fusion": "score_modulation"},
    {"gaze_fusion": "input_channel"},
]


@pytest.mark.parametrize("gaze", FRESH, ids=str)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_fresh_model_is_the_base_model_bit_for_bit_whatever_the_map(stock_checkpoint, gaze, attention):
    stock = Qwen2_5_VLForConditionalGeneration.from_pretrained(stock_checkpoint).eval()
    model = load_gaze(stock_checkpoint, **gaze)
    for each in (model, stock):
        each.set_attn_implementation(attention)
    inputs = make_inputs()
    assert torch.equal(logits(model, inputs), stock_logits(stock, inputs))


AWAKE = [{"gaze_fusion": fusion} for fusion in IN_TOWER] + [{"gaze_norm": "post"}, {"gaze_query": "global"}]


@pytest.mark.parametrize("gaze", AWAKE, ids=str)
@pytest.mark.parametrize("training", [False, True])
def test_without_a_map_the_logits_are_the_base_models_bit_for_bit(stock_model, stock_checkpoint, gaze, training):
    model = awaken(load_gaze(stock_checkpoint, **gaze)).train(training)
    inputs = make_inputs(maps=False)
    expected = stock_logits(stock_model, inputs)
    assert torch.equal(logits(model, inputs), expected)
    no_map = torch.full((len(inputs["pixel_values"]), SALIENCY), NO_MAP)
    inputs["pixel_values"] = torch.cat([inputs["pixel_values"], no_map], dim=1)
    assert torch.equal(logits(model, inputs), expected)


@pytest.mark.parametrize("fusion", IN_TOWER)
def test_a_trained_model_uses_the_map(stock_model, stock_checkpoint, fusion):
    inputs = make_inputs()
    model = awaken(load_gaze(stock_checkpoint, gaze_fusion=fusion))
    difference = logits(model, inputs) - stock_logits(stock_model, inputs)
    assert difference.abs().max() > 0.01


@pytest.mark.parametrize("fusion", IN_PICTURE + IN_PROMPT)
def test_gaze_in_picture_or_prompt_leaves_the_tower_as_it_is(stock_model, stock_checkpoint, fusion):
    model = load_gaze(stock_checkpoint, gaze_fusion=fusion)
    assert set(model.state_dict()) == set(stock_model.state_dict())
    inputs = make_inputs()
    expected = stock_logits(stock_model, inputs)
    for training in (False, True):
        assert torch.equal(logits(model.train(training), inputs), expected)
        assert torch.equal(logits(model, {**inputs, "pixel_values": inputs["pixel_values"][:, :PIXELS]}), expected)


@pytest.mark.parametrize("fusion", IN_TOWER + IN_PICTURE)
def test_no_block_is_split_over_devices(stock_checkpoint, fusion):
    """transformers keeps a block together by the name of its class."""
    model = load_gaze(stock_checkpoint, gaze_fusion=fusion)
    for part in (model, model.model, model.model.visual):
        assert {type(block).__name__ for block in model.model.visual.blocks} <= set(part._no_split_modules)


def test_a_wrong_width_is_refused(stock_checkpoint):
    inputs = make_inputs()
    inputs["pixel_values"] = inputs["pixel_values"][:, :-1]
    with pytest.raises(ValueError, match=r"1567 columns: expected 1176 .* or 1568"):
        logits(load_gaze(stock_checkpoint), inputs)


@torch.no_grad()
def visual_tokens(model, inputs) -> torch.Tensor:
    return model.model.visual(inputs["pixel_values"], inputs["image_grid_thw"]).pooler_output


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("fusion", ["cross_attention", "score_modulation"])
def test_a_dot_in_the_map_moves_its_own_token_over_several_windows(stock_checkpoint, attention, fusion):
    """The calibrator's block is the last one: there, a patch's query changes nothing but that patch."""
    model = awaken(load_gaze(stock_checkpoint, gaze_layers=[3], gaze_fusion=fusion))
    model.set_attn_implementation(attention)
    inputs = make_inputs(GRIDS[1:2], maps=False)
    rows, columns = 10, 20

    def tokens(saliency: np.ndarray) -> torch.Tensor:
        channel = torch.from_numpy(patchify(saliency, (1, rows, columns)))
        return visual_tokens(model, {**inputs, "pixel_values": torch.cat([inputs["pixel_values"], channel], dim=1)})

    black = np.zeros((rows * 14, columns * 14), dtype=np.float32)
    without = tokens(black)
    for row, column in [(0, 0), (3, 7), (4, 9), (9, 19), (8, 2), (1, 16)]:
        dot = black.copy()
        dot[row * 14 : (row + 1) * 14, column * 14 : (column + 1) * 14] = 1
        moved = (tokens(dot) - without).abs().amax(1)
        token = (row // 2) * (columns // 2) + column // 2
        assert moved.argmax() == token
        assert (moved[torch.arange(len(moved)) != token] == 0).all()


def test_in_the_input_channel_a_map_is_what_a_colour_would_be(stock_model, stock_checkpoint):
    """With the weights of red, a map is more red: the stock model sees the same when it is added to the image."""
    model = load_gaze(stock_checkpoint, gaze_fusion="input_channel")
    embed = model.model.visual.patch_embed
    with torch.no_grad():
        embed.calibrator.weight.copy_(embed.proj.weight[:, 0].flatten(1))
    inputs = make_inputs(GRIDS[1:2], maps=False)
    saliency = torch.from_numpy(patchify(np.random.default_rng(0).random((140, 280), dtype=np.float32), (1, 10, 20)))
    redder = inputs["pixel_values"].clone()
    redder[:, :SALIENCY] += saliency
    with_map = {**inputs, "pixel_values": torch.cat([inputs["pixel_values"], saliency], dim=1)}
    expected = stock_logits(stock_model, {**inputs, "pixel_values": redder})
    assert (expected - stock_logits(stock_model, inputs)).abs().max() > 0.01
    torch.testing.assert_close(logits(model, with_map), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("gaze", AWAKE, ids=str)
def test_a_map_changes_its_own_image_only(stock_checkpoint, gaze):
    model = awaken(load_gaze(stock_checkpoint, **gaze))
    inputs = make_inputs()
    ends = [0, *(GRIDS.prod(-1)).cumsum(0).tolist()]
    before = visual_tokens(model, inputs)
    for image in range(3):
        changed = inputs["pixel_values"].clone()
        changed[ends[image] : ends[image + 1], PIXELS:] = 0.25
        moved = (visual_tokens(model, {**inputs, "pixel_values": changed}) - before).abs().amax(1) > 0
        own = torch.zeros_like(moved)
        own[ends[image] // 4 : ends[image + 1] // 4] = True
        assert torch.equal(moved, own)


@pytest.mark.parametrize("gaze", AWAKE, ids=str)
def test_a_batch_equals_its_images_one_by_one(stock_checkpoint, gaze):
    """Different sizes, with and without a map, in one batch."""
    model = awaken(load_gaze(stock_checkpoint, **gaze))
    inputs = make_inputs()
    counts = GRIDS.prod(-1).tolist()
    inputs["pixel_values"][counts[0] : counts[0] + counts[1], PIXELS:] = NO_MAP
    together = visual_tokens(model, inputs).split([count // 4 for count in counts])
    for grid, pixels, expected in zip(GRIDS, inputs["pixel_values"].split(counts), together, strict=True):
        alone = visual_tokens(model, {"pixel_values": pixels, "image_grid_thw": grid[None]})
        torch.testing.assert_close(alone, expected, rtol=1e-5, atol=1e-6)


def test_a_video_beside_an_image_with_a_map(stock_model, stock_checkpoint):
    model = awaken(load_gaze(stock_checkpoint))
    inputs = make_inputs(GRIDS[:1])
    video = torch.tensor([[2, 12, 12]])
    ids = prompt(GRIDS[:1]) + prompt(video, token=VIDEO_TOKEN)
    inputs |= {
        "input_ids": torch.tensor([ids]),
        "pixel_values_videos": torch.randn(288, PIXELS, generator=torch.Generator().manual_seed(5)),
        "video_grid_thw": video,
    }
    # The stock model gets our positions: those of videos are wrong in transformers 5.5 (modeling/positions.py).
    grids = {name: inputs[name] for name in ("image_grid_thw", "video_grid_thw")}
    positions, _ = model.model.get_rope_index(
        inputs["input_ids"], model.model.token_types(inputs["input_ids"]), **grids
    )
    expected = stock_logits(stock_model, {**inputs, "position_ids": positions})
    no_map = {**inputs, "pixel_values": inputs["pixel_values"][:, :PIXELS]}
    assert torch.equal(logits(model, no_map), expected)
    assert not torch.equal(logits(model, inputs), expected)


# Positions and generation


def batch_of_two() -> dict[str, torch.Tensor]:
    """Two prompts of different length, padded on the left, with one and two images."""
    prompts = [prompt(GRIDS[2:]), prompt(GRIDS[:2])]
    length = max(map(len, prompts))
    rows = [[PAD] * (length - len(ids)) + ids for ids in prompts]
    inputs = make_inputs(GRIDS[[2, 0, 1]])
    ids = torch.tensor(rows)
    return {**inputs, "input_ids": ids, "attention_mask": (torch.tensor(rows) != PAD).long()}


def test_generation_uses_the_positions_of_training(stock_checkpoint):
    """LLaMA-Factory trains with `get_rope_index` and generates without `mm_token_type_ids`."""
    model = load_gaze(stock_checkpoint)
    inputs = batch_of_two()
    trained, deltas = model.model.get_rope_index(
        inputs["input_ids"],
        mm_token_type_ids=(inputs["input_ids"] == IMAGE_TOKEN).int(),
        image_grid_thw=inputs["image_grid_thw"],
        attention_mask=inputs["attention_mask"],
    )
    assert not torch.equal(trained[1], trained[2])  # really 3-D

    seen = []
    hook = model.model.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["position_ids"]), with_kwargs=True
    )
    model.generate(**inputs, max_new_tokens=3, do_sample=False, eos_token_id=-1)
    hook.remove()
    mask = inputs["attention_mask"].bool()
    assert torch.equal(seen[0][-3:][:, mask], trained[:, mask])
    lengths = inputs["attention_mask"].sum(1)
    for step, positions in enumerate(seen[1:]):
        assert torch.equal(positions[-3:, :, -1], (lengths + step + deltas[:, 0]).expand(3, -1))


def test_a_forward_without_token_types_equals_the_stock_model_with_them(stock_model, stock_checkpoint):
    inputs = make_inputs(maps=False)
    assert torch.equal(logits(load_gaze(stock_checkpoint), inputs), stock_logits(stock_model, inputs))


@pytest.mark.parametrize("options", [{"num_beams": 3}, {"num_beams": 3, "num_return_sequences": 2}, {}])
def test_a_batch_generates_what_its_rows_generate_alone(stock_checkpoint, options):
    model = awaken(load_gaze(stock_checkpoint))
    options = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": -1, **options}
    inputs = batch_of_two()
    together = model.generate(**inputs, **options)[:, inputs["input_ids"].shape[1] :]

    counts = GRIDS[[2, 0, 1]].prod(-1).tolist()
    patches = inputs["pixel_values"].split([counts[0], counts[1] + counts[2]])
    grids = inputs["image_grid_thw"].split([1, 2])
    per_row = options.get("num_return_sequences", 1)
    for row in range(2):
        ids = inputs["input_ids"][row][inputs["attention_mask"][row].bool()][None]
        alone = model.generate(input_ids=ids, pixel_values=patches[row], image_grid_thw=grids[row], **options)
        assert torch.equal(alone[:, ids.shape[1] :], together[row * per_row : (row + 1) * per_row])


def test_sampling_several_sequences_keeps_each_prompts_map(stock_checkpoint):
    """Return sequences repeat the patches of a prompt; a scrambled channel would change the first token's logits."""
    model = awaken(load_gaze(stock_checkpoint))
    inputs = batch_of_two()
    plain = model.generate(
        **inputs, max_new_tokens=1, do_sample=False, output_logits=True, return_dict_in_generate=True
    ).logits[0]
    torch.manual_seed(0)
    repeated = model.generate(
        **inputs, max_new_tokens=1, do_sample=True, num_return_sequences=3, output_logits=True,
        return_dict_in_generate=True,
    ).logits[0]  # fmt: skip
    torch.testing.assert_close(repeated, plain.repeat_interleave(3, dim=0), rtol=1e-4, atol=1e-5)


# Checkpoints


def old_layout(checkpoint: str, directory) -> str:
    """Qwen2.5-VL as it is on the Hub: `visual.*` and `model.layers.*`."""
    shutil.copytree(checkpoint, directory, dirs_exist_ok=True)
    weights = load_file(f"{checkpoint}/model.safetensors")
    renamed = {
        re.sub(r"^model\.language_model\.", "model.", re.sub(r"^model\.visual\.", "visual.", key)): value
        for key, value in weights.items()
    }
    save_file(renamed, f"{directory}/model.safetensors", metadata={"format": "pt"})
    assert any(key.startswith("visual.") for key in renamed) and any(k.startswith("model.layers.") for k in renamed)
    return str(directory)


def new_layout(checkpoint: str, directory) -> str:
    """The names that the modules have in transformers 5."""
    shutil.copytree(checkpoint, directory, dirs_exist_ok=True)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(checkpoint)
    save_file(model.state_dict(), f"{directory}/model.safetensors", metadata={"format": "pt"})
    return str(directory)


@pytest.mark.parametrize("layout", [old_layout, new_layout])
@pytest.mark.parametrize("fusion", IN_TOWER)
def test_a_stock_checkpoint_lacks_exactly_the_calibrators(stock_model, stock_checkpoint, tmp_path, fusion, layout):
    path = layout(stock_checkpoint, tmp_path)
    layers = [] if fusion == "input_channel" else [1, 3]
    config = Qwen2_5_VLGazeConfig.from_stock(stock_model.config, gaze_fusion=fusion, gaze_layers=layers)
    model, info = Qwen2_5_VLGazeForConditionalGeneration.from_pretrained(path, config=config, output_loading_info=True)
    assert info["missing_keys"] == calibrator_weights(fusion, layers)
    assert not info["unexpected_keys"] and not info["mismatched_keys"]
    weights = model.state_dict()
    for name in info["missing_keys"]:  # transformers initialises them anew, and must not touch what starts at zero
        if name.endswith(("o_proj.weight", "calibrator.weight")):
            assert not weights[name].any()
        elif name.endswith("norm.weight"):
            assert torch.equal(weights[name], torch.ones(32))
        else:
            assert 0.015 < weights[name].std() < 0.025
    inputs = make_inputs()
    assert torch.equal(logits(model.eval(), inputs), stock_logits(stock_model, inputs))


@pytest.mark.parametrize("gaze", AWAKE, ids=str)
def test_save_and_load(stock_checkpoint, tmp_path, gaze):
    model = awaken(load_gaze(stock_checkpoint, **gaze))
    model.save_pretrained(tmp_path)
    saved = set(load_file(tmp_path / "model.safetensors"))
    expected = calibrator_weights(gaze.get("gaze_fusion", "cross_attention"), [2], gaze.get("gaze_norm", "pre"))
    assert {key for key in saved if "calibrator" in key} == expected

    loaded, info = AutoModelForImageTextToText.from_pretrained(tmp_path, output_loading_info=True)
    assert type(loaded) is Qwen2_5_VLGazeForConditionalGeneration
    assert loaded.config.vision_config.gaze_settings() == model.config.vision_config.gaze_settings()
    assert not info["missing_keys"] and not info["unexpected_keys"]
    inputs = make_inputs()
    assert torch.equal(logits(loaded.eval(), inputs), logits(model, inputs))


# Gradients


def gradients(model, reentrant: bool | None) -> dict[str, torch.Tensor]:
    from llamafactory.model.model_utils.checkpointing import get_custom_gradient_checkpointing_func

    model.train()
    model.gradient_checkpointing_disable()
    if reentrant is not None:  # LLaMA-Factory's own way
        model._set_gradient_checkpointing(
            enable=True,
            gradient_checkpointing_func=get_custom_gradient_checkpointing_func(
                partial(checkpoint, use_reentrant=reentrant)
            ),
        )
    model.zero_grad()
    inputs = make_inputs()
    model(**inputs, labels=inputs["input_ids"]).loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("gaze", AWAKE, ids=str)
@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_gives_the_same_gradients_to_the_same_parameters(stock_checkpoint, reentrant, gaze):
    model = awaken(load_gaze(stock_checkpoint, **gaze))
    model.requires_grad_(False)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("calibrator" in name or "visual.blocks.3" in name)
    expected = gradients(model, None)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert set(expected) == trained
    assert all(gradient.any() for name, gradient in expected.items() if "calibrator" in name)
    found = gradients(model, reentrant)
    assert set(found) == trained
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("fusion", IN_TOWER)
def test_bfloat16_keeps_the_sentinel(stock_checkpoint, fusion):
    model = awaken(load_gaze(stock_checkpoint, gaze_fusion=fusion)).to(torch.bfloat16)
    inputs = make_inputs(maps=False)
    expected = logits(model, inputs)
    no_map = torch.full((len(inputs["pixel_values"]), SALIENCY), NO_MAP)
    assert torch.equal(
        logits(model, {**inputs, "pixel_values": torch.cat([inputs["pixel_values"], no_map], 1)}), expected
    )
