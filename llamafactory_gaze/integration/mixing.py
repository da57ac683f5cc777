"""Lets data sets that hold their images or videos in different ways train alike, and stand in one `dataset:` list.

Arrow joins columns of equal type only. A list of paths, a list of `{"bytes", "path"}` and a list of the `datasets`
library's own Image type are three types; where they meet, all images become `{"bytes", "path"}`, which LLaMA-Factory
reads. Videos as files and videos as lists of frames are two types; where they meet, all become what gaze data have
(`references.py`).
"""

from collections.abc import Callable
from typing import Any

from datasets import Image, List, Value
from PIL.Image import Image as PILImage

from llamafactory_gaze.integration.references import as_file, attach_to_video, check_video


def harmonise(datasets: list[Any]) -> list[Any]:
    """Aligned data sets -> the same, with one type of `_images` and one of `_videos` among them."""
    datasets = _harmonise(datasets, "_images", {"bytes": Value("binary"), "path": Value("string")}, _encode_image)
    return _harmonise(datasets, "_videos", Value("string"), _encode_video)


def keep_encoded(dataset: Any, columns: tuple[str | None, ...]) -> Any:
    """A data set whose columns of embedded images give the bytes of the files, instead of decoding every row.

    That saves most of the preprocessing, and it is exact: decoded by `datasets`, an image with an EXIF orientation is
    turned, and one in CMYK cannot be written as PNG again. Files are neither.
    """
    for column in columns:
        if (dataset.features or {}).get(column) == List(Image()):
            dataset = dataset.cast_column(column, List(Image(decode=False)))
    return dataset


def _harmonise(datasets: list[Any], column: str, common: Any, encode: Callable[[Any], Any]) -> list[Any]:
    """Gives `column` one type; it stays as it is where it has but one already."""
    types = [None if dataset.features is None else dataset.features[column] for dataset in datasets]
    if None in types:  # a stream does not know its types, and joining streams does not ask for them
        return datasets
    filled = [kind for kind in types if kind != Value("null")]
    if all(kind == filled[0] for kind in filled):
        return datasets

    def encode_row(row: dict[str, Any]) -> dict[str, Any]:
        return {column: None if row[column] is None else [encode(entry) for entry in row[column]]}

    def encoded(dataset: Any) -> Any:
        dataset = keep_encoded(dataset, (column,))
        features = dataset.features.copy()
        features[column] = List(common)
        return dataset.map(encode_row, features=features, desc=f"Harmonising {column.lstrip('_')}")

    return [
        dataset if kind == Value("null") else encoded(dataset) for dataset, kind in zip(datasets, types, strict=True)
    ]


def _encode_image(image: Any) -> dict[str, Any]:
    if isinstance(image, str):
        return {"bytes": None, "path": image}
    if isinstance(image, PILImage):
        return {"bytes": as_file(image), "path": None}
    return {"bytes": image["bytes"], "path": image["path"]}


def _encode_video(video: Any) -> str:
    if isinstance(video, str):  # a file, or already what gaze data have
        return video
    check_video(video)
    return attach_to_video(video, None)
