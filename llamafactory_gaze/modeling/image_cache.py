"""What the tower makes of an image before gaze comes in, kept for the next gaze at the same image."""

from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from llamafactory_gaze.modeling.feature_files import FeatureFiles


Key = tuple[Any, ...]


class ImageCache:
    """The features of the last images, by content.

    Args:
        images: how many are kept in memory; the one that was not asked for the longest goes first.
        files: where more of them are kept, and for longer.
    """

    def __init__(self, images: int, files: FeatureFiles | None = None) -> None:
        self.images = images
        self.files = files
        self._features: OrderedDict[Key, Tensor] = OrderedDict()
        self._lock = Lock()

    def features(self, pixel_values: Tensor, grid_thw: Tensor, compute: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """The features of a batch of images; those that are not known are computed, in one batch.

        Args:
            pixel_values: (patches, 3 * T * P * P), the colours of all images.
            grid_thw: (images, 3).
            compute: from both for some of the images to their (patches, d_vit), image by image.

        Returns:
            (patches, d_vit).
        """
        images = pixel_values.split(grid_thw.prod(1).tolist())
        keys = [_key(image, grid) for image, grid in zip(images, grid_thw.tolist(), strict=True)]
        with self._lock:
            new = {key: i for i, key in enumerate(keys) if not self._knows(key, pixel_values.device)}
            if new:
                chosen = list(new.values())
                computed = compute(torch.cat([images[i] for i in chosen]), grid_thw[chosen])
                for key, part in zip(new, computed.split([len(images[i]) for i in chosen]), strict=True):
                    self._features[key] = part.clone()  # a view would keep the others of its batch as well
                    if self.files is not None:
                        self.files.put(key[1:], part)
            for key in keys:
                self._features.move_to_end(key)
            features = torch.cat([self._features[key] for key in keys])
            while len(self._features) > self.images:
                self._features.popitem(last=False)
        return features

    def _knows(self, key: Key, device: torch.device) -> bool:
        if key not in self._features and self.files is not None and (found := self.files.get(key[1:])) is not None:
            self._features[key] = found.to(device)
        return key in self._features

    def clear(self) -> None:
        with self._lock:
            self._features.clear()
            if self.files is not None:
                self.files.forget_maker()

    def __len__(self) -> int:
        return len(self._features)

    def __deepcopy__(self, memo: dict[int, Any]) -> "ImageCache":
        return ImageCache(self.images)  # the copy of a model may get other weights


def _key(image: Tensor, grid: list[int]) -> Key:
    """The device first: features in files are the same for each of the same kind."""
    content = image.contiguous().cpu().view(torch.uint8).numpy().data
    kind = image.device.type
    autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
    return (str(image.device), kind, *grid, image.dtype, autocast, blake2b(content, digest_size=32).hexdigest())
