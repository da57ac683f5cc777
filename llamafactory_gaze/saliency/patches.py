"""Cut a saliency map into patches as Qwen2.5-VL's image processor cuts the image: the paper's M_sal_patches (A.3.1).

The processor (transformers, `models/qwen2_vl/image_processing_qwen2_vl.py`) does not list the patches row by row: it
lists the merge windows row by row (2x2 patches that become one token of the language model), and inside a window its
patches. For an image of 4 x 6 patches:

     0  1 |  4  5 |  8  9
     2  3 |  6  7 | 10 11
    ------+-------+------
    12 13 | 16 17 | 20 21
    14 15 | 18 19 | 22 23

Each patch is one row of numbers: channel by channel, in a channel frame by frame (a still image is repeated to
`temporal_patch_size` frames), in a frame pixel row by pixel row. So one channel is a run of
temporal_patch_size * patch_size**2 columns, and a map can stand behind the three colours as a fourth channel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llamafactory_gaze.saliency.maps import check_values, resize_map


NO_MAP = -1.0  # every value of an image without a map; no real map has it, and bfloat16 holds it exactly


def patchify(
    saliency: np.ndarray,
    grid_thw: tuple[int, int, int],
    patch_size: int = 14,
    merge_size: int = 2,
    temporal_patch_size: int = 2,
) -> np.ndarray:
    """Resample a map to the grid of its image and cut it into patches in the processor's order (picture above).

    Args:
        saliency: (H, W) in [0, 1], any size; stretched to (h * patch_size, w * patch_size) pixels.
        grid_thw: (t, h, w) of the image in patches, one row of the processor's `image_grid_thw`. Where t > 1, every
            frame gets the same map; `join_frames` is for maps that change.
        patch_size, merge_size, temporal_patch_size: the settings of the image processor.

    Returns:
        (t * h * w, temporal_patch_size * patch_size**2) float32 in [0, 1].

    Raises:
        ValueError: the map is not two-dimensional or leaves [0, 1], or the grid does not consist of whole windows.
    """
    _check_grid(grid_thw, merge_size)
    check_values(saliency)

    t, h, w = grid_thw
    pixels = resize_map(saliency, (w * patch_size, h * patch_size))
    windows = pixels.reshape(h // merge_size, merge_size, patch_size, w // merge_size, merge_size, patch_size)
    patches = np.empty(
        (t, h // merge_size, w // merge_size, merge_size, merge_size, temporal_patch_size, patch_size, patch_size),
        np.float32,
    )
    # (window row, row in window, y, window column, column in window, x) -> window by window, patch by patch
    patches[:] = windows.transpose(0, 3, 1, 4, 2, 5)[:, :, :, :, np.newaxis]
    return patches.reshape(t * h * w, -1)


def join_frames(frames: Sequence[np.ndarray], temporal_patch_size: int = 2) -> np.ndarray:
    """The patches of a video whose frames have maps of their own.

    Args:
        frames: of each frame of the video, in order, what `patchify` returns of its map for the grid (1, h, w) with a
            `temporal_patch_size` of 1: (h * w, patch_size**2). A multiple of `temporal_patch_size` of them.

    Returns:
        (t * h * w, temporal_patch_size * patch_size**2) float32, as `patchify` for the grid (t, h, w).
    """
    # (time, frame in patch, place, pixel) -> (time, place, frame in patch, pixel)
    grouped = np.stack(frames).reshape(-1, temporal_patch_size, *frames[0].shape).transpose(0, 2, 1, 3)
    return grouped.reshape(-1, temporal_patch_size * frames[0].shape[1])


def no_map_patches(
    grid_thw: tuple[int, int, int],
    patch_size: int = 14,
    merge_size: int = 2,
    temporal_patch_size: int = 2,
) -> np.ndarray:
    """The patches of an image without a map: the shape that `patchify` returns, filled with `NO_MAP`."""
    _check_grid(grid_thw, merge_size)
    t, h, w = grid_thw
    return np.full((t * h * w, temporal_patch_size * patch_size**2), NO_MAP, dtype=np.float32)


def _check_grid(grid_thw: tuple[int, int, int], merge_size: int) -> None:
    t, h, w = grid_thw
    if min(t, h, w) < 1 or h % merge_size or w % merge_size:
        raise ValueError(
            f"The grid {t}x{h}x{w} does not consist of whole windows of {merge_size}x{merge_size} patches."
        )
