"""Data sets with `"formatting": "gaze"`: LLaMA-Factory's sharegpt format with a column of saliency maps."""

import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from datasets import IterableDataset
from llamafactory.data.converter import SharegptDatasetConverter
from llamafactory.extras.constants import IMAGE_PLACEHOLDER, VIDEO_PLACEHOLDER
from PIL import Image

from llamafactory_gaze.data.media import frame_size
from llamafactory_gaze.data.places import brief, leaves
from llamafactory_gaze.integration.arguments import TEMPLATE
from llamafactory_gaze.integration.references import MARK, as_file, attach, attach_to_video, check_video
from llamafactory_gaze.saliency.maps import SaliencyMapError, check_aspect_ratio, probe_saliency_map
from llamafactory_gaze.saliency.opening import depth_problem, open_picture


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
            self._check_row(example)
            output = super().__call__({key: value for key, value in example.items() if key != ROW_COLUMN})
            for media, join in (("images", self._with_map), ("videos", self._with_maps)):
                output[f"_{media}"] = self._joined(media, output[f"_{media}"] or [], example, join) or None
        except (ValueError, KeyError) as error:
            reason = f"column {error} is missing" if isinstance(error, KeyError) else str(error)
            name = f"row {example[ROW_COLUMN]}" if ROW_COLUMN in example else "a row"
            name += f" (id {example['id']})" if "id" in example else ""
            raise ValueError(f"Data set {self.dataset_attr.dataset_name}, {brief(name)}: {reason}") from error
        return output

    def _check_row(self, example: dict[str, Any]) -> None:
        """Refuses what the stock converter would leave out with a warning, or fail at in Python's words."""
        attr = self.dataset_attr
        turns = example[attr.messages]
        if not isinstance(turns, list) or not turns or not all(isinstance(turn, Mapping) for turn in turns):
            raise ValueError(f"'{attr.messages}' is {turns!r:.60}. Expected a list of turns.")
        for i, turn in enumerate(turns):
            for tag in (attr.role_tag, attr.content_tag):
                if not isinstance(turn.get(tag), str):
                    raise ValueError(f"'{tag}' of turn {i} is {turn.get(tag)!r:.60}. Expected a text.")
                if (text := turn[tag]) != text.encode("utf-8", "replace").decode():
                    raise ValueError(f"'{tag}' of turn {i} holds half a character (a lone surrogate). Write it again.")
        spoken = turns[1:] if attr.system_tag and turns[0][attr.role_tag] == attr.system_tag else turns
        tags = ((attr.user_tag, attr.observation_tag), (attr.assistant_tag, attr.function_tag))
        odd = [turn[attr.role_tag] for i, turn in enumerate(spoken) if turn[attr.role_tag] not in tags[i % 2]]
        if odd or len(spoken) % 2 or not spoken:
            found = f"'{odd[0]:.40}' is out of turn" if odd else f"there are {len(spoken)} turns"
            raise ValueError(f"{found}. Expected {attr.user_tag} and {attr.assistant_tag} in turn, an answer last.")
        for column, placeholder in ((attr.images, IMAGE_PLACEHOLDER), (attr.videos, VIDEO_PLACEHOLDER)):
            media = [] if column is None or example[column] is None else example[column]
            media = media if isinstance(media, list) else [media]
            for entry in media:
                check_video(entry) if column == attr.videos else _check_image(entry)
            marks = sum(turn[attr.content_tag].count(placeholder) for turn in spoken)
            if column is not None and marks != len(media):
                raise ValueError(f"its turns say {placeholder} {marks} times, and '{column}' has {len(media)} entries.")

    def _check_place(self, path: str | None) -> None:
        """What a data set from somewhere else names must not be any file of this machine."""
        # What is not there is named as missing where it is read.
        if path is not None and os.path.exists(path) and (outside := leaves(self.data_args.media_dir, path)):
            raise ValueError(
                f"{brief(path)} leads to {brief(outside)}, which is not in `media_dir: {self.data_args.media_dir}`. "
                "Copy the file there, or set `media_dir` to a folder that holds all files of the data set."
            )

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
            raise ValueError(f"the name of image {brief(image)} contains '{MARK}', which is reserved: rename the file.")
        self._check_place(_path(image))
        size = _image_size(image)
        if saliency is None:
            return image
        saliency = self._located(saliency)
        self._check(saliency, size, _name(image, "its image"))
        return attach(image, saliency)

    def _with_maps(self, video: str | list[str], saliencies: Any) -> str:
        for path in [video] if isinstance(video, str) else video:
            self._check_place(path)
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
        path = os.path.join(self.data_args.media_dir, saliency)
        self._check_place(path)
        return path


def _name(source: Any, otherwise: str) -> str:
    if isinstance(source, dict):
        source = source.get("path")
    return source if isinstance(source, str) else otherwise


def _path(image: str | dict[str, Any]) -> str | None:
    """The file that will be read, None where the image is embedded."""
    return image if isinstance(image, str) else image["path"] if image["bytes"] is None else None


def _check_image(image: Any) -> None:
    """Refuses an image in a form in which LLaMA-Factory cannot take it."""
    if isinstance(image, Image.Image) or (isinstance(image, str) and image and "\0" not in image):
        return
    content, path = (image.get("bytes"), image.get("path")) if isinstance(image, Mapping) else (None, None)
    embedded = isinstance(content, bytes) and isinstance(path, str | None)
    if not embedded and not (content is None and isinstance(path, str) and path and "\0" not in path):
        raise ValueError(
            f"an image is {image!r:.60}. Expected the path of a file, or a mapping with its content as 'bytes'."
        )


def _image_size(image: str | dict[str, Any]) -> tuple[int, int]:
    """(width, height) from the header of an image file that LLaMA-Factory can take."""
    name = brief(_name(image, "(embedded)"))
    try:
        with open_picture(_path(image) or image["bytes"]) as opened:  # type: ignore[index]
            size, mode = opened.size, opened.mode
    except Image.DecompressionBombError as error:
        raise ValueError(_too_large(name)) from error
    except Exception as error:  # PIL's decoders raise nearly anything on a damaged file
        raise ValueError(f"image {name} cannot be read ({type(error).__name__}: {brief(error)}).") from error
    if min(size) < 1:
        raise ValueError(f"image {name} has no pixels.")
    if size[0] * size[1] > (Image.MAX_IMAGE_PIXELS or math.inf):
        raise ValueError(_too_large(name))
    if problem := depth_problem(mode):
        raise ValueError(f"image {name} {problem}")
    return size


def _too_large(name: str) -> str:
    return f"image {name} has more than {Image.MAX_IMAGE_PIXELS} pixels, which may be an attack. Save it smaller."


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
