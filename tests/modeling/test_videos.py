"""Videos through the model: each temporal patch takes in its own maps, and stands where its time is."""

from itertools import pairwise

import pytest
import torch

from tests.conftest import IMAGE_TOKEN, PAD, VIDEO_TOKEN
from tests.modeling.test_model import AWAKE, PIXELS, SALIENCY, awaken, load_gaze, prompt


# Two videos of different size and length, the first of 2 x 2 windows.
GRIDS = torch.tensor([[3, 12, 12], [2, 4, 6]])
PATCHES = GRIDS.prod(-1).tolist()


def make_video_inputs(grids: torch.Tensor = GRIDS) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    patches = int(grids.prod(-1).sum())
    colours = torch.randn(patches, PIXELS, generator=generator)
    saliency = torch.rand(patches, SALIENCY, generator=generator)
    return {
        "input_ids": torch.tensor([prompt(grids, token=VIDEO_TOKEN)]),
        "pixel_values_videos": torch.cat([colours, saliency], dim=1),
        "video_grid_thw": grids,
    }


@torch.no_grad()
def video_tokens(model, pixels: torch.Tensor, grids: torch.Tensor = GRIDS) -> torch.Tensor:
    return torch.cat(model.model.get_video_features(pixels, grids).pooler_output)


def temporal_patches(grids: torch.Tensor = GRIDS) -> list[slice]:
    """Where the patches of each temporal patch of each video begin and end."""
    sizes = [int(h * w) for t, h, w in grids for _ in range(t)]
    ends = torch.tensor([0, *sizes]).cumsum(0).tolist()
    return [slice(start, end) for start, end in pairwise(ends)]


@pytest.mark.parametrize("gaze", AWAKE, ids=str)
def test_a_map_changes_its_own_temporal_patch_only(stock_checkpoint, gaze):
    model = awaken(load_gaze(stock_checkpoint, **gaze))
    pixels = make_video_inputs()["pixel_values_videos"]
    before = video_tokens(model, pixels)
    assert len(temporal_patches()) == 5
    for patches in temporal_patches():
        changed = pixels.clone()
        changed[patches, PIXELS:] = 0.25
        moved = (video_tokens(model, changed) - before).abs().amax(1) > 0
        own = torch.zeros_like(moved)
        own[patches.start // 4 : patches.stop // 4] = True
        assert torch.equal(moved, own)


@pytest.mark.parametrize("gaze", AWAKE, ids=str)
def test_maps_in_another_order_give_tokens_in_that_order(stock_checkpoint, gaze):
    """The same picture all the time: only the maps say what is when."""
    model = awaken(load_gaze(stock_checkpoint, **gaze))
    grids = torch.tensor([[3, 10, 12]])
    inputs = make_video_inputs(grids)["pixel_values_videos"].view(3, 120, -1)
    inputs[:, :, :PIXELS] = inputs[0, :, :PIXELS].clone()
    inputs[:, :, PIXELS:] *= torch.tensor([0.1, 1.0, 0.4]).view(3, 1, 1)  # also their means differ
    forwards = video_tokens(model, inputs.flatten(0, 1), grids).view(3, 30, -1)
    other = video_tokens(model, inputs[[2, 0, 1]].flatten(0, 1), grids).view(3, 30, -1)
    torch.testing.assert_close(other, forwards[[2, 0, 1]], rtol=1e-5, atol=1e-6)
    assert (forwards[0] - forwards[1]).abs().max() > 1e-3 and (forwards[1] - forwards[2]).abs().max() > 1e-3


@pytest.mark.parametrize("gaze", AWAKE, ids=str)
def test_a_batch_of_videos_equals_its_videos_one_by_one(stock_checkpoint, gaze):
    """One of them without maps."""
    model = awaken(load_gaze(stock_checkpoint, **gaze))
    pixels = make_video_inputs()["pixel_values_videos"]
    pixels[PATCHES[0] :, PIXELS:] = -1
    together = video_tokens(model, pixels).split([count // 4 for count in PATCHES])
    alone = (pixels[: PATCHES[0]], pixels[PATCHES[0] :, :PIXELS])  # the second at the stock width
    for video, grid, expected in zip(alone, GRIDS, together, strict=True):
        torch.testing.assert_close(video_tokens(model, video, grid[None]), expected, rtol=1e-5, atol=1e-6)


# Positions


def test_positions_in_time_by_hand(stock_checkpoint):
    """`tokens_per_second` is 4: patches 0.4 seconds apart are 1.6 positions apart, rounded down at the end."""
    model = load_gaze(stock_checkpoint).model
    ids = torch.tensor([prompt(torch.tensor([[3, 4, 4]]), text=2, token=VIDEO_TOKEN)])
    found, deltas = model.get_rope_index(
        ids, model.token_types(ids), video_grid_thw=torch.tensor([[3, 4, 4]]), second_per_grid_ts=[0.4]
    )
    times, rows, columns = [0] * 4 + [1] * 4 + [3] * 4, [0, 0, 1, 1] * 3, [0, 1] * 6
    expected = [[0, 1, *[2 + i for i in part], 6, 7, 8, 9] for part in (times, rows, columns)]
    assert found[:, 0].tolist() == expected
    assert deltas.tolist() == [[10 - 18]]


def test_images_stand_where_they_stand_without_a_video(stock_model, stock_checkpoint):
    """The stock positions of text and images; a row with a video beside them, padded on the left."""
    model = load_gaze(stock_checkpoint).model
    images, video = torch.tensor([[1, 4, 6], [1, 8, 4]]), torch.tensor([[2, 4, 4]])
    rows = [prompt(images, text=2), prompt(video, token=VIDEO_TOKEN)]
    length = max(map(len, rows))
    ids = torch.tensor([[PAD] * (length - len(row)) + row for row in rows])
    mask = (ids != PAD).long()
    found, deltas = model.get_rope_index(
        ids, model.token_types(ids), image_grid_thw=images, video_grid_thw=video, attention_mask=mask
    )
    expected, expected_deltas = stock_model.model.get_rope_index(
        ids[:1], (ids[:1] == IMAGE_TOKEN).int(), image_grid_thw=images, attention_mask=mask[:1]
    )
    assert torch.equal(found[:, :1], expected) and torch.equal(deltas[:1], expected_deltas)


def batch_of_videos() -> dict:
    """Two prompts of different length, padded on the left; long in time, so that time counts for the text behind."""
    grids = torch.tensor([[3, 4, 6], [5, 4, 4], [2, 4, 4]])
    rows = [prompt(grids[:1], token=VIDEO_TOKEN), prompt(grids[1:], token=VIDEO_TOKEN)]
    length = max(map(len, rows))
    ids = torch.tensor([[PAD] * (length - len(row)) + row for row in rows])
    inputs = make_video_inputs(grids)
    return {
        **inputs,
        "input_ids": ids,
        "attention_mask": (ids != PAD).long(),
        "second_per_grid_ts": [0.5, 2.0, 1.25],  # a list, as LLaMA-Factory gives it
    }


def test_videos_are_generated_with_the_positions_of_training(stock_checkpoint):
    model = load_gaze(stock_checkpoint)
    inputs = batch_of_videos()
    answers = torch.tensor([[20, 21, 22]] * 2)
    whole = torch.cat([inputs["input_ids"], answers], dim=1)
    mask = torch.cat([inputs["attention_mask"], torch.ones_like(answers)], dim=1)
    timing = {name: inputs[name] for name in ("video_grid_thw", "second_per_grid_ts")}
    trained, _ = model.model.get_rope_index(whole, model.model.token_types(whole), attention_mask=mask, **timing)

    seen = []
    hook = model.model.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["position_ids"][-3:]), with_kwargs=True
    )
    model.generate(**inputs, max_new_tokens=4, do_sample=False, eos_token_id=-1)
    hook.remove()
    generated = torch.cat(seen, dim=2)
    assert torch.equal(generated[:, mask.bool()], trained[:, mask.bool()])


@pytest.mark.parametrize("options", [{"num_beams": 3}, {"num_beams": 3, "num_return_sequences": 2}, {}])
def test_a_batch_of_videos_generates_what_its_rows_generate_alone(stock_checkpoint, options):
    model = awaken(load_gaze(stock_checkpoint))
    options = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": -1, **options}
    inputs = batch_of_videos()
    together = model.generate(**inputs, **options)[:, inputs["input_ids"].shape[1] :]
    counts = inputs["video_grid_thw"].prod(-1)
    pixels = inputs["pixel_values_videos"].split([int(counts[0]), int(counts[1:].sum())])
    grids = inputs["video_grid_thw"].split([1, 2])
    seconds = [inputs["second_per_grid_ts"][:1], inputs["second_per_grid_ts"][1:]]
    per_row = options.get("num_return_sequences", 1)
    for row in range(2):
        ids = inputs["input_ids"][row][inputs["attention_mask"][row].bool()][None]
        alone = model.generate(
            input_ids=ids, pixel_values_videos=pixels[row], video_grid_thw=grids[row],
            second_per_grid_ts=seconds[row], **options,
        )  # fmt: skip
        assert torch.equal(alone[:, ids.shape[1] :], together[row * per_row : (row + 1) * per_row])
