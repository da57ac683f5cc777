"""A media folder with an image and its map, and what shows them to the model."""

import pytest
import torch  # noqa: F401 - arms the plug-in

from tests.bad_input import test_bad_maps as maps
from tests.explain.conftest import make_processor
from tests.integration.conftest import registry  # noqa: F401 - a fixture


@pytest.fixture(scope="session")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad") / "media"
    folder.mkdir()
    maps.GREY.convert("RGB").save(folder / "image.png")
    (folder / "map.png").write_bytes(maps.VALID)
    return folder


@pytest.fixture(scope="session")
def plugin():
    """Images with their maps -> pixel values, by the multimodal plug-in of the template."""
    from llamafactory.data.template import TEMPLATES

    processor = make_processor()
    for name, value in {"image_max_pixels": 10**6, "image_min_pixels": 32 * 32}.items():
        setattr(processor, name, value)
    mm_plugin = TEMPLATES["qwen2_5_vl_gaze"].mm_plugin
    return lambda images: mm_plugin._get_mm_inputs(images, [], [], processor)["pixel_values"].numpy()
