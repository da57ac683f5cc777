"""Data sets with `"formatting": "gaze"`: LLaMA-Factory's sharegpt format with a column of saliency maps."""

import os
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
from llamafactory.data.converter import SharegptDatasetConverter
from PIL import Image, UnidentifiedImageError

from llamafactory_gaze.integration.arguments import TEMPLATE
from llamafactory_gaze.integration.references import MARK, as_file, attach
from llamafactory_gaze.saliency.maps import SaliencyMapError, check_aspect_ratio, probe_saliency_map


FORMATTING = "gaze"
ROW_COLUMN = "_gaze_row"


class GazeDatasetConverter(SharegptDatasetConverter):
    """Checks the maps of each row and sends them along with their images (see `references.py`).

    `saliencies` has as many entries as `images`, each a path (relative to `media_dir`), the bytes of an image file,
    `{"bytes", "path"}`, or null where the image has no map; null instead of the list means that none has.
    """

    def __call__(self, example: dict[str, Any]) -> dict[str, Any]:
        """One row -> LLaMA-Factory's aligned row.

        Raises:
            ValueError: naming the data set, the row, what was expected and what to do.
        """
        try:
            output = super().__call__({key: value for key, value in example.items() if key != ROW_COLUMN})
            output["_images"] = self._with_maps(output["_images"] or [], self._maps(example)) or None
        except (ValueError, KeyError) as error:
            reason = f"column {error} is missing" if isinstance(error, KeyError) else str(error)
            name = f"row {example.get(ROW_COLUMN, 0)}" + (f" (id {example['id']})" if "id" in example else "")
            raise ValueError(f"Data set {self.dataset_attr.dataset_name}, {name}: {reason}") from error
        return output

    def _maps(self, example: dict[str, Any]) -> list[Any]:
        if self.data_args.template != TEMPLATE:
            raise ValueError(
                f"its maps cannot be used with `template: {self.data_args.template}`. Write `template: {TEMPLATE}`, "
                "and `gaze_ablation: off` for a model without gaze."
            )
        column = getattr(self.dataset_attr, "saliencies", None) or "saliencies"
        if column not in example:
            raise ValueError(
                f"there is no column '{column}' with the saliency maps. Found: "
                f"{', '.join(sorted(set(example) - {ROW_COLUMN}))}. Name it as `saliencies` under `columns` in "
                "dataset_info.json."
            )
        return example[column] or []

    def _with_maps(self, images: list[Any], maps: list[Any]) -> list[Any]:
        if not maps:
            maps = [None] * len(images)
        if not isinstance(maps, list) or len(maps) != len(images):
            count = len(maps) if isinstance(maps, list) else "no list"
            raise ValueError(
                f"there are {len(images)} images and {count} saliency maps: expected one map for each image, null "
                "where an image has none."
            )
        return [self._with_map(image, saliency) for image, saliency in zip(images, maps, strict=True)]

    def _with_map(self, image: Any, saliency: Any) -> str | dict[str, Any]:
        if isinstance(image, Image.Image):
            image = {"bytes": as_file(image), "path": None}
        if isinstance(image, str) and MARK in image:
            raise ValueError(f"the name of image {image} contains '{MARK}', which is reserved: rename the file.")
        if saliency is None:
            return image
        saliency = self._located(saliency)
        size = probe_saliency_map(saliency)
        if not self._shuffled():  # a shuffled map is somebody else's, it is stretched to fit
            check_aspect_ratio(size, _image_size(image), _name(saliency, "the saliency map"), _name(image, "its image"))
        return attach(image, saliency)

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


def number_rows(dataset: Any) -> Any:
    """Adds the row's number, from 0, so that an error can name it."""
    if hasattr(dataset, "add_column") and hasattr(dataset, "__len__"):
        return dataset.add_column(ROW_COLUMN, np.arange(len(dataset)))
    return dataset.map(lambda example, row: {**example, ROW_COLUMN: row}, with_indices=True)  # streaming
