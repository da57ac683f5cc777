"""Reading saliency maps: values of every accepted form, and one clear sentence for every other file."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from llamafactory_gaze.saliency import (
    SaliencyMapError,
    check_aspect_ratio,
    overlay,
    probe_saliency_map,
    read_saliency_map,
)


VALUES = np.array([[0, 1, 128], [200, 254, 255]], dtype=np.uint8)


def encoded(image, file_format="PNG"):
    buffer = io.BytesIO()
    image.save(buffer, file_format)
    return buffer.getvalue()


def sixteen_bit(mode="I;16", file_format="PNG"):
    values = VALUES.astype(np.uint16) * 257
    return encoded(
        Image.frombytes(mode, (3, 2), values.astype({"I;16": "<u2", "I;16B": ">u2", "I": "<i4"}[mode]).tobytes()),
        file_format,
    )


@pytest.mark.parametrize(
    "content",
    [
        encoded(Image.fromarray(VALUES)),
        encoded(Image.fromarray(VALUES), "TIFF"),
        sixteen_bit(),
        sixteen_bit("I;16", "TIFF"),
        sixteen_bit("I;16B", "TIFF"),
        sixteen_bit("I", "PPM"),
    ],
    ids=["png8", "tiff8", "png16", "tiff16", "tiff16-big-endian", "pgm16"],
)
def test_every_accepted_form_gives_the_same_values(content):
    saliency = read_saliency_map(content)
    assert saliency.dtype == np.float32
    np.testing.assert_allclose(saliency, VALUES / 255.0, atol=1e-6)
    assert probe_saliency_map(content) == (3, 2)


def test_sources(tmp_path):
    content = sixteen_bit()
    path = tmp_path / "map.png"
    path.write_bytes(content)
    reference = read_saliency_map(content)
    for source in (
        path,
        str(path),
        {"path": str(path), "bytes": None},
        {"path": "gone.png", "bytes": content},  # `datasets` keeps the old name beside embedded bytes
        Image.open(path),
    ):
        np.testing.assert_array_equal(read_saliency_map(source), reference)


def big_png(width, height):
    """A PNG whose header promises a size that its data do not have."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def transparent_grey():
    buffer = io.BytesIO()
    Image.fromarray(VALUES).save(buffer, "PNG", transparency=0)
    return buffer.getvalue()


def two_pages():
    buffer = io.BytesIO()
    page = Image.fromarray(VALUES)
    page.save(buffer, "TIFF", save_all=True, append_images=[page])
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (encoded(Image.new("RGB", (3, 2))), "an RGB colour image;"),
        (encoded(Image.new("RGBA", (3, 2))), "alpha channel"),
        (encoded(Image.new("LA", (3, 2))), "a greyscale image with an alpha channel"),
        (encoded(Image.new("P", (3, 2))), "a colour palette"),
        (encoded(Image.new("1", (3, 2))), "1-bit"),
        (encoded(Image.new("F", (3, 2)), "TIFF"), "floating-point"),
        (encoded(Image.new("CMYK", (3, 2)), "TIFF"), "PIL mode CMYK"),
        (transparent_grey(), "a transparent colour"),
        (two_pages(), "a file of 2 images"),
        (big_png(30_000, 30_000), "too many"),
        (big_png(8_193, 8_192), "8193x8192 pixels"),
        (big_png(0, 4), ""),
        (b"", "cannot be decoded"),
        (b"x,y\n1,2\n", "cannot be decoded"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_other_files_are_refused_by_name(content, found, tmp_path):
    path = tmp_path / "bad_map.png"
    path.write_bytes(content)
    for function in (read_saliency_map, probe_saliency_map):
        with pytest.raises(SaliencyMapError) as error:
            function(path)
        assert "bad_map.png" in str(error.value)
        assert found in str(error.value)
        assert "expected" in str(error.value)


@pytest.mark.parametrize("values", [[-1, 5], [0, 65536]])
def test_32_bit_values_are_refused(values):
    content = encoded(Image.fromarray(np.array([values], dtype=np.int32)), "TIFF")
    with pytest.raises(SaliencyMapError, match=f"values from {values[0]} to {values[1]}"):
        read_saliency_map(content)


def test_a_truncated_file_passes_the_probe_but_not_the_reading(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 48), dtype=np.uint8)
    path = tmp_path / "cut.png"
    path.write_bytes(encoded(Image.fromarray(noise))[:1500])
    assert probe_saliency_map(path) == (48, 64)
    for source in (path, Image.open(path)):
        with pytest.raises(SaliencyMapError, match=r"cut\.png cannot be decoded"):
            read_saliency_map(source)


@pytest.mark.parametrize("source", [None, 3, {}, {"path": None, "bytes": None}])
def test_what_is_no_source(source):
    with pytest.raises(SaliencyMapError, match="write null"):
        read_saliency_map(source)


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(SaliencyMapError, match=r"no\.png does not exist"):
        read_saliency_map(tmp_path / "no.png")
    with pytest.raises(SaliencyMapError, match="IsADirectoryError"):
        read_saliency_map(tmp_path)


def test_damaged_files_end_in_our_error_only():
    rng = np.random.default_rng(1)
    whole = np.frombuffer(encoded(Image.fromarray(rng.integers(0, 256, (9, 11), dtype=np.uint8))), dtype=np.uint8)
    for _ in range(300):
        damaged = whole.copy()
        damaged[rng.integers(0, len(whole), 4)] = rng.integers(0, 256, 4)
        with contextlib.suppress(SaliencyMapError):
            assert read_saliency_map(damaged.tobytes()).dtype == np.float32


@pytest.mark.parametrize(
    ("map_size", "fits"),
    [
        ((800, 600), True),
        ((133, 100), True),
        ((134, 100), True),
        ((8, 6), True),
        ((801, 600), True),
        ((802, 600), False),
        ((803, 600), False),
        ((800, 603), False),
        ((600, 800), False),
        ((800, 800), False),
    ],
)
def test_aspect_ratio_within_one_pixel_of_the_map(map_size, fits):
    width, height = map_size
    assert fits == (abs(height - width * 1200 / 1600) <= 1 or abs(width - height * 1600 / 1200) <= 1)
    if fits:
        check_aspect_ratio(map_size, (1600, 1200))
    else:
        with pytest.raises(SaliencyMapError, match=f"m.png, {width}x{height}.*i.jpg, 1600x1200"):
            check_aspect_ratio(map_size, (1600, 1200), "m.png", "i.jpg")


def test_overlay_colours_only_where_somebody_looked():
    image = Image.new("RGB", (40, 20), (90, 90, 90))
    saliency = np.zeros((20, 40), dtype=np.float32)
    saliency[:, 30:] = 1.0
    result = np.asarray(overlay(image, saliency))
    assert result.shape == (20, 40, 3)
    assert (result[:, :30] == 90).all()
    assert (result[:, 30:, 0] > 180).all() and (result[:, 30:, 2] < 90).all()
