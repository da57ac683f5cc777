"""Lets data sets with files and data sets with embedded images train alike, and stand in one `dataset:` list.

Arrow joins columns of equal type only: a list of paths, a list of `{"bytes", "path"}` and a list of the `datasets`
library's own Image type are three types. Where they meet, all become `{"bytes", "path"}`, which LLaMA-Factory reads.
"""

from typing import Any

from datasets import Image, List, Value
from PIL.Image import Image as PILImage

from llamafactory_gaze.integration.references import as_file


IMAGES = "_images"
ENCODED = List({"bytes": Value("binary"), "path": Value("string")})


def keep_encoded(dataset: Any, columns: tuple[str, ...]) -> Any:
    """A data set whose columns of embedded images give the bytes of the files, instead of decoding every row.

    That saves most of the preprocessing, and it is exact: decoded by `datasets`, an image with an EXIF orientation is
    turned, and one in CMYK cannot be written as PNG again. Files are neither.
    """
    for column in columns:
        if (dataset.features or {}).get(column) == List(Image()):
            dataset = dataset.cast_column(column, List(Image(decode=False)))
    return dataset


def harmonise_images(datasets: list[Any]) -> list[Any]:
    """Aligned data sets -> the same, with one type of `_images` among them; unchanged if they have but one already."""
    types = [None if dataset.features is None else dataset.features[IMAGES] for dataset in datasets]
    if None in types:  # a stream does not know its types, and joining streams does not ask for them
        return datasets
    filled = [kind for kind in types if kind != Value("null")]
    if all(kind == filled[0] for kind in filled):
        return datasets
    return [
        dataset if kind == Value("null") else _encoded(dataset, kind)
        for dataset, kind in zip(datasets, types, strict=True)
    ]


def _encoded(dataset: Any, kind: Any) -> Any:
    if kind == List(Image()):
        dataset = dataset.cast_column(IMAGES, List(Image(decode=False)))  # spares decoding every image
    features = dataset.features.copy()
    features[IMAGES] = ENCODED
    return dataset.map(_encode_row, features=features, desc="Harmonising images")


def _encode_row(row: dict[str, Any]) -> dict[str, Any]:
    return {IMAGES: None if row[IMAGES] is None else [_encode(image) for image in row[IMAGES]]}


def _encode(image: Any) -> dict[str, Any]:
    if isinstance(image, str):
        return {"bytes": None, "path": image}
    if isinstance(image, PILImage):
        return {"bytes": as_file(image), "path": None}
    return {"bytes": image["bytes"], "path": image["path"]}
