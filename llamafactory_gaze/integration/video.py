"""Gaze over time: which of a video's maps belongs to which of its frames.

The maps of a video split its duration into equal bins. A frame belongs to the bin in which the middle of its time on
screen lies. Five frames and two maps, and five frames of which three are sampled:

    frames   | 0 | 1 | 2 | 3 | 4 |         | 0 |   | 2 |   | 4 |
    maps     |    A    |    B    |         |    A    |    B    |
    ->         A   A   B   B   B             A       B       B

So one map for each frame is the case of as many maps as frames, at any frame rate, also one that changes. A map in
whose bin no frame is sampled is not seen; LLaMA-Factory's `video_fps` and `video_maxlen` say how many are sampled.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from llamafactory_gaze.data.media import open_video
from llamafactory_gaze.saliency.patches import join_frames, patchify


Grid = tuple[int, int, int]  # patches in time, height and width
Sample = Callable[[Any], np.ndarray]  # a stream of PyAV -> the numbers of the frames that are sampled, in order


def video_patches(
    video: str | list[str],
    saliencies: list[str | bytes],
    grid_thw: Grid,
    cut: dict[str, int],
    sample: Sample,
    read: Callable[[str | bytes], np.ndarray],
) -> np.ndarray:
    """The maps of a video, cut like its frames.

    Args:
        video: a file, or the paths of its frames.
        saliencies: its maps, in the order of time.
        grid_thw: of the video, one row of the processor's `video_grid_thw`.
        cut: the settings of the video processor, as arguments of `patchify`.
        sample: LLaMA-Factory's choice of frames of a file.
        read: makes an array (H, W) in [0, 1] of a map.

    Returns:
        (t * h * w, temporal_patch_size * patch_size**2) float32.

    Raises:
        ValueError: a map or the video cannot be read, or the video has other frames than its grid says.
    """
    frames = map_of_each_frame(video, len(saliencies), sample).tolist()
    t, h, w = grid_thw
    count = t * cut["temporal_patch_size"]
    if not 0 <= count - len(frames) < cut["temporal_patch_size"]:
        raise ValueError(
            f"video {video} has {len(frames)} frames to sample by its time stamps, but {count} were read: it is "
            "damaged. Convert it anew, or give its frames."
        )
    frames += frames[-1:] * (count - len(frames))  # as the last frame itself is repeated to fill its patch
    still = {**cut, "temporal_patch_size": 1}
    patches = {i: patchify(read(saliencies[i]), (1, h, w), **still) for i in set(frames)}
    return join_frames([patches[i] for i in frames], cut["temporal_patch_size"])


def map_of_each_frame(video: str | list[str], maps: int, sample: Sample) -> np.ndarray:
    """Which map each sampled frame gets.

    Args:
        video: a file, or the paths of its frames; these are all taken, and each is on screen for the same time.
        maps: how many the video has.
        sample: LLaMA-Factory's choice of frames of a file.

    Returns:
        (frames,) numbers of maps, from 0 to `maps` - 1, never falling.

    Raises:
        ValueError: the file cannot be read, or has no time stamps.
    """
    if isinstance(video, str):
        with open_video(video) as stream:
            sampled, ends = sample(stream), _frame_ends(video, stream)
        sampled = sampled[sampled < len(ends)]  # a header may promise more frames than there are
    else:
        ends = np.arange(1, len(video) + 1)
        sampled = np.arange(len(video))
    starts = np.append(0, ends[:-1])
    return (starts + ends)[sampled] * maps // (2 * ends[-1])  # whole numbers, so that no boundary moves by rounding


def _frame_ends(video: str, stream: Any) -> np.ndarray:
    """When each frame of a file leaves the screen: (frames,) since the start of the first, in the stream's ticks."""
    packets = [packet for packet in stream.container.demux(stream) if packet.size and not packet.is_discard]
    times = [packet.dts if packet.pts is None else packet.pts for packet in packets]
    if not packets or None in times:
        raise ValueError(f"video {video} has no time stamps: convert it, for example to MP4, or give its frames.")
    order = np.argsort(times)  # packets stand in the order in which they are decoded
    starts = np.array(times)[order]
    last = packets[order[-1]].duration or (int(np.diff(starts)[-1]) if len(starts) > 1 else 1)
    return np.append(starts[1:], starts[-1] + last) - starts[0]
