"""The label of a map against PIL's own reading of the PNG, and what other files say."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from llamafactory_gaze.data.maps.heatmaps import encode_map
from llamafactory_gaze.saliency import SaliencyMapError, map_source, read_saliency_map
from llamafactory_gaze.saliency.label import KEYWORD, label_texts, read_label


MAP = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
LABEL = {"source": "mouse trace", "method": None, "sigma_px": 3, "trace": "Mäuse 鼠.csv"}


def test_a_label_stands_in_the_png_for_people_and_machines_and_changes_no_pixel():
    content = encode_map(MAP, label_texts(LABEL))
    np.testing.assert_array_equal(read_saliency_map(content), read_saliency_map(encode_map(MAP)))
    with Image.open(io.BytesIO(content)) as image:
        image.load()  # checks every chunk's checksum
        assert json.loads(image.text[KEYWORD]) == LABEL
        assert image.text["Description"] == (
            "Not recorded by an eye tracker, but made from another source: mouse trace."
        )
    assert read_label(content) == LABEL and map_source(content) == "mouse trace"
    assert map_source(encode_map(MAP, label_texts({"source": "a", "method": "b"}))) == "a, b"


def test_a_map_of_fixations_says_nothing(tmp_path):
    (tmp_path / "map.png").write_bytes(encode_map(MAP))
    assert map_source(tmp_path / "map.png") is None
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(tmp_path / "map.jpg")
    assert map_source(tmp_path / "map.jpg") is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"source": 3}', "[" * 100_000])
def test_a_damaged_label_is_an_error_and_no_silence(text):
    buffer, texts = io.BytesIO(), PngInfo()
    texts.add_text(KEYWORD, text)
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(buffer, "PNG", pnginfo=texts)
    with pytest.raises(SaliencyMapError, match="cannot be read"):
        map_source(buffer.getvalue())
