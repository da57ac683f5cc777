"""A valid row of a gaze data set, and the converter that reads it, without LLaMA-Factory's loader around it."""

from types import SimpleNamespace
from typing import Any


def valid_row() -> dict[str, Any]:
    return {
        "id": "r3",
        "participant": "p1",
        "conversations": [
            {"from": "human", "value": "<image>Describe the image."},
            {"from": "gpt", "value": "a red circle."},
        ],
        "images": ["image.png"],
        "saliencies": ["map.png"],
        "_gaze_row": 3,
    }


def converter(media_dir):
    from llamafactory.data.parser import DatasetAttr

    from llamafactory_gaze.integration.converter import GazeDatasetConverter

    attr = DatasetAttr("file", dataset_name="bad")
    attr.join({"formatting": "gaze", "columns": {"messages": "conversations", "images": "images"}})
    data_args = SimpleNamespace(media_dir=str(media_dir), template="qwen2_5_vl_gaze", gaze=None)
    return GazeDatasetConverter(attr, data_args)
