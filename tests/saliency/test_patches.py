"""The order of patches, tested against transformers' own image processors: the red channel of an image is the map."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor
from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

from llamafactory_gaze.saliency import NO_MAP, join_frames, no_map_patches, patchify


PROCESSORS = [Qwen2VLImageProcessor, Qwen2VLImageProcessorPil]


def red_columns(processor_class, red, **settings):
    """The first channel's columns and the grid that the processor gives for an image whose red channel is `red`."""
    image = np.random.default_rng(0).integers(0, 256, (*red.shape, 3), dtype=np.uint8)
    image[..., 0] = red
    processor = processor_class(do_rescale=True, do_normalize=False, **settings)
    outputs = processor(images=Image.fromarray(image), return_tensors="np")
    columns = outputs["pixel_values"].shape[1] // 3
    return outputs["pixel_values"][:, :columns], tuple(int(n) for n in outputs["image_grid_thw"][0])


@pytest.mark.parametrize("processor_class", PROCESSORS)
@pytest.mark.parametrize("grid", [(4, 6), (10, 12), (18, 10), (16, 24), (2, 20)])
def test_equals_the_red_channel_of_the_processor(processor_class, grid):
    red = np.random.default_rng(1).integers(0, 256, (grid[0] * 14, grid[1] * 14), dtype=np.uint8)
    expected, grid_thw = red_columns(processor_class, red)
    assert grid_thw == (1, *grid)
    np.testing.assert_allclose(patchify(red / np.float32(255), grid_thw), expected, atol=1e-6)


@pytest.mark.parametrize("processor_class", PROCESSORS)
def test_follows_other_settings_of_the_processor(processor_class):
    settings = {"patch_size": 16, "merge_size": 3, "temporal_patch_size": 4}
    red = np.random.default_rng(2).integers(0, 256, (16 * 9, 16 * 12), dtype=np.uint8)
    expected, grid_thw = red_columns(processor_class, red, **settings)
    assert grid_thw == (1, 9, 12)
    np.testing.assert_allclose(patchify(red / np.float32(255), grid_thw, **settings), expected, atol=1e-6)


@pytest.mark.parametrize("processor_class", PROCESSORS)
@pytest.mark.parametrize("size", [(333, 500), (600, 800), (100, 41)])
def test_lies_where_the_resized_image_lies(processor_class, size):
    """Sizes that the processor must round: a smooth map and a smooth image agree up to the choice of filter."""
    y, x = np.mgrid[0 : size[0], 0 : size[1]] / np.array(size)[:, None, None]
    red = (255 * np.exp(-((x - 0.7) ** 2 + (y - 0.3) ** 2) / 0.1)).astype(np.uint8)
    expected, grid_thw = red_columns(processor_class, red)
    assert np.abs(patchify(red / np.float32(255), grid_thw) - expected).max() < 0.02


def test_a_small_map_stands_for_a_large_image():
    """Half the map is 1: exactly the windows of that half are, whatever the map's own size."""
    saliency = np.zeros((6, 8), dtype=np.float32)
    saliency[:, 4:] = 1.0
    tokens = patchify(saliency, (1, 12, 16)).reshape(6, 8, 4, -1).mean(axis=(2, 3))
    assert (tokens[:, :3] == 0).all() and (tokens[:, 5:] == 1).all()
    assert ((tokens[:, 3:5] > 0) & (tokens[:, 3:5] < 1)).all()


def test_stays_in_range_and_keeps_the_mean_when_shrinking():
    """Antialiasing: one-pixel stripes average out instead of being hit or missed."""
    stripes = np.zeros((1120, 1120), dtype=np.float32)
    stripes[:, ::2] = 1.0
    patches = patchify(stripes, (1, 8, 8))
    assert patches.min() >= 0 and patches.max() <= 1
    assert np.abs(patches.mean() - 0.5) < 1e-3
    assert np.abs(patches - 0.5).max() < 0.1


def test_a_video_repeats_the_map():
    saliency = np.random.default_rng(3).random((50, 70), dtype=np.float32)
    still = patchify(saliency, (1, 4, 6))
    np.testing.assert_array_equal(patchify(saliency, (3, 4, 6)), np.concatenate([still] * 3))


@pytest.mark.parametrize("settings", [{}, {"patch_size": 16, "merge_size": 3, "temporal_patch_size": 3}], ids=str)
def test_maps_that_change_are_the_red_channel_of_a_video(settings):
    sizes = {"patch_size": 14, "merge_size": 2, "temporal_patch_size": 2, **settings}
    sides = [n * sizes["merge_size"] * sizes["patch_size"] for n in (2, 3)]
    video = np.random.default_rng(4).integers(0, 256, (6, *sides, 3), dtype=np.uint8)
    outputs = Qwen2VLVideoProcessor(do_resize=False, do_normalize=False, **sizes)(videos=[video], return_tensors="np")
    grid, width = tuple(outputs["video_grid_thw"][0].tolist()), outputs["pixel_values_videos"].shape[1] // 3
    assert grid[0] == 6 // sizes["temporal_patch_size"] > 1
    still = {**sizes, "temporal_patch_size": 1}
    frames = [patchify(frame[..., 0] / np.float32(255), (1, *grid[1:]), **still) for frame in video]
    found = join_frames(frames, sizes["temporal_patch_size"])
    np.testing.assert_allclose(found, outputs["pixel_values_videos"][:, :width], atol=1e-6)
    with pytest.raises(AssertionError):  # no frame looks like another one
        np.testing.assert_allclose(found[::-1], outputs["pixel_values_videos"][:, :width], atol=1e-6)


def test_no_map_survives_bfloat16_and_is_no_map_value():
    patches = no_map_patches((2, 4, 6))
    assert patches.shape == patchify(np.zeros((4, 6), dtype=np.float32), (2, 4, 6)).shape
    assert patches.dtype == np.float32
    assert (torch.from_numpy(patches).to(torch.bfloat16) == NO_MAP).all()
    assert not 0 <= NO_MAP <= 1


@pytest.mark.parametrize(
    ("saliency", "message"),
    [
        (np.full((4, 4), 1.5), "found 1.5 to 1.5"),
        (np.full((4, 4), -1.0), r"found -1\.0"),
        (np.full((4, 4), np.nan), "found nan"),
        (np.zeros((4, 4, 1)), "two dimensions"),
    ],
)
def test_refuses_what_is_no_map(saliency, message):
    with pytest.raises(ValueError, match=message):
        patchify(saliency, (1, 4, 4))


@pytest.mark.parametrize("grid", [(1, 5, 4), (1, 4, 7), (0, 4, 4)])
def test_refuses_grids_without_whole_windows(grid):
    with pytest.raises(ValueError, match="whole windows of 2x2"):
        patchify(np.zeros((4, 4)), grid)
    with pytest.raises(ValueError, match="whole windows of 2x2"):
        no_map_patches(grid)
