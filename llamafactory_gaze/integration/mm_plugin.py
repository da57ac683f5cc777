"""The multimodal plug-in `qwen2_5_vl_gaze`: brings the gaze to where `gaze_fusion` wants it.

into the tower    the map stands behind the colours of its image, a fourth channel of `pixel_values`
into the picture  the map is drawn into the image before anything else sees it
into the prompt   the map's peaks stand behind the image, as a sentence

The maps of a video go into the tower only: each frame that LLaMA-Factory samples has the map of its time (`video.py`)
behind its colours, in `pixel_values_videos`.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from itertools import repeat
from typing import Any

import numpy as np
import torch
from llamafactory.data.mm_plugin import Qwen2VLPlugin
from llamafactory.extras.constants import IMAGE_PLACEHOLDER
from PIL import Image

from llamafactory_gaze.integration.references import as_image, detach, detach_from_video, naming_broken
from llamafactory_gaze.integration.video import Grid, video_patches
from llamafactory_gaze.modeling.configuration import IN_PICTURE, IN_PROMPT, IN_TOWER
from llamafactory_gaze.modeling.processing_qwen2_5_vl_gaze import cut, map_array, map_patches, with_maps
from llamafactory_gaze.saliency.controls import CONTROLS
from llamafactory_gaze.saliency.patches import no_map_patches
from llamafactory_gaze.saliency.pictures import PICTURES
from llamafactory_gaze.saliency.points import gaze_sentence


Pair = tuple[Any, str | bytes | None]  # an image, and its map
Maps = list[str | bytes] | None  # of a video
AT_ONCE = 2  # threads; decoders and torch leave Python's lock

# glibc gives freed memory back to the system, to be faulted in anew for the next image, until it has seen a block as
# large come free (mallopt(3), M_MMAP_THRESHOLD): here is one of nearly the largest size that counts, 32 MiB.
np.empty(31 << 20, np.uint8)


class GazeQwen2VLPlugin(Qwen2VLPlugin):
    """Qwen2.5-VL's plug-in for images that may have a saliency map, and videos that may have several.

    Where gaze goes into the tower, `pixel_values` is (patches, 4 * 2 * 14 * 14) with the map in [0, 1] in the last
    2 * 14 * 14 columns (-1 in all of them where an image has no map), or of the stock width,
    (patches, 3 * 2 * 14 * 14), where no image has a map. So is `pixel_values_videos`.
    """

    def process_messages(
        self, messages: list[dict[str, str]], images: list[Any], videos: list[Any], audios: list[Any], processor: Any
    ) -> list[dict[str, str]]:
        if _fusion(processor) in IN_PROMPT:
            messages = self._with_sentences(messages, images, processor)
        return super().process_messages(messages, images, videos, audios, processor)

    def _get_mm_token_metadata(
        self, images: list[Any], videos: list[Any], audios: list[Any], processor: Any
    ) -> dict[str, Any] | None:
        if _fusion(processor) not in IN_PICTURE:  # the map says nothing of the number of tokens, and need not be read
            images = [detach(image)[0] for image in images]
        videos = [video for video, _ in _with_their_maps(videos, processor)]
        with naming_broken(images):
            return super()._get_mm_token_metadata(images, videos, audios, processor)

    def _get_mm_inputs(
        self, images: list[Any], videos: list[Any], audios: list[Any], processor: Any
    ) -> dict[str, torch.Tensor]:
        fusion = _fusion(processor)
        pairs = [detach(image) for image in images]
        if fusion in IN_PROMPT or _ablation(processor) == "off":
            pairs = [(image, None) for image, _ in pairs]
        clips = _with_their_maps(videos, processor)
        # The stock method repeats the last of an odd number of frames, in the very list that it is given.
        videos = [[*video] if isinstance(video, list) else video for video, _ in clips]
        with ThreadPoolExecutor(AT_ONCE) as pool, naming_broken([image for image, _ in pairs]):
            # To start a thread takes as long as to prepare a small image: the pool starts none before it is used.
            each = pool.map if sum(saliency is not None for _, saliency in pairs) > 1 else map
            if fusion in IN_TOWER and any(saliency is not None for _, saliency in pairs):
                mm_inputs = self._image_inputs(pairs, processor, each)
                mm_inputs |= super()._get_mm_inputs([], videos, audios, processor)
            else:
                images = _drawn(pairs, processor, each)
                mm_inputs = super()._get_mm_inputs(images, videos, audios, processor)
        if any(saliencies is not None for _, saliencies in clips):
            of_videos = [
                self._video_patches(*clip, tuple(grid), processor)
                for clip, grid in zip(clips, mm_inputs["video_grid_thw"].tolist(), strict=True)
            ]
            colours = mm_inputs["pixel_values_videos"]
            mm_inputs["pixel_values_videos"] = torch.cat([colours, torch.from_numpy(np.concatenate(of_videos))], dim=1)
        return mm_inputs

    def _image_inputs(
        self, pairs: list[Pair], processor: Any, each: Callable[..., Iterable[Any]]
    ) -> dict[str, torch.Tensor]:
        """Images without videos, with the maps behind their colours; `each` is `map`, or that of a pool of threads."""
        for image, _ in pairs:
            if isinstance(image, Image.Image):
                image.load()  # here, since two threads must not decode one and the same file
        stock, ablation = super()._get_mm_inputs, _ablation(processor)

        def prepared(pair: Pair) -> tuple[dict[str, torch.Tensor], np.ndarray | None]:
            image, saliency = pair
            inputs = stock([image], [], [], processor)
            (grid,) = inputs["image_grid_thw"].tolist()
            return inputs, map_patches(_read(saliency, ablation), grid, processor.image_processor)

        # Image by image: each is given the memory that another one has left. The arrays of a whole batch are so large
        # that the system takes them back, and new pages for the next ones cost more time than any work here.
        inputs, maps = zip(*each(prepared, pairs), strict=True)
        return {
            "pixel_values": with_maps([one["pixel_values"] for one in inputs], maps, each),
            "image_grid_thw": torch.cat([one["image_grid_thw"] for one in inputs]),
        }

    def _video_patches(self, video: Any, maps: Maps, grid_thw: Grid, processor: Any) -> np.ndarray:
        """The maps of one video, cut like its frames -> (patches, 2 * 14 * 14) float32."""
        how = cut(processor.video_processor)
        if maps is None:
            return no_map_patches(grid_thw, **how)
        sampling = {"video_fps": processor.video_fps, "video_maxlen": processor.video_maxlen}
        return video_patches(
            video,
            maps,
            grid_thw,
            how,
            sample=lambda stream: self._get_video_sample_indices(stream, **sampling),
            read=lambda saliency: _controlled(saliency, _ablation(processor)),
        )

    def _with_sentences(
        self, messages: list[dict[str, str]], images: list[Any], processor: Any
    ) -> list[dict[str, str]]:
        """The messages with a sentence behind each image that has a map."""
        maps = [_read(detach(image)[1], _ablation(processor)) for image in images]
        if all(saliency is None for saliency in maps):
            return messages
        metadata = self._get_mm_token_metadata(images, [], [], processor) or {}
        patch_size = processor.image_processor.patch_size
        sentences = [
            "" if saliency is None else gaze_sentence(saliency, (width * patch_size, height * patch_size))
            for saliency, (_, height, width) in zip(maps, metadata["image_grid_thw"].tolist(), strict=True)
        ]
        messages, following = deepcopy(messages), iter(sentences)
        for message in messages:
            before, *parts = message["content"].split(IMAGE_PLACEHOLDER)
            message["content"] = before + "".join(f"{IMAGE_PLACEHOLDER}{next(following, '')}{part}" for part in parts)
        return messages


def _fusion(processor: Any) -> str:
    return getattr(processor, "gaze_fusion", IN_TOWER[0])


def _ablation(processor: Any) -> str:
    return getattr(processor, "gaze_ablation", "none")


def _drawn(pairs: list[Pair], processor: Any, each: Callable[..., Iterable[Any]]) -> list[Any]:
    """The images, with their maps drawn into them where `gaze_fusion` says so."""
    fusion = _fusion(processor)
    if fusion not in IN_PICTURE:
        return [image for image, _ in pairs]
    maps = each(_read, [saliency for _, saliency in pairs], repeat(_ablation(processor)))
    return [
        image if saliency is None else PICTURES[fusion](as_image(image), saliency)
        for (image, _), saliency in zip(pairs, maps, strict=True)
    ]


def _read(saliency: str | bytes | None, ablation: str) -> np.ndarray | None:
    """The map as the ablation leaves it -> (H, W) in [0, 1], or None."""
    if saliency is None or ablation == "off":
        return None
    return _controlled(saliency, ablation)


def _controlled(saliency: str | bytes, ablation: str) -> np.ndarray:
    """The map, or what `gaze_ablation: uniform` or `center` makes of it -> (H, W) in [0, 1]."""
    values = map_array(saliency)
    return CONTROLS[ablation](values) if ablation in CONTROLS else values


def _with_their_maps(videos: list[Any], processor: Any) -> list[tuple[Any, Maps]]:
    """Each video and its maps, None where it has none or the ablation takes them away.

    Raises:
        ValueError: there are maps, and `gaze_fusion` does not take those of videos.
    """
    clips = [detach_from_video(video) for video in videos]
    if _ablation(processor) == "off":
        return [(video, None) for video, _ in clips]
    fusion = _fusion(processor)
    if fusion not in IN_TOWER and any(saliencies is not None for _, saliencies in clips):
        raise ValueError(
            f"`gaze_fusion: {fusion}` takes the maps of images, not those of videos. Write one of "
            f"{', '.join(IN_TOWER)}, or `gaze_ablation: off`."
        )
    return clips
