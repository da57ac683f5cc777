"""A shared data set trains like its files: the same tensors through LLaMA-Factory's own loader, 16-bit maps and all."""

import json
import os

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from llamafactory_gaze.data.hub import ShareOptions, share_dataset
from tests.integration.conftest import SIZES, load_data, register, row, save_image, save_map


@pytest.fixture
def both(tmp_path):
    """(folder of files, the same data set shared): 16- and 8-bit maps of several sizes, a row without, one with two."""
    files = tmp_path / "files"
    files.mkdir()
    for i, (size, bits) in enumerate(zip(SIZES, (16, 8, 16), strict=True)):
        save_image(files / f"images/{i}.png", size, i)
        save_map(files / f"maps/{i}.png", (size[0] // 2, size[1] // 2) if i else size, 10 + i, bits)
    rows = [
        row([f"images/{i}.png"], [f"maps/{i}.png"], text=f"number {i}", id=f"r{i}", boxes=[[0.5, i]]) for i in range(3)
    ]
    rows.append(row(["images/1.png"], None, id="r3"))
    rows.append(row(["images/0.png", "images/2.png"], [None, "maps/2.png"], id="r4"))
    for name in ("gaze_stage1", "gaze_stage2", "gaze_test"):
        register(files, name, rows[:3] if name == "gaze_test" else rows)
    share_dataset(ShareOptions("gaze", files, tmp_path / "shared"))
    return files, tmp_path / "shared"


def assert_same(one, other):
    assert one.keys() == other.keys()
    for key in one:
        assert torch.equal(one[key], other[key]), key


@pytest.mark.parametrize("name", ["gaze_stage1", "gaze_test"])
def test_the_folder_is_a_dataset_dir(both, name):
    files, shared = both
    dataset, batch = load_data(shared, dataset=name)
    assert len(dataset) == (3 if name == "gaze_test" else 5)
    assert_same(batch, load_data(files, dataset=name)[1])


def test_the_layout_of_the_hub(both, tmp_path):
    """`hf_hub_url` with subset and split, as on the Hub, here of a folder on disk."""
    files, shared = both
    expected = {"gaze_stage2": ("stage2", "train"), "gaze_test": ("test", "test")}
    for name, (subset, split) in expected.items():
        entry = {"hf_hub_url": str(shared), "subset": subset, "split": split}
        register(tmp_path, name, [], **entry)
        assert_same(load_data(tmp_path, dataset=name)[1], load_data(files, dataset=name)[1])


def test_streaming_from_the_layout_of_the_hub(both, tmp_path):
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
    from llamafactory.model import load_tokenizer

    from tests.integration.conftest import parse

    register(tmp_path, "gaze", [], hf_hub_url=str(both[1]), subset="stage1", split="train")
    model_args, data_args, training_args, *_ = parse(tmp_path, streaming=True, max_steps=1)
    module = load_tokenizer(model_args)
    template = get_template_and_fix_tokenizer(module["tokenizer"], data_args)
    dataset = get_dataset(template, model_args, data_args, training_args, stage="sft", **module)["train_dataset"]
    assert len(list(dataset)) == 5


def test_files_and_shared_data_mix(both):
    files, shared = both
    info = json.loads((files / "dataset_info.json").read_text())
    info["shared"] = {**json.loads((shared / "dataset_info.json").read_text())["gaze_stage1"]}
    info["shared"]["file_name"] = os.path.relpath(shared / "stage1", files)
    (files / "dataset_info.json").write_text(json.dumps(info))
    dataset, batch = load_data(files, dataset="shared,gaze_stage1")
    assert len(dataset) == 10
    half = batch["pixel_values"].shape[0] // 2
    assert torch.equal(batch["pixel_values"][:half], batch["pixel_values"][half:])


def test_pictures_that_datasets_would_change(tmp_path):
    """`datasets` turns by EXIF orientation and cannot hand on CMYK; files are taken as they are, and so are these."""
    files = tmp_path / "files"
    (files / "images").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (112, 168, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(pixels).save(files / "images/0.jpg", exif=exif)
    Image.fromarray(pixels).convert("CMYK").save(files / "images/1.jpg")
    rows = []
    for i in range(2):
        save_map(files / f"maps/{i}.png", (168, 112), i)
        rows.append(row([f"images/{i}.jpg"], [f"maps/{i}.png"], id=f"r{i}"))
    register(files, "gaze", rows)
    share_dataset(ShareOptions("gaze", files, tmp_path / "shared"))
    assert_same(load_data(tmp_path / "shared")[1], load_data(files)[1])


def test_every_16_bit_value_survives(tmp_path):
    """A map of all 65536 values."""
    files = tmp_path / "files"
    save_image(files / "images/0.png", (256, 256), 0)
    (files / "maps").mkdir()
    Image.fromarray(np.arange(65536, dtype=np.uint16).reshape(256, 256)).save(files / "maps/0.png")
    register(files, "gaze", [row(["images/0.png"], ["maps/0.png"])])
    share_dataset(ShareOptions("gaze", files, tmp_path / "shared"))

    from datasets import load_dataset

    ((saliency,),) = load_dataset(str(tmp_path / "shared"), "gaze", split="train")["saliencies"]
    assert np.array_equal(np.asarray(saliency), np.arange(65536).reshape(256, 256))
    assert_same(load_data(tmp_path / "shared")[1], load_data(files)[1])
