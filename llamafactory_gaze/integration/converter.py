"""Data sets with `"formatting": "gaze"`: LLaMA-Factory's sharegpt format with a column of saliency maps."""

import os
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any

import numpy as np
from datasets import IterableDataset
from llamafactory.data.converter import SharegptDatasetConverter
from PIL import Image, UnidentifiedImageError

from llamafactory_gaze.integration.arguments import TEMPLATE
from llamafactory_gaze.integration.references import MARK, as_file, attach, attach_to_video, check_video
from llamafactory_gaze.integration.video import frame_size
from llamafactory_gaze.saliency.maps import SaliencyMapError, check_aspect_ratio, probe_saliency_map


FORMATTING = "gaze"
ROW_COLUMN = "_gaze_row"
# What may have maps, and the column of its maps: LLaMA-Factory's key under `columns`, and ours.
MAPS_COLUMNS = {"images": "saliencies", "videos": "video_saliencies"}
_EXPECTED = {
    "images": "saliency maps: expected one map for each image",
    "videos": "lists of saliency maps: expected one list for each video",
}


class GazeDatasetConverter(SharegptDatasetConverter):
    """Checks the maps of each row and sends them along with their images and videos (see `references.py`).

    `saliencies` has as many entries as `images`, each a path (relative to `media_dir`), the bytes of an image file,
    `{"bytes", "path"}`, or null where the image has no map; null instead of the list means that none has.
    `video_saliencies` has as many entries as `videos`, each a list of such maps in the order of time (see `video.py`),
    or null.
    """

    def __call__(self, example: dict[str, Any]) -> dict[str, Any]:
        """One row -> LLaMA-Factory's aligned row.

        Raises:
            ValueError: naming the data set, the row, what was expected and what to do.
        """
        try:
            for video in example.get(self.dataset_attr.videos) or []:
                check_video(video)
            output = super().__call__({key: value for key, value in example.items() if key != ROW_COLUMN})
            for media, join in (("images", self._with_map), ("videos", self._with_maps)):
                output[f"_{media}"] = self._joined(media, output[f"_{media}"] or [], example, join) or None
        except (ValueError, KeyError) as error:
            reason = f"column {error} is missing" if isinstance(error, KeyError) else str(error)
            name = f"row {example[ROW_COLUMN]}" if ROW_COLUMN in example else "a row"
            name += f" (id {example['id']})" if "id" in example else ""
            raise ValueError(f"Data set {self.dataset_attr.dataset_name}, {name}: {reason}") from error
        return output

    def _joined(
        self, media: str, entries: list[Any], example: dict[str, Any], join: Callable[[Any, Any], Any]
    ) -> list[Any]:
        """The row's images or videos, each joined to its map or maps."""
        maps = self._maps(media, example) or [None] * len(entries)
        if not isinstance(maps, list) or len(maps) != len(entries):
            count = len(maps) if isinstance(maps, list) else "no list"
            raise ValueError(
                f"there are {len(entries)} {media} and {count} {_EXPECTED[media]}, null where one has none."
            )
        return [join(entry, saliency) for entry, saliency in zip(entries, maps, strict=True)]

    def _maps(self, media: str, example: dict[str, Any]) -> Any:
        if self.data_args.template != TEMPLATE:
            raise ValueError(
                f"its maps cannot be used with `template: {self.data_args.template}`. Write `template: {TEMPLATE}`, "
                "and `gaze_ablation: off` for a model without gaze."
            )
        column = maps_column(self.dataset_attr, media)
        if column not in example and getattr(self.dataset_attr, media) is not None:
            raise ValueError(
                f"there is no column '{column}' with the saliency maps. Found: "
                f"{', '.join(sorted(set(example) - {ROW_COLUMN}))}. Name it as `{MAPS_COLUMNS[media]}` under `columns` "
                "in dataset_info.json."
            )
        return example.get(column)

    def _with_map(self, image: Any, saliency: Any) -> str | dict[str, Any]:
        if isinstance(image, Image.Image):
            image = {"bytes": as_file(image), "path": None}
        if isinstance(image, str) and MARK in image:
            raise ValueError(f"the name of image {image} contains '{MARK}', which is reserved: rename the file.")
        if saliency is None:
            return image
        saliency = self._located(saliency)
        self._check(saliency, _image_size(image), _name(image, "its image"))
        return attach(image, saliency)

    def _with_maps(self, video: str | list[str], saliencies: Any) -> str:
        if saliencies is None:
            return attach_to_video(video, None)
        name = video if isinstance(video, str) else f"the video of {video[0]}"
        if not isinstance(saliencies, list) or not saliencies or None in saliencies:
            raise SaliencyMapError(
                f"{name} has no list of saliency maps: expected one map for each time bin, at least one, or null for a "
                "video without maps. A black map says that nobody looked."
            )
        size = frame_size(video)
        located = [self._located(saliency) for saliency in saliencies]
        for saliency in located:
            self._check(saliency, size, name)
        return attach_to_video(video, located)

    def _check(self, saliency: str | bytes, picture_size: tuple[int, int], picture_name: str) -> None:
        size = probe_saliency_map(saliency)
        if not self._shuffled():  # a shuffled map is somebody else's, it is stretched to fit
            check_aspect_ratio(size, picture_size, _name(saliency, "the saliency map"), picture_name)

    def _shuffled(self) -> bool:
        gaze = getattr(self.data_args, "gaze", None)
        return gaze is not None and gaze.gaze_ablation == "shuffle"

    def _located(self, saliency: Any) -> str | bytes:
        """A map as a path that exists or as bytes."""
        if isinstance(saliency, Image.Image):
            return as_file(saliency)
        if isinstance(saliency, Mapping):
            saliency = saliency.get("bytes") or saliency.get("path")
        if isinstance(saliency, bytes):
            return saliency
        if not isinstance(saliency, str):
            raise SaliencyMapError(f"a saliency map is a path, bytes or null, not {type(saliency).__name__}.")
        return os.path.join(self.data_args.media_dir, saliency)


def _name(source: Any, otherwise: str) -> str:
    if isinstance(source, dict):
        source = source.get("path")
    return source if isinstance(source, str) else otherwise


def _image_size(image: str | dict[str, Any]) -> tuple[int, int]:
    """(width, height) from the header of an image file."""
    source: Any = image if isinstance(image, str) else image.get("bytes") or image.get("path")
    try:
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as opened:
            return opened.size
    except (OSError, UnidentifiedImageError) as error:
        raise ValueError(f"image {_name(image, '(embedded)')} cannot be read ({error}).") from error


def maps_column(dataset_attr: Any, media: str) -> str:
    """The name of the column with the maps of a data set's `images` or `videos`."""
    return getattr(dataset_attr, MAPS_COLUMNS[media], None) or MAPS_COLUMNS[media]


def number_rows(dataset: Any) -> Any:
    """Adds the row's number, from 0, so that an error can name it.

    A stream is left alone: its shards are shuffled and spread over workers, each of which would count from 0.
    """
    if isinstance(dataset, IterableDataset):
        return dataset
    return dataset.add_column(ROW_COLUMN, np.arange(len(dataset)))
