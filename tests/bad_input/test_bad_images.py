"""Images that cannot be used, or that lie where a data set must not reach, through the converter."""

import os
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.bad_input.outcomes import REFUSED, bombs, cases, check_number, outcome
from tests.bad_input.rows import converter, valid_row
from tests.bad_input.test_bad_maps import GREY, saved


RGB = GREY.convert("RGB")
VALID = saved(RGB)
REFUSED_FILES = {
    "16-bit": saved(Image.fromarray(np.full((24, 32), 40_000, np.uint16))),
    "float tiff": saved(GREY.convert("F"), "TIFF"),
    "32-bit tiff": saved(Image.fromarray(np.full((24, 32), 40_000, np.int32)), "TIFF"),
    "of another shape": saved(RGB.resize((32, 32))),
    "one pixel": saved(RGB.resize((1, 1))),
    "nothing": b"",
    "text": b"no image",
    **{name: content for name, content in bombs().items() if "unpacks" not in name},
}
# LLaMA-Factory shows the model RGB, and of several pictures the first.
TAKEN_FILES = {
    **{f"png of mode {mode}": saved(RGB.convert(mode)) for mode in ("L", "LA", "RGBA", "P", "1")},
    "cmyk jpeg": saved(RGB.convert("CMYK"), "JPEG"),
    "animated gif": saved(RGB, "GIF", save_all=True, append_images=[RGB.rotate(90)]),
    "two pages": saved(RGB, "TIFF", save_all=True, append_images=[RGB]),
}


@pytest.mark.parametrize("embedded", [True, False])
@pytest.mark.parametrize("name", [*REFUSED_FILES, *TAKEN_FILES])
def test_an_image_of_another_kind(media, name, embedded):
    content = {**REFUSED_FILES, **TAKEN_FILES}[name]
    (media / "odd.png").write_bytes(content)
    image = {"bytes": content, "path": None} if embedded else "odd.png"
    row = {**valid_row(), "images": [image]}
    found = outcome("images", (name, embedded), lambda: converter(media)(row), "row 3")
    if name in REFUSED_FILES:
        assert found is REFUSED
    else:
        ((entry,),) = (found["_images"],)
        assert "#saliency=" in (entry["path"] if embedded else entry)


@cases(100)
@given(st.data())
def test_a_damaged_image_is_named_at_the_latest_when_it_is_shown(media, plugin, data):
    content = bytearray(VALID)
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:at]
    else:
        content[at] ^= data.draw(st.integers(1, 255))
    (media / "odd.png").write_bytes(content)
    row = {**valid_row(), "images": ["odd.png"]}

    def show():
        found = converter(media)(row)
        return plugin(found["_images"])

    found = outcome("images", bytes(content), show, "odd.png")
    if found is not REFUSED:  # as a byte of the end mark, or of a size in centimetres
        (media / "odd.png").write_bytes(VALID)
        assert np.array_equal(found, show())


def places(media, role):
    """Name in a row -> whether it may be used."""
    secret = media.parent / "secret" / f"{role}.png"
    secret.parent.mkdir(exist_ok=True)
    inside = media / f"{role}.png"
    shutil.copy(inside, secret)
    for name, target in (("link", secret), ("up", secret.parent), ("own", inside)):
        (media / f"{role}_{name}.png").unlink(missing_ok=True)
        (media / f"{role}_{name}.png").symlink_to(target)
    (media / f"{role}_pipe.png").unlink(missing_ok=True)
    os.mkfifo(media / f"{role}_pipe.png")
    return {
        f"{role}.png": True, f"./{role}.png": True, f"{role}_own.png": True, str(inside): True,
        f"../{media.name}/{role}.png": True, f"../secret/{role}.png": False, str(secret): False,
        f"{role}_link.png": False, f"{role}_up.png/{role}.png": False, f"{role}_pipe.png": False,
        f"a/../../secret/{role}.png": False, "/dev/zero": False, "/etc/hostname": False, ".": False,
        "missing.png": False, f"{role}.png/": False, f"..\\secret\\{role}.png": False,
    }  # fmt: skip


@pytest.mark.parametrize("role", ["image", "map"])
@pytest.mark.parametrize("embedded", [True, False])
def test_files_outside_of_the_media_folder_are_refused(media, role, embedded):
    for name, allowed in places(media, role).items():
        column = {"image": "images", "map": "saliencies"}[role]
        named = os.path.join(media, name) if embedded and role == "image" else name  # as `datasets` names its files
        row = {**valid_row(), column: [{"path": named, "bytes": None} if embedded else named]}
        found = outcome("images", (role, name, embedded), lambda row=row: converter(media)(row), "row 3")
        assert (found is not REFUSED) == allowed, name


def test_media_dir_says_what_may_be_used(media):
    (media.parent / "secret").mkdir(exist_ok=True)
    shutil.copy(media / "image.png", media.parent / "secret/image.png")
    row = {**valid_row(), "images": ["secret/image.png"], "saliencies": [f"{media.name}/map.png"]}
    found = converter(media.parent)(row)["_images"]
    assert found == [f"{media.parent}/secret/image.png#saliency={media}/map.png"]


def test_there_were_as_many_cases_as_we_say():
    check_number("images")
