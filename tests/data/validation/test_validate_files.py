"""Each fault of an image or map file is found, once, at the first row that uses it."""

import io
import os

import numpy as np
import pytest
from conftest import SIZE, blob, save_image, save_map
from PIL import ExifTags, Image

from llamafactory_gaze.data.validation import files
from llamafactory_gaze.data.validation.files import Inspector, check_range, inspect_image


def truncate(path):
    path.write_bytes(path.read_bytes()[:-200])


def turn(path):
    image = Image.open(path)
    exif = image.getexif()
    exif[ExifTags.Base.Orientation] = 6
    image.save(path, exif=exif)


@pytest.mark.parametrize(
    ("damage", "kind", "message"),
    [
        (lambda data: data.image(1).unlink(), "missing-file", "image small/images/i1.png does not exist in"),
        (lambda data: truncate(data.image(1)), "image-broken", "image small/images/i1.png cannot be decoded"),
        (lambda data: data.image(1).write_text("no picture"), "image-broken", "cannot be decoded (UnidentifiedImageE"),
        (lambda data: turn(data.image(1)), "image-turned", "EXIF orientation 6"),
        (lambda data: save_map(data.image(1), blob()), "image-depth", "i1.png has more than 8 bits (mode I;16)"),
        (lambda data: data.map(1).unlink(), "missing-file", "map small/maps/i1.png does not exist in"),
        (lambda data: truncate(data.map(1)), "map-unusable", "saliency map small/maps/i1.png cannot be decoded"),
        (lambda data: save_image(data.map(1), 1), "map-unusable", "is an RGB colour image"),
        (lambda data: save_map(data.map(1), blob((60, 80))), "map-aspect", "60x80, does not have the aspect ratio"),
        (lambda data: save_map(data.map(1), 0 * blob()), "map-black", "is all black"),
        (lambda data: save_map(data.map(1), 0 * blob() + 0.5), "map-constant", "is 0.5 everywhere"),
        (lambda data: save_map(data.map(1), blob() / 257), "map-eight-bits", "8-bit values in a 16-bit file"),
        (lambda data: save_map(data.map(1), blob() / 3), "map-dim", "has the maximum 0.333"),
        (lambda data: save_map(data.map(1), np.clip(20 * blob(), 0, 1)), "map-clipped", "of its pixels"),
    ],
)
def test_a_fault_of_one_file(valid, damage, kind, message):
    damage(valid)
    (problem,) = valid.validate().problems
    assert (problem.kind, problem.row, problem.id, problem.more_rows) == (kind, 2, "i1_p1", 3)
    assert problem.file == str(valid.file("stage1")) and message in problem.message
    assert f"{valid.file('stage1')}, row 2 (id i1_p1) and 3 more rows: " in str(problem)


def test_maps_of_other_sizes_and_depths_are_fine(valid):
    save_map(valid.map(0), blob((40, 30)))
    save_map(valid.map(1), blob((160, 120)), bits=8)
    save_map(valid.map(2), blob((27, 20)))  # rounded, within one pixel
    assert valid.found() == []


def test_a_few_white_pixels_are_no_clipping():
    saliency = np.zeros((10, 10), np.float32)
    saliency.flat[:25] = 1
    assert [finding.kind for finding in check_range(saliency, "x")] == []
    saliency.flat[25] = 1
    assert [finding.kind for finding in check_range(saliency, "x")] == ["map-clipped"]


def test_pictures_that_are_too_large_are_not_decoded(valid, monkeypatch):
    monkeypatch.setattr(files, "MAX_IMAGE_PIXELS", SIZE[0] * SIZE[1])
    assert valid.found() == []
    monkeypatch.setattr(files, "MAX_IMAGE_PIXELS", SIZE[0] * SIZE[1] - 1)
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", lambda _: pytest.fail("decoded"))
    with Inspector(1) as inspector:
        key = inspector.file("image", str(valid.image(0)), "i0.png")
        assert [finding.kind for finding in inspector.facts(key).findings] == ["image-too-large"]


def test_a_decompression_bomb_of_pil_is_too_large():
    """A PNG header that claims 30000 x 30000 pixels."""
    import struct
    import zlib

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b""))
    assert [finding.kind for finding in inspect_image(content, "bomb.png").findings] == ["image-too-large"]


def test_huge_files_are_not_read(valid):
    """Nor are two of them taken for the same."""
    for number in (0, 4):
        with valid.image(number).open("r+b") as file:
            file.truncate(files.MAX_FILE_BYTES + 1)  # sparse
    assert valid.found() == [
        ("image-too-large", "stage1.json", 0, "i0_p1"),
        ("image-too-large", "test.json", 0, "i4_p1"),
    ]


@pytest.mark.parametrize(
    ("rename", "kinds"),
    [
        (lambda data: str(data.image(1)), ["path-absolute"]),
        (lambda data: "small/maps/../images/i1.png", ["path-outside"]),
        (lambda data: "../elsewhere.png", ["path-outside", "missing-file"]),
        (lambda data: "C:\\photos\\i1.png", ["path-absolute", "missing-file"]),
        (lambda data: "", ["path"]),
    ],
)
def test_paths_stay_inside_the_media_folder(valid, rename, kinds):
    for stage in ("stage1", "stage2"):
        valid.rows[stage][3]["images"] = [rename(valid)]
    assert valid.found() == [(kind, "stage1.json", 3, "i1_p2") for kind in kinds]


def test_links_stay_inside_the_media_folder(valid, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "i1.png"
    valid.image(1).rename(outside)
    valid.image(1).symlink_to(outside)
    (problem,) = valid.validate().problems
    assert (problem.kind, problem.row) == ("path-link", 2) and str(outside) in problem.message
    outside.rename(valid.folder / "small" / "moved.png")
    valid.image(1).unlink()
    valid.image(1).symlink_to(valid.folder / "small" / "moved.png")
    assert valid.found() == []


def test_a_reserved_name(valid):
    valid.image(4).rename(valid.folder / "small/images/i4#saliency=x.png")
    for row in valid.rows["test"][:2]:
        row["images"] = ["small/images/i4#saliency=x.png"]
    assert valid.found() == [("path-reserved", "test.json", 0, "i4_p1")]


def test_special_files_are_not_opened(valid):
    """A pipe in place of an image would block for ever."""
    valid.image(4).unlink()
    os.mkfifo(valid.image(4))
    assert valid.found() == [("missing-file", "test.json", 0, "i4_p1")]


def test_each_file_is_decoded_once(valid, monkeypatch):
    names = []
    stock = files.inspect_image
    monkeypatch.setitem(files._INSPECT, "image", lambda content, name: names.append(name) or stock(content, name))
    for row in valid.rows["test"][1::2]:
        row["images"] = [row["images"][0].replace("small/", "small/./")]  # the same file in other words
    assert valid.found() == []
    assert sorted(names) == [f"small/images/i{i}.png" for i in range(6)]


def test_every_mode_of_an_image_can_be_decoded():
    """CMYK, palette, grey and transparent images are valid images."""
    for mode, format in (("CMYK", "JPEG"), ("P", "PNG"), ("L", "PNG"), ("RGBA", "PNG"), ("1", "PNG")):
        buffer = io.BytesIO()
        Image.new(mode, (8, 6)).save(buffer, format)
        facts = inspect_image(buffer.getvalue(), mode)
        assert (facts.findings, facts.size) == ((), (8, 6)), mode
