"""Saliency maps that are none, through `read_saliency_map`."""

import os
import pickle
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from llamafactory_gaze.saliency import read_saliency_map
from tests.bad_input.outcomes import ODD, REFUSED, bombs, cases, check_number, limits, outcome


VALUES = np.random.default_rng(0).integers(0, 65536, (24, 32), dtype=np.uint16)
EIGHT = (VALUES // 257).astype(np.uint8)


def saved(image: Image.Image, format: str = "PNG", **options) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


VALID = saved(Image.fromarray(VALUES))
GREY = Image.fromarray(EIGHT)


def numpy_file() -> bytes:
    buffer = BytesIO()
    np.save(buffer, np.array([object], dtype=object), allow_pickle=True)
    return buffer.getvalue()


UNPACKS = "png that unpacks to more"  # than its size says: only as much as that is unpacked
OTHER_FILES = {
    **{f"png of mode {mode}": saved(GREY.convert(mode)) for mode in ("RGB", "RGBA", "LA", "P", "1")},
    "float tiff": saved(GREY.convert("F"), "TIFF"),
    "cmyk tiff": saved(GREY.convert("CMYK"), "TIFF"),
    "cmyk jpeg": saved(GREY.convert("CMYK"), "JPEG"),
    "true 32-bit tiff": saved(Image.fromarray(VALUES.astype(np.int32) * 9), "TIFF"),
    "negative tiff": saved(Image.fromarray(VALUES.astype(np.int32) - 70_000), "TIFF"),
    "two pages": saved(GREY, "TIFF", save_all=True, append_images=[GREY]),
    "animated gif": saved(GREY, "GIF", save_all=True, append_images=[GREY.rotate(90)]),
    "animated png": saved(GREY, "PNG", save_all=True, append_images=[GREY.rotate(90)]),
    "transparent grey": saved(GREY, "PNG", transparency=0),
    "numpy": numpy_file(),
    "pickle": pickle.dumps({"a": os.getcwd}),
    "nothing": b"",
    "text": b"0.1,0.2\n",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "zip": b"PK\x03\x04" + bytes(40),
    **{name: content for name, content in bombs().items() if name != UNPACKS},
}
# Other files of the same map, or of any map, are harmless: only the values count.
OTHER_MAPS = {
    "16-bit tiff": (saved(Image.fromarray(VALUES), "TIFF"), VALUES / np.float32(65535)),
    "8-bit png": (saved(GREY), EIGHT / np.float32(255)),
    "8-bit tiff": (saved(GREY, "TIFF"), EIGHT / np.float32(255)),
    "pgm": (saved(GREY, "PPM"), EIGHT / np.float32(255)),
    "bmp": (saved(GREY, "BMP"), EIGHT / np.float32(255)),
    "one pixel": (saved(Image.fromarray(EIGHT[:1, :1])), EIGHT[:1, :1] / np.float32(255)),
    UNPACKS: (bombs()[UNPACKS], np.zeros((8, 8), np.float32)),
    "bytes behind the end": (VALID + b"\0" * 100, VALUES / np.float32(65535)),
}


@pytest.mark.parametrize("name", OTHER_MAPS)
def test_other_files_of_a_map_have_its_values(name):
    content, expected = OTHER_MAPS[name]
    with limits():
        found = read_saliency_map(content)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", OTHER_FILES)
@pytest.mark.parametrize("stored", [True, False])
def test_what_is_no_map_is_refused(tmp_path, name, stored):
    path = tmp_path / "odd.png"
    path.write_bytes(OTHER_FILES[name])
    source = path if stored else OTHER_FILES[name]
    found = outcome("maps", (name, stored), lambda: read_saliency_map(source), "odd.png", "embedded")
    assert found is REFUSED


@cases(260)
@given(st.data())
def test_a_damaged_map_is_refused_or_whole(data):
    """Bytes that carry nothing of the picture, such as those of the end mark, may be damaged."""
    content = bytearray(VALID)
    way = data.draw(st.sampled_from(("cut", "flip", "insert", "zero")))
    at = data.draw(st.integers(0, len(content) - 1))
    if way == "cut":
        content = content[:at]
    elif way == "flip":
        content[at] ^= data.draw(st.integers(1, 255))
    elif way == "insert":
        content[at:at] = data.draw(st.binary(min_size=1, max_size=20))
    else:
        content[at : at + 40] = bytes(len(content[at : at + 40]))
    if bytes(content) == VALID:
        return
    found = outcome("maps", bytes(content), lambda: read_saliency_map(bytes(content)), "embedded")
    if found is not REFUSED:
        np.testing.assert_array_equal(found, VALUES / np.float32(65535))


@pytest.mark.parametrize("i", range(len(ODD)))
@pytest.mark.parametrize("mapping", [False, True])
def test_what_is_no_source_is_refused(i, mapping):
    source = {"path": ODD[i]} if mapping else ODD[i]
    assert outcome("maps", ("source", i, mapping), lambda: read_saliency_map(source)) is REFUSED


def test_pipes_devices_and_folders_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for path in sorted(tmp_path.iterdir()):
        found = outcome("maps", path.name, lambda path=path: read_saliency_map(path), path.name)
        assert found is REFUSED


def test_there_were_as_many_cases_as_we_say():
    check_number("maps")
