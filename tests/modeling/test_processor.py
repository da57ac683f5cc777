"""The processor with saliencies: against the stock processor, numpy, and itself saved and loaded."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, BatchFeature, Qwen2_5_VLProcessor

from llamafactory_gaze import Qwen2_5_VLGazeProcessor
from llamafactory_gaze.demo.run import BASE_MODEL
from llamafactory_gaze.saliency.maps import SaliencyMapError
from llamafactory_gaze.saliency.patches import patchify
from llamafactory_gaze.saliency.points import gaze_sentence


SIZES = [(224, 168), (112, 84), (168, 168)]
COLOURS, CHANNEL = 3 * 2 * 14 * 14, 2 * 14 * 14


def image(i: int) -> Image.Image:
    width, height = SIZES[i]
    return Image.fromarray(np.random.default_rng(i).integers(0, 256, (height, width, 3), dtype=np.uint8))


def saliency(i: int) -> np.ndarray:
    width, height = SIZES[i]
    return np.random.default_rng(10 + i).random((height // 2, width // 2)).astype(np.float32)


@pytest.fixture(scope="module")
def stock() -> Qwen2_5_VLProcessor:
    return AutoProcessor.from_pretrained(BASE_MODEL)


@pytest.fixture(scope="module")
def processor(stock) -> Qwen2_5_VLGazeProcessor:
    return Qwen2_5_VLGazeProcessor.from_stock(stock, "cross_attention")


def turn(*images: dict, text: str = "Describe the image.") -> list[dict]:
    return [
        {"role": "user", "content": [*({"type": "image", **each} for each in images), {"type": "text", "text": text}]}
    ]


def prompt(processor, images: int = 1) -> str:
    return processor.apply_chat_template(turn(*[{}] * images), add_generation_prompt=True)


def assert_same(found: BatchFeature, expected: BatchFeature) -> None:
    assert set(found) == set(expected)
    for name in expected:
        assert torch.equal(torch.as_tensor(found[name]), torch.as_tensor(expected[name])), name


def test_a_batch_of_texts_with_several_images(stock, processor):
    images, maps = [[image(0), image(1)], [image(2)]], [[saliency(0), None], [saliency(2)]]
    texts = [prompt(processor, 2), prompt(processor)]
    found = processor(images=images, saliencies=maps, text=texts, padding=True, return_tensors="pt")
    expected = stock(images=images, text=texts, padding=True, return_tensors="pt")
    pixels = found.pop("pixel_values")
    assert torch.equal(pixels[:, :COLOURS], expected.pop("pixel_values"))
    assert_same(found, expected)
    grids = [tuple(grid) for grid in found["image_grid_thw"].tolist()]
    counts = [t * h * w for t, h, w in grids]
    channel = pixels[:, COLOURS:].numpy()
    bounds = np.cumsum([0, *counts])
    assert np.array_equal(channel[: bounds[1]], patchify(saliency(0), grids[0]))
    assert (channel[bounds[1] : bounds[2]] == -1).all()
    assert np.array_equal(channel[bounds[2] :], patchify(saliency(2), grids[2]))
    # The lists may as well be flat.
    images, maps = [image(0), image(1), image(2)], [saliency(0), None, saliency(2)]
    flat = processor(images=images, saliencies=maps, text=texts, padding=True, return_tensors="pt")
    assert torch.equal(flat["pixel_values"], pixels)


@pytest.mark.parametrize("saliencies", [None, [None]])
def test_without_maps_it_is_the_stock_processor(stock, processor, saliencies):
    expected = stock(images=[image(0)], text=[prompt(stock)], return_tensors="pt")
    assert_same(
        processor(images=[image(0)], saliencies=saliencies, text=[prompt(stock)], return_tensors="pt"), expected
    )
    assert_same(processor(text=["no image"], return_tensors="pt"), stock(text=["no image"], return_tensors="pt"))


def test_every_form_of_image_and_map(tmp_path, processor):
    grey = (saliency(0) * 255).round().astype(np.uint8)
    values = grey.astype(np.float32) / 255
    Image.fromarray(grey).save(tmp_path / "map.png")
    image(0).save(tmp_path / "image.png")
    expected = processor(images=[image(0)], saliencies=[values], text=[prompt(processor)], return_tensors="pt")
    for picture in (image(0), str(tmp_path / "image.png"), np.asarray(image(0)), torch.from_numpy(np.array(image(0)))):
        for gaze in (values, torch.from_numpy(values), str(tmp_path / "map.png"), Image.fromarray(grey)):
            found = processor(images=picture, saliencies=gaze, text=prompt(processor), return_tensors="pt")
            assert_same(found, expected)
    as_numpy = processor(images=image(0), saliencies=values, text=prompt(processor), return_tensors="np")
    assert isinstance(as_numpy["pixel_values"], np.ndarray)
    assert np.array_equal(as_numpy["pixel_values"], expected["pixel_values"].numpy())


def test_chat_templates_take_maps_beside_their_images(tmp_path, processor):
    image(1).save(tmp_path / "image.png")
    conversations = [
        turn({"image": image(0), "saliency": saliency(0)}, {"url": str(tmp_path / "image.png")}),
        turn({"path": str(tmp_path / "image.png"), "saliency": saliency(1)}),
    ]
    how = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
    found = processor.apply_chat_template(conversations, processor_kwargs={"padding": True}, **how)
    expected = processor(
        images=[image(0), image(1), image(1)],
        saliencies=[saliency(0), None, saliency(1)],
        text=[prompt(processor, 2), prompt(processor)],
        padding=True,
        return_tensors="pt",
    )
    assert_same(found, expected)
    assert conversations[0][0]["content"][0]["saliency"] is not None  # the caller's list is left as it was
    alone = processor.apply_chat_template(conversations[1], **how)
    assert alone["pixel_values"].shape[1] == COLOURS + CHANNEL
    with pytest.raises(ValueError, match='"saliency" stands in an item without an image'):
        processor.apply_chat_template([{"role": "user", "content": [{"type": "text", "text": "", "saliency": "a"}]}])


def test_gaze_in_the_prompt_stands_behind_its_image(stock):
    processor = Qwen2_5_VLGazeProcessor.from_stock(stock, "text")
    texts = [prompt(stock, 2), prompt(stock)]
    maps = [saliency(0), None, saliency(2)]
    found = processor(
        images=[image(i) for i in range(3)], saliencies=maps, text=texts, padding=True, return_tensors="pt"
    )
    sentences = [gaze_sentence(saliency(i), SIZES[i]) for i in (0, 2)]
    end = "<|vision_end|>"
    first = texts[0].replace(end, end + sentences[0], 1)
    expected = stock(
        images=[image(i) for i in range(3)],
        text=[first, texts[1].replace(end, end + sentences[1])],
        padding=True,
        return_tensors="pt",
    )
    assert_same(found, expected)


def test_a_large_image_is_scaled_down_as_in_training(processor):
    large = image(0).resize((896, 672))
    found = processor(images=large, text=prompt(processor), image_max_pixels=12000, return_tensors="pt")
    expected = processor(images=large.resize((126, 94)), text=prompt(processor), return_tensors="pt")
    assert_same(found, expected)


def test_what_does_not_fit_is_refused(processor):
    text = prompt(processor)
    for saliencies, message in (
        ([], "There are 1 images and 0 saliencies"),
        ([saliency(0), saliency(0)], "There are 1 images and 2 saliencies"),
        ([saliency(0)[None]], "two dimensions"),
        ([saliency(0) + 1], r"values in \[0, 1\]"),
    ):
        with pytest.raises(ValueError, match=message):
            processor(images=image(0), saliencies=saliencies, text=text)
    with pytest.raises(ValueError, match="There are 0 images and 1 saliencies"):
        processor(saliencies=[saliency(0)], text="no image")
    with pytest.raises(SaliencyMapError, match="aspect ratio"):
        processor(images=image(0), saliencies=[saliency(2)], text=text)
    with pytest.raises(SaliencyMapError, match="does not exist"):
        processor(images=image(0), saliencies=["nothing.png"], text=text)


def test_it_is_saved_and_loaded_with_its_settings(tmp_path, stock):
    saved = Qwen2_5_VLGazeProcessor.from_stock(stock, "overlay")
    saved.image_max_pixels = 50000
    saved.save_pretrained(tmp_path)
    # In a process that has imported nothing of ours but the package.
    code = (
        "import sys, llamafactory_gaze; from transformers import AutoProcessor;"
        "assert 'llamafactory_gaze.modeling' not in sys.modules;"
        f"p = AutoProcessor.from_pretrained({str(tmp_path)!r});"
        "print(type(p).__name__, p.gaze_fusion, p.image_max_pixels)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["Qwen2_5_VLGazeProcessor", "overlay", "50000"]
    loaded = Qwen2_5_VLGazeProcessor.from_pretrained(tmp_path)
    inputs = {"images": image(0), "saliencies": saliency(0), "text": prompt(stock), "return_tensors": "pt"}
    assert_same(loaded(**inputs), saved(**inputs))
