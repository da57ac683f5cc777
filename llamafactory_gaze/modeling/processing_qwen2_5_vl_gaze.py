"""The processor of the gaze model: Qwen2.5-VL's, which also takes `saliencies`.

    processor(images=[image], saliencies=[saliency], text=[text], return_tensors="pt")

    processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "image", "image": "a.jpg", "saliency": "a_map.png"},
                                      {"type": "text", "text": "Describe the image."}]}],
        add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
    )

What comes out is what LLaMA-Factory's plug-in (`integration/mm_plugin.py`) makes of the same images, maps and prompt.
Images that are stored turned (EXIF) are the exception: transformers turns them, LLaMA-Factory does not, and
`llamafactory-gaze validate` refuses them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import BatchFeature, Qwen2_5_VLProcessor
from transformers.image_transforms import to_pil_image
from transformers.image_utils import load_image

from llamafactory_gaze.modeling.configuration import IN_PICTURE, IN_PROMPT, IN_TOWER
from llamafactory_gaze.saliency.gazed_image import GazedImage
from llamafactory_gaze.saliency.maps import check_aspect_ratio, check_values, read_saliency_map
from llamafactory_gaze.saliency.patches import NO_MAP, patchify
from llamafactory_gaze.saliency.pictures import PICTURES
from llamafactory_gaze.saliency.points import gaze_sentence


MAX_PIXELS = 768 * 768  # LLaMA-Factory's default of `image_max_pixels`
_VISION_END = "<|vision_end|>"


class Qwen2_5_VLGazeProcessor(Qwen2_5_VLProcessor):
    """Qwen2.5-VL's processor for images that may have a saliency map.

    Args:
        image_processor, tokenizer, video_processor, chat_template: as the stock processor's.
        gaze_fusion: where gaze comes in, as in the model's configuration: into the tower, the picture or the prompt.
        image_max_pixels: a larger image is scaled down before anything else, as LLaMA-Factory does in training with its
            key of this name.
    """

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        video_processor: Any = None,
        chat_template: str | None = None,
        gaze_fusion: str = IN_TOWER[0],
        image_max_pixels: int = MAX_PIXELS,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_processor, tokenizer, video_processor, chat_template=chat_template, **kwargs)
        self.gaze_fusion = gaze_fusion
        self.image_max_pixels = image_max_pixels

    @classmethod
    def from_stock(cls, processor: Qwen2_5_VLProcessor, gaze_fusion: str) -> Qwen2_5_VLGazeProcessor:
        """The stock processor with gaze; one that already is a gaze processor keeps its `image_max_pixels`."""
        return cls(
            processor.image_processor,
            processor.tokenizer,
            processor.video_processor,
            chat_template=processor.chat_template,
            gaze_fusion=gaze_fusion,
            image_max_pixels=getattr(processor, "image_max_pixels", MAX_PIXELS),
        )

    def __call__(
        self,
        images: Any = None,
        text: Any = None,
        videos: Any = None,
        saliencies: Any = None,
        image_max_pixels: int | None = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Args:
            images: as the stock processor takes them, one, a list or a list of lists; also `GazedImage`.
            text: prompts with an image token for each image, as `apply_chat_template` writes them.
            videos: as the stock processor takes them; they have no maps here.
            saliencies: a map for each image in the same order, None for an image without: arrays or tensors (H, W) in
                [0, 1], or whatever `read_saliency_map` takes (a path, bytes, a PIL image). Any size with the aspect
                ratio of the image.
            image_max_pixels: for this call instead of the processor's own.
            kwargs: as the stock processor's.

        Returns:
            the stock processor's output. Where the map goes into the tower and an image has one, `pixel_values` is
            (patches, 4 * 2 * 14 * 14), else (patches, 3 * 2 * 14 * 14).

        Raises:
            SaliencyMapError: a map cannot be read, or has another aspect ratio than its image.
            ValueError: there are more or fewer maps than images, or a map is not two-dimensional or leaves [0, 1].
        """
        pairs = _pairs(images, saliencies)
        if not pairs:
            return super().__call__(images=images, text=text, videos=videos, **kwargs)
        pixels = self.image_max_pixels if image_max_pixels is None else image_max_pixels
        opened = [(_opened(pair.image), None if pair.saliency is None else map_array(pair.saliency)) for pair in pairs]
        pictures = [scaled_down(self._picture(*pair), pixels).convert("RGB") for pair in opened]
        maps = [saliency for _, saliency in opened]
        if self.gaze_fusion in IN_PROMPT and any(saliency is not None for saliency in maps):
            text = self._with_sentences([text] if isinstance(text, str) else text, pictures, maps)
        inputs = super().__call__(images=pictures, text=text, videos=videos, **kwargs)
        if self.gaze_fusion in IN_TOWER and any(saliency is not None for saliency in maps):
            colours, grids = inputs["pixel_values"], np.asarray(inputs["image_grid_thw"])
            patches = [map_patches(*each, self.image_processor) for each in zip(maps, grids.tolist(), strict=True)]
            joined = with_maps(torch.as_tensor(colours).split(grids.prod(axis=1).tolist()), patches)
            # In the type that was asked for.
            inputs["pixel_values"] = joined if isinstance(colours, torch.Tensor) else joined.numpy()
        return inputs

    def apply_chat_template(self, conversation: Any, *args: Any, **kwargs: Any) -> Any:
        """As the stock method; an image's item may name its map beside the image: `"saliency"`, as in `saliencies`."""
        several = bool(conversation) and not isinstance(conversation[0], dict)
        conversations = [[_message(turn) for turn in each] for each in (conversation if several else [conversation])]
        return super().apply_chat_template(conversations if several else conversations[0], *args, **kwargs)

    def _picture(self, image: Image.Image, saliency: np.ndarray | None) -> Image.Image:
        if saliency is None:
            return image
        check_values(saliency)
        check_aspect_ratio((saliency.shape[1], saliency.shape[0]), image.size)
        return PICTURES[self.gaze_fusion](image, saliency) if self.gaze_fusion in IN_PICTURE else image

    def _with_sentences(
        self, texts: list[str], pictures: list[Image.Image], maps: list[np.ndarray | None]
    ) -> list[str]:
        """The prompts with a sentence behind each image that has a map."""
        grids = self.image_processor(images=pictures, return_tensors="pt")["image_grid_thw"].tolist()
        patch_size = self.image_processor.patch_size
        sentences = iter(
            "" if saliency is None else gaze_sentence(saliency, (w * patch_size, h * patch_size))
            for saliency, (_, h, w) in zip(maps, grids, strict=True)
        )

        def behind_image(part: str) -> str:
            end = _VISION_END if part.startswith(_VISION_END) else ""
            return end + next(sentences, "") + part.removeprefix(end)

        return [
            self.image_token.join([before, *map(behind_image, parts)])
            for before, *parts in (text.split(self.image_token) for text in texts)
        ]


def map_array(saliency: Any) -> np.ndarray:
    """A map in any form, an array or tensor (H, W) in [0, 1] or whatever `read_saliency_map` takes, as an array."""
    if isinstance(saliency, np.ndarray):
        return saliency
    return saliency.numpy(force=True) if isinstance(saliency, torch.Tensor) else read_saliency_map(saliency)


def cut(processor: Any) -> dict[str, int]:
    """How a processor of images or videos cuts them into patches, as arguments of `patchify`."""
    return {name: getattr(processor, name) for name in ("patch_size", "merge_size", "temporal_patch_size")}


def map_patches(saliency: np.ndarray | None, grid_thw: Sequence[int], image_processor: Any) -> np.ndarray | None:
    """A map, or None, cut like its image: (H, W) in [0, 1] -> (patches, 2 * 14 * 14) float32."""
    t, h, w = grid_thw
    return None if saliency is None else patchify(saliency, (t, h, w), **cut(image_processor))


def with_maps(
    colours: Sequence[torch.Tensor],
    maps: Sequence[np.ndarray | None],
    each: Callable[..., Iterable[None]] = map,
) -> torch.Tensor:
    """The patches of several images with those of their maps behind their colours.

    Args:
        colours: of each image (patches, 3 * 2 * 14 * 14) float32.
        maps: of each image (patches, 2 * 14 * 14) float32, None for an image without a map.
        each: `map`, or that of a pool of threads.

    Returns:
        (patches, 4 * 2 * 14 * 14) float32.
    """
    width = colours[0].shape[1]
    behind = next(patches.shape[1] for patches in maps if patches is not None)
    joined = np.empty((sum(map(len, colours)), width + behind), np.float32)

    # Arrays: threads do not know of an inference mode that the caller is in, and may not write into its tensors.
    def fill(place: np.ndarray, colour: torch.Tensor, patches: np.ndarray | None) -> None:
        place[:, :width] = colour.numpy()
        place[:, width:] = NO_MAP if patches is None else patches

    places = np.split(joined, np.cumsum([len(colour) for colour in colours])[:-1])
    list(each(fill, places, colours, maps))
    return torch.from_numpy(joined)


def scaled_down(image: Image.Image, max_pixels: int) -> Image.Image:
    """As LLaMA-Factory does it, so that the image is cut into the same patches as in training."""
    pixels = image.width * image.height
    if pixels <= max_pixels:
        return image
    factor = math.sqrt(max_pixels / pixels)
    return image.resize((int(image.width * factor), int(image.height * factor)))


def _message(turn: Any) -> Any:
    """A message whose images carry their maps through the stock `apply_chat_template`."""
    if not isinstance(turn.get("content"), list):
        return turn
    return {**turn, "content": [_item(item) for item in turn["content"]]}


def _item(item: Any) -> Any:
    if not isinstance(item, dict) or item.get("saliency") is None:
        return item
    source = next((item[key] for key in ("image", "url", "path", "base64") if key in item), None)
    if item.get("type") != "image" or source is None:
        raise ValueError(
            f'"saliency" stands in an item without an image ({", ".join(map(str, item))}): write it beside "image" in '
            'an item of type "image".'
        )
    return {"type": "image", "image": GazedImage(source, item["saliency"])}


def _pairs(images: Any, saliencies: Any) -> list[GazedImage]:
    flat, maps = list(_flat(images)), list(_flat(saliencies, keep_none=True))
    if saliencies is None:
        maps = [None] * len(flat)
    if len(maps) != len(flat):
        raise ValueError(
            f"There are {len(flat)} images and {len(maps)} saliencies: expected a map for each image, None for an "
            "image without."
        )
    pairs = []
    for image, saliency in zip(flat, maps, strict=True):
        if isinstance(image, GazedImage):
            if saliency is not None:
                raise ValueError("An image has a map of its own and one in `saliencies`: give one of them.")
            pairs.append(image)
        else:
            pairs.append(GazedImage(image, saliency))
    return pairs


def _flat(entries: Any, keep_none: bool = False) -> Iterator[Any]:
    """One entry, a list, or a list of lists, as the stock processor takes images."""
    if isinstance(entries, (list, tuple)):
        for entry in entries:
            yield from _flat(entry, keep_none=keep_none)
    elif getattr(entries, "ndim", 2) == 4:
        yield from entries  # a batch of images in one array
    elif entries is not None or keep_none:
        yield entries


def _opened(image: Any) -> Image.Image:
    return load_image(image) if isinstance(image, (str, Image.Image)) else to_pil_image(image)


__all__ = ["Qwen2_5_VLGazeProcessor"]
