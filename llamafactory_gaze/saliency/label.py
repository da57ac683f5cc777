"""What a map says of itself: no file of a predicted or drawn map can be mistaken for gaze.

`llamafactory-gaze predict-map` writes the label into the PNG, as one text for people (`Description`) and one for
machines. Maps of an eye tracker's fixations have none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llamafactory_gaze.saliency.maps import MapSource, SaliencyMapError, open_map


KEYWORD = "llamafactory-gaze"


def label_texts(label: Mapping[str, Any]) -> dict[str, str]:
    """The texts of a PNG by keyword that carry a label; the reverse of `read_label`.

    Args:
        label: what JSON can hold, with `source`, and `method` where there is one.
    """
    sentence = f"Not recorded by an eye tracker, but made from another source: {source_in_words(label)}."
    return {"Description": sentence, KEYWORD: json.dumps(label, ensure_ascii=False)}


def read_label(source: MapSource) -> dict[str, Any] | None:
    """The label in the file of a map, read without its pixels; None where it has none.

    Raises:
        SaliencyMapError: the file cannot be opened, or has a label that is damaged.
    """
    with open_map(source) as (image, name):
        text = image.info.get(KEYWORD)
    if text is None:
        return None
    try:
        label = json.loads(text)
        if not isinstance(label["source"], str):
            raise ValueError("its source is no text")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SaliencyMapError(
            f"Saliency map {name} says what it was made of in a way that cannot be read ({type(error).__name__}: "
            f"{error}); expected the text that `llamafactory-gaze predict-map` writes; make the map again."
        ) from error
    return label


def map_source(source: MapSource) -> str | None:
    """What a map was made of, where not of an eye tracker's fixations: `saliency predictor, spectral-residual`.

    None where the file does not say, as all maps of `heatmaps` and `dataset` and all those of other programs.

    Raises:
        SaliencyMapError: as `read_label`.
    """
    label = read_label(source)
    return None if label is None else source_in_words(label)


def source_in_words(label: Mapping[str, Any]) -> str:
    """Source and method of a label."""
    return ", ".join(str(label[key]) for key in ("source", "method") if label.get(key) is not None)
