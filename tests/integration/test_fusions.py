"""Each `gaze_fusion` through LLaMA-Factory's own template, loader and collator, against the stock template.

What the stock template is given is made here: pictures drawn on beforehand, and prompts with the sentence in them.
"""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from llamafactory_gaze.modeling.configuration import GAZE_FUSIONS, IN_PICTURE, IN_TOWER
from llamafactory_gaze.saliency.controls import CONTROLS
from llamafactory_gaze.saliency.maps import read_saliency_map
from llamafactory_gaze.saliency.patches import patchify
from llamafactory_gaze.saliency.pictures import PICTURES
from llamafactory_gaze.saliency.points import gaze_sentence
from tests.integration.conftest import BASE_MODEL, load_data, load_model, register, row


PIXELS, SALIENCY = 3 * 2 * 14 * 14, 2 * 14 * 14
IMAGE_TOKEN = json.loads((BASE_MODEL / "config.json").read_text())["image_token_id"]


def same(saliency: np.ndarray) -> np.ndarray:
    return saliency


def stock_data(registry, rows: list[dict], **keys):
    """The batch that LLaMA-Factory's own template makes of rows without maps."""
    rows = [{key: value for key, value in entry.items() if key != "saliencies"} for entry in rows]
    columns = {"messages": "conversations", "images": "images"}
    register(registry, "stock", rows, formatting="sharegpt", columns=columns)
    return load_data(registry, dataset="stock", template="qwen2_vl", lora_target="all", **keys)[1]


def rows_of(registry) -> list[dict]:
    return json.loads((registry / "gaze.json").read_text())


def drawn_rows(registry, fusion: str, control=same) -> list[dict]:
    """The rows of data set `gaze` with their maps already drawn into the images."""
    rows = rows_of(registry)
    for entry in rows:
        for i, (image, saliency) in enumerate(zip(entry["images"], entry["saliencies"], strict=True)):
            if saliency is not None:
                path = registry / "drawn" / image
                path.parent.mkdir(parents=True, exist_ok=True)
                heat = control(read_saliency_map(registry / saliency))
                PICTURES[fusion](Image.open(registry / image), heat).save(path)
                entry["images"][i] = f"drawn/{image}"
    return rows


def assert_equal(batch, expected) -> None:
    assert set(batch) == set(expected)
    for name in ("input_ids", "labels", "attention_mask", "image_grid_thw", "pixel_values"):
        assert torch.equal(batch[name], expected[name]), name


def with_sentences(registry, sizes: list[tuple[int, int]], control=same) -> list[dict]:
    """The rows of data set `gaze`, one image each, with the sentence written behind the image."""
    rows = rows_of(registry)
    for entry, size in zip(rows, sizes, strict=True):
        sentence = gaze_sentence(control(read_saliency_map(registry / entry["saliencies"][0])), size)
        assert sentence.startswith("People looked at (") and sentence.endswith(").\n")
        entry["conversations"][0]["value"] = f"<image>{sentence}Describe the image."
    return rows


def image_tokens(batch) -> list[int]:
    return (batch["input_ids"] == IMAGE_TOKEN).sum(1).tolist()


# Into the tower


@pytest.mark.parametrize("fusion", IN_TOWER)
@pytest.mark.parametrize("ablation", ["none", *CONTROLS])
def test_into_the_tower_the_map_goes_as_a_fourth_channel(registry, fusion, ablation):
    _, batch = load_data(registry, gaze_fusion=fusion, gaze_ablation=ablation)
    stock = stock_data(registry, rows_of(registry))
    assert torch.equal(batch["input_ids"], stock["input_ids"])
    assert torch.equal(batch["pixel_values"][:, :PIXELS], stock["pixel_values"])
    control = CONTROLS.get(ablation, same)
    expected = [
        patchify(control(read_saliency_map(registry / f"maps/{i}.png")), tuple(grid))
        for i, grid in enumerate(batch["image_grid_thw"].tolist())
    ]
    np.testing.assert_allclose(batch["pixel_values"][:, PIXELS:].numpy(), np.concatenate(expected), atol=1e-6)


# Into the picture


@pytest.mark.parametrize("fusion", IN_PICTURE)
@pytest.mark.parametrize("ablation", ["none", *CONTROLS])
def test_into_the_picture_the_map_is_drawn_before_anything_else_sees_it(registry, fusion, ablation):
    _, batch = load_data(registry, gaze_fusion=fusion, gaze_ablation=ablation)
    expected = stock_data(registry, drawn_rows(registry, fusion, CONTROLS.get(ablation, same)))
    assert batch["pixel_values"].shape[1] == PIXELS
    assert_equal(batch, expected)
    assert not torch.equal(batch["pixel_values"], stock_data(registry, rows_of(registry))["pixel_values"])


def test_a_cropped_picture_has_fewer_tokens(registry):
    _, batch = load_data(registry, gaze_fusion="crop")
    # 168 x 168, 224 x 168 and 112 x 84 pixels by half, in patches of 14 pixels, in whole windows of 2 x 2 patches
    assert batch["image_grid_thw"].tolist() == [[1, 6, 6], [1, 6, 8], [1, 4, 4]]
    assert image_tokens(batch) == [9, 12, 4]


@pytest.mark.parametrize("fusion", IN_PICTURE)
def test_a_large_picture_is_drawn_on_before_it_is_resized(registry, fusion):
    _, batch = load_data(registry, gaze_fusion=fusion, image_max_pixels=80 * 80)
    assert_equal(batch, stock_data(registry, drawn_rows(registry, fusion), image_max_pixels=80 * 80))


@pytest.mark.parametrize("fusion", IN_PICTURE)
def test_several_images_some_without_a_map(registry, fusion):
    rows = [
        row(["images/0.png", "images/1.png", "images/2.png"], ["maps/0.png", None, "maps/2.png"]),
        row(["images/1.png"], [None]),
    ]
    register(registry, "gaze", rows)
    _, batch = load_data(registry, gaze_fusion=fusion)
    drawn = drawn_rows(registry, fusion)
    assert drawn[0]["images"] == ["drawn/images/0.png", "images/1.png", "drawn/images/2.png"]
    assert_equal(batch, stock_data(registry, drawn))
    assert image_tokens(batch) == [
        int(batch["image_grid_thw"][:3].prod(-1).sum()) // 4,
        int(batch["image_grid_thw"][3].prod()) // 4,
    ]


@pytest.mark.parametrize("fusion", [*IN_PICTURE, "text"])
def test_embedded_images_and_maps_give_the_same(registry, fusion):
    import pandas

    def embedded(path):
        return {"bytes": (registry / path).read_bytes(), "path": None}

    rows = [row([embedded(f"images/{i}.png")], [embedded(f"maps/{i}.png")]) for i in range(3)]
    pandas.DataFrame(rows).to_parquet(registry / "embedded.parquet")
    register(registry, "embedded", [], file_name="embedded.parquet")
    _, batch = load_data(registry, dataset="embedded", gaze_fusion=fusion)
    assert_equal(batch, load_data(registry, gaze_fusion=fusion)[1])


# Into the prompt


@pytest.mark.parametrize("ablation", ["none", *CONTROLS])
def test_into_the_prompt_the_sentence_goes_right_behind_the_image(registry, ablation):
    _, batch = load_data(registry, gaze_fusion="text", gaze_ablation=ablation)
    sizes = [(168, 168), (224, 168), (112, 84)]  # as the model sees the images: grids of 12 x 12, 12 x 16, 6 x 8
    assert batch["pixel_values"].shape[1] == PIXELS
    assert_equal(batch, stock_data(registry, with_sentences(registry, sizes, CONTROLS.get(ablation, same))))


def test_the_sentence_counts_pixels_of_the_image_as_the_model_sees_it(registry):
    _, batch = load_data(registry, gaze_fusion="text", image_max_pixels=100 * 100)
    assert batch["image_grid_thw"].tolist() == [[1, 8, 8], [1, 6, 8], [1, 6, 8]]
    sizes = [(112, 112), (112, 84), (112, 84)]
    assert_equal(batch, stock_data(registry, with_sentences(registry, sizes), image_max_pixels=100 * 100))


def test_each_image_with_a_map_has_its_own_sentence(registry):
    """Several images in several turns; those without a map have none."""
    images = [f"images/{i}.png" for i in (0, 1, 2, 0)]
    maps = [None, "maps/1.png", "maps/2.png", "maps/0.png"]
    questions = ["One <image>, two <image>: what?", "And <image> next to<image>"]
    turns = [
        {"from": speaker, "value": value}
        for question in questions
        for speaker, value in (("human", question), ("gpt", "a red circle."))
    ]
    register(registry, "gaze", [{"conversations": turns, "images": images, "saliencies": maps}])
    _, batch = load_data(registry, gaze_fusion="text")

    first, second, third = (
        gaze_sentence(read_saliency_map(registry / f"maps/{i}.png"), size)
        for i, size in ((1, (224, 168)), (2, (112, 84)), (0, (168, 168)))
    )
    expected = [f"One <image>, two <image>{first}: what?", f"And <image>{second} next to<image>{third}"]
    rows = rows_of(registry)
    for turn, value in zip(rows[0]["conversations"][::2], expected, strict=True):
        turn["value"] = value
    assert_equal(batch, stock_data(registry, rows))


def test_a_black_map_has_no_sentence(registry):
    Image.fromarray(np.zeros((168, 168), dtype=np.uint8)).save(registry / "maps/0.png")
    register(registry, "gaze", [row(["images/0.png"], ["maps/0.png"])])
    assert_equal(load_data(registry, gaze_fusion="text")[1], stock_data(registry, rows_of(registry)))


# All of them


@pytest.mark.parametrize("fusion", GAZE_FUSIONS)
def test_off_leaves_picture_and_prompt_as_they_are(registry, fusion):
    _, batch = load_data(registry, gaze_fusion=fusion, gaze_ablation="off")
    assert_equal(batch, stock_data(registry, rows_of(registry)))


@pytest.mark.parametrize("fusion", GAZE_FUSIONS)
def test_data_without_maps_are_those_of_the_stock_template(registry, fusion):
    register(registry, "gaze", [row([f"images/{i}.png"], None) for i in range(3)])
    assert_equal(load_data(registry, gaze_fusion=fusion)[1], stock_data(registry, rows_of(registry)))


@pytest.mark.parametrize("fusion", ["crop", "text"])
def test_the_fusion_of_a_trained_adapter_reaches_the_data(registry, fusion):
    """The recipe that predicts with it need not say it again."""
    load_model(registry, gaze_fusion=fusion).save_pretrained(registry / "adapter")
    keys = {"adapter_name_or_path": str(registry / "adapter"), "create_new_adapter": True}
    _, batch = load_data(registry, **keys)
    assert_equal(batch, load_data(registry, gaze_fusion=fusion)[1])
    assert not torch.equal(batch["input_ids"], load_data(registry)[1]["input_ids"])
