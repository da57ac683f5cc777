"""Data sets with `"formatting": "gaze"`, through LLaMA-Factory's own loader and collator to `pixel_values`."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from llamafactory_gaze.saliency.gazed_image import GazedImage
from llamafactory_gaze.saliency.maps import read_saliency_map
from llamafactory_gaze.saliency.patches import patchify
from tests.integration.conftest import ROOT, SIZES, load_data, register, row, save_image, save_map


PIXELS, SALIENCY = 3 * 2 * 14 * 14, 2 * 14 * 14


def by_image(batch) -> list[torch.Tensor]:
    return list(batch["pixel_values"].split(batch["image_grid_thw"].prod(-1).tolist()))


def expected_map(path, grid) -> np.ndarray:
    return patchify(read_saliency_map(path), tuple(grid.tolist()))


def test_the_map_is_the_fourth_channel_on_the_grid_of_its_image(registry):
    _, batch = load_data(registry)
    grids = batch["image_grid_thw"]
    assert grids.tolist() == [[1, 12, 12], [1, 12, 16], [1, 6, 8]]
    for i, pixels in enumerate(by_image(batch)):
        assert pixels.shape == (int(grids[i].prod()), PIXELS + SALIENCY)
        saliency = pixels[:, PIXELS:].numpy()
        assert saliency.min() >= 0 and saliency.max() <= 1
        np.testing.assert_allclose(saliency, expected_map(registry / f"maps/{i}.png", grids[i]), atol=1e-6)


def test_the_colours_are_those_of_the_stock_template(registry):
    """Images of equal size, which the stock processor takes together, too."""
    for i in range(3, 6):
        save_image(registry / f"images/{i}.png", (150, 100), i)
        save_map(registry / f"maps/{i}.png", (150, 100), 10 + i)
    register(registry, "gaze", [row([f"images/{i}.png"], [f"maps/{i}.png"]) for i in (3, 0, 4, 1, 2, 5)])
    _, batch = load_data(registry)
    ordinary = {"columns": {"messages": "conversations", "images": "images"}, "formatting": "sharegpt"}
    register(registry, "stock", json.loads((registry / "gaze.json").read_text()), **ordinary)
    _, stock = load_data(registry, dataset="stock", template="qwen2_vl", lora_target="all")
    assert stock["pixel_values"].shape[1] == PIXELS
    assert torch.equal(batch["pixel_values"][:, :PIXELS], stock["pixel_values"])
    assert torch.equal(batch["input_ids"], stock["input_ids"]) and torch.equal(batch["labels"], stock["labels"])


def test_large_images_are_resized_with_their_maps(registry):
    _, batch = load_data(registry, image_max_pixels=100 * 100)
    grids = batch["image_grid_thw"]
    assert grids.tolist() == [[1, 8, 8], [1, 6, 8], [1, 6, 8]]
    for i, pixels in enumerate(by_image(batch)):
        expected = expected_map(registry / f"maps/{i}.png", grids[i])
        np.testing.assert_allclose(pixels[:, PIXELS:].numpy(), expected, atol=1e-6)


def test_null_means_no_map(registry):
    rows = [row(["images/0.png", "images/1.png"], [None, "maps/1.png"]), row(["images/2.png"], None)]
    register(registry, "gaze", rows)
    _, batch = load_data(registry)
    first, second, third = (pixels[:, PIXELS:] for pixels in by_image(batch))
    assert (first == -1).all() and (third == -1).all() and (second >= 0).all()


def test_without_any_map_pixel_values_has_the_stock_width(registry):
    register(registry, "gaze", [row([f"images/{i}.png"], [None]) for i in range(3)])
    assert load_data(registry)[1]["pixel_values"].shape[1] == PIXELS


def test_the_column_may_be_named_otherwise(registry):
    rows = json.loads((registry / "gaze.json").read_text())
    for entry in rows:
        entry["heat"] = entry.pop("saliencies")
    register(registry, "gaze", rows, columns={"messages": "conversations", "images": "images", "saliencies": "heat"})
    assert load_data(registry)[1]["pixel_values"].shape[1] == PIXELS + SALIENCY


def test_embedded_images_and_maps(registry):
    """Parquet with bytes gives the same tensors as files, mixed in every way."""
    import pandas

    def embedded(path):
        return {"bytes": (registry / path).read_bytes(), "path": None}

    _, expected = load_data(registry)
    for maps in (lambda i: embedded(f"maps/{i}.png"), lambda i: {"bytes": None, "path": f"maps/{i}.png"}):
        rows = [row([embedded(f"images/{i}.png")], [maps(i)]) for i in range(3)]
        pandas.DataFrame(rows).to_parquet(registry / "embedded.parquet")
        register(registry, "embedded", [], file_name="embedded.parquet")
        _, batch = load_data(registry, dataset="embedded")
        assert torch.equal(batch["pixel_values"], expected["pixel_values"])


def test_images_as_the_datasets_library_stores_them(registry):
    """A column of type Image, which `datasets` decodes."""
    from datasets import Dataset, Features, List, Value
    from datasets import Image as ImageFeature

    turns = [[{"from": "human", "value": "<image>Hi."}, {"from": "gpt", "value": "ho."}]] * 3
    features = Features(
        {
            "conversations": List({"from": Value("string"), "value": Value("string")}),
            "images": List(ImageFeature()),
            "saliencies": List(ImageFeature()),
        }
    )
    data = {
        "conversations": turns,
        "images": [[str(registry / f"images/{i}.png")] for i in range(3)],
        "saliencies": [[str(registry / f"maps/{i}.png")] for i in range(3)],
    }
    Dataset.from_dict(data, features=features).to_parquet(registry / "typed.parquet")
    register(registry, "typed", [], file_name="typed.parquet")
    _, batch = load_data(registry, dataset="typed")
    assert torch.equal(batch["pixel_values"], load_data(registry)[1]["pixel_values"])


def test_one_list_mixes_gaze_image_and_text_data(registry):
    ordinary = {"columns": {"messages": "conversations", "images": "images"}, "formatting": "sharegpt"}
    rows = [{key: value for key, value in row(["images/1.png"], None).items() if key != "saliencies"}]
    register(registry, "images", rows, **ordinary)
    text = [{"instruction": "Say ho.", "input": "", "output": "ho."}]
    register(registry, "text", text, formatting="alpaca", columns={"prompt": "instruction", "response": "output"})
    dataset, batch = load_data(registry, dataset="gaze,images,text")
    assert len(dataset) == 5
    has_map = [bool((pixels[:, PIXELS:] >= 0).all()) for pixels in by_image(batch)]
    assert has_map == [True, True, True, False]


def test_files_and_embedded_images_of_every_kind_mix(registry):
    import pandas
    from datasets import Dataset
    from datasets import Features as F
    from datasets import Image as ImageFeature

    def embedded(path):
        return {"bytes": (registry / path).read_bytes(), "path": None}

    def ordinary(images):
        return {key: value for key, value in row(images, None).items() if key != "saliencies"}

    plain = {"formatting": "sharegpt", "columns": {"messages": "conversations", "images": "images"}}
    pandas.DataFrame([row([embedded("images/0.png")], ["maps/0.png"])]).to_parquet(registry / "a.parquet")
    register(registry, "a", [], file_name="a.parquet")
    pandas.DataFrame([ordinary([embedded("images/1.png")])]).to_parquet(registry / "b.parquet")
    register(registry, "b", [], file_name="b.parquet", **plain)
    typed = Dataset.from_list([ordinary([embedded("images/2.png")])])
    typed = typed.cast(F({**typed.features, "images": [ImageFeature()]}))
    typed.to_parquet(registry / "c.parquet")
    register(registry, "c", [], file_name="c.parquet", **plain)
    register(registry, "text", [{"instruction": "Say ho.", "output": "ho."}], formatting="alpaca", columns={
        "prompt": "instruction", "response": "output"
    })  # fmt: skip

    _, expected = load_data(registry)
    dataset, batch = load_data(registry, dataset="a,b,c,gaze,text")
    assert len(dataset) == 7
    images, references = by_image(batch), by_image(expected)
    assert torch.equal(images[0], references[0])
    for image, reference in zip(images[1:3], references[1:], strict=True):
        assert torch.equal(image[:, :PIXELS], reference[:, :PIXELS]) and (image[:, PIXELS:] == -1).all()
    for image, reference in zip(images[3:], references, strict=True):
        assert torch.equal(image, reference)


def test_a_text_only_batch_has_no_map(registry):
    register(registry, "text", [{"instruction": "Say ho.", "output": "ho."}], formatting="alpaca", columns={
        "prompt": "instruction", "response": "output"
    })  # fmt: skip
    _, batch = load_data(registry, dataset="text")
    assert batch["pixel_values"].shape[1] == PIXELS  # of the dummy image that LLaMA-Factory adds


def test_streaming(registry):
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
    from llamafactory.model import load_tokenizer

    from tests.integration.conftest import parse

    model_args, data_args, training_args, *_ = parse(registry, streaming=True, max_steps=1, dataloader_num_workers=1)
    module = load_tokenizer(model_args)
    template = get_template_and_fix_tokenizer(module["tokenizer"], data_args)
    dataset = get_dataset(template, model_args, data_args, training_args, stage="sft", **module)["train_dataset"]
    assert {example["images"][0].rpartition("/")[2] for example in dataset} == {"0.png", "1.png", "2.png"}


# Controls


def test_off_gives_the_stock_width(registry):
    assert load_data(registry, gaze_ablation="off")[1]["pixel_values"].shape[1] == PIXELS


def test_uniform_gives_each_map_its_own_mean(registry):
    _, batch = load_data(registry, gaze_ablation="uniform")
    for i, pixels in enumerate(by_image(batch)):
        mean = float(read_saliency_map(registry / f"maps/{i}.png").mean())
        np.testing.assert_allclose(pixels[:, PIXELS:].numpy(), mean, atol=1e-6)


def test_shuffle_gives_every_image_the_map_of_another(registry):
    """Two observers an image: nobody keeps a map of the same image, every map is used once, the seed decides."""
    for i, size in enumerate(SIZES):
        save_map(registry / f"maps/{i}b.png", size, 20 + i)
    rows = [row([f"images/{i}.png"], [f"maps/{i}{who}.png"]) for who in ("", "b") for i in range(3)]
    register(registry, "gaze", rows)

    def maps(**keys) -> list[str]:
        dataset, _ = load_data(registry, **keys)
        return [images[0].rpartition("/")[2].removesuffix(".png") for images in dataset["images"]]

    straight, shuffled = maps(), maps(gaze_ablation="shuffle")
    assert straight == ["0", "1", "2", "0b", "1b", "2b"]
    assert sorted(shuffled) == sorted(straight)
    assert all(before[0] != after[0] for before, after in zip(straight, shuffled, strict=True))
    assert maps(gaze_ablation="shuffle") == shuffled
    assert any(maps(gaze_ablation="shuffle", seed=seed) != shuffled for seed in range(5))


def test_shuffle_is_refused_where_one_image_holds_most_maps(registry):
    register(registry, "gaze", [row(["images/0.png"], ["maps/0.png"])] * 3 + [row(["images/1.png"], ["maps/1.png"])])
    with pytest.raises(ValueError, match="of 4 maps, 3 belong to one image"):
        load_data(registry, gaze_ablation="shuffle")


def three_observers(registry) -> None:
    """Three images, each seen by three people, row by row."""
    for i, size in enumerate(SIZES):
        for who in "abc":
            save_map(registry / f"maps/{who}/{i}.png", size, ord(who) + 10 * i)
    register(registry, "gaze", [row([f"images/{i}.png"], [f"maps/{who}/{i}.png"]) for who in "abc" for i in range(3)])


def pairs_of(dataset) -> list[tuple[str, str]]:
    """For each row its image, and its map as observer/image."""
    pairs = []
    for images in dataset["images"]:
        image, _, saliency = images[0].partition("#saliency=")
        pairs.append((image.rpartition("/")[2], "/".join(saliency.split("/")[-2:])))
    return pairs


def test_observer_gives_every_row_another_map_of_its_own_image(registry):
    three_observers(registry)
    straight = pairs_of(load_data(registry)[0])
    exchanged = pairs_of(load_data(registry, gaze_ablation="observer")[0])
    assert [image for image, _ in exchanged] == [image for image, _ in straight]  # the rows stay where they are
    assert sorted(exchanged) == sorted(straight)  # each map once, and with its own image
    assert all(before != after for (_, before), (_, after) in zip(straight, exchanged, strict=True))
    assert pairs_of(load_data(registry, gaze_ablation="observer")[0]) == exchanged
    others = [pairs_of(load_data(registry, gaze_ablation="observer", seed=seed)[0]) for seed in range(5)]
    assert any(other != exchanged for other in others)


def test_observer_leaves_rows_without_a_map_alone(registry):
    three_observers(registry)
    rows = json.loads((registry / "gaze.json").read_text())
    register(registry, "gaze", [*rows[:3], row(["images/0.png"], [None]), row(["images/1.png"], None), *rows[3:]])
    pairs = pairs_of(load_data(registry, gaze_ablation="observer")[0])
    assert pairs[3:5] == [("0.png", ""), ("1.png", "")]
    assert sorted(saliency for _, saliency in pairs if saliency) == [
        f"{who}/{i}.png" for who in "abc" for i in range(3)
    ]


@pytest.mark.parametrize("rows", [[("0", "0")], [("0", "0"), ("0", "0")], [("1", "1"), ("1", "1b"), ("2", "2")]])
def test_observer_is_refused_where_an_image_has_one_map_only(registry, rows):
    """One row, one map in two rows, and one such image among others."""
    save_map(registry / "maps/1b.png", SIZES[1], 5)
    register(registry, "gaze", [row([f"images/{image}.png"], [f"maps/{saliency}.png"]) for image, saliency in rows])
    image = f"images/{rows[-1][0]}.png has {len(rows) if len(rows) < 3 else 1} rows with 1 different maps"
    with pytest.raises(ValueError, match=f"cannot give every row another observer's map of its image: .*{image}"):
        load_data(registry, gaze_ablation="observer")


def test_embedded_maps_of_several_observers_may_have_one_name(registry):
    """maps/a/0.png and maps/b/0.png are both 0.png beside their bytes: `datasets` keeps the bare name."""
    import pandas

    def embedded(path):
        return {"bytes": (registry / path).read_bytes(), "path": path.rpartition("/")[2]}

    three_observers(registry)
    names = [(f"images/{i}.png", f"maps/{who}/{i}.png") for who in "abc" for i in range(3)]
    rows = [row([embedded(image)], [embedded(saliency)]) for image, saliency in names]
    pandas.DataFrame(rows).to_parquet(registry / "embedded.parquet")
    register(registry, "embedded", [], file_name="embedded.parquet")
    _, straight = load_data(registry, dataset="embedded")
    _, exchanged = load_data(registry, dataset="embedded", gaze_ablation="observer")
    for before, after in zip(by_image(straight), by_image(exchanged), strict=True):
        assert torch.equal(before[:, :PIXELS], after[:, :PIXELS])
        assert not torch.equal(before[:, PIXELS:], after[:, PIXELS:])


EXCHANGE = """
from datasets import Dataset
from llamafactory_gaze.integration.exchange import exchange_maps
def embedded(*numbers):
    return [{"bytes": bytes(numbers), "path": None}]
rows = Dataset.from_list([{"images": embedded(i), "maps": embedded(i, who)} for who in range(5) for i in range(7)])
for ablation in ("shuffle", "observer"):
    exchanged = exchange_maps(rows, "images", "maps", ablation=ablation, seed=1)["maps"]
    print(ablation, [tuple(maps[0]["bytes"]) for maps in exchanged])
"""


def test_an_exchange_of_embedded_maps_is_the_same_in_every_process():
    """Each rank of a distributed training exchanges the maps for itself; Python's own hash() differs among them."""
    outputs = [
        subprocess.run(
            [sys.executable, "-c", EXCHANGE], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True,
            text=True, check=True, cwd=ROOT,
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert [line.partition(" ")[0] for line in outputs[0].splitlines()] == ["shuffle", "observer"]
    assert outputs[0] == outputs[1]


# What is refused


def write_colour_map(folder):
    save_image(folder / "maps/1.png", SIZES[1], 5)


def write_map_of_another_shape(folder):
    save_map(folder / "maps/1.png", (224, 100), 5)


def delete_map(folder):
    (folder / "maps/1.png").unlink()


def write_text(folder):
    (folder / "maps/1.png").write_text("no picture")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (write_colour_map, "is an RGB colour image"),
        (write_map_of_another_shape, "does not have the aspect ratio"),
        (delete_map, "does not exist"),
        (write_text, "cannot be decoded"),
    ],
)
def test_a_bad_map_is_refused_with_file_and_row(registry, damage, message):
    damage(registry)
    with pytest.raises(ValueError, match=message) as error:
        load_data(registry)
    assert "Data set gaze.json, row 1 (id r1):" in str(error.value)
    assert "maps/1.png" in str(error.value)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row(["images/1.png"], ["maps/0.png", "maps/1.png"]), "1 images and 2 saliency maps"),
        (row(["images/0.png", "images/1.png"], ["maps/0.png"]), "2 images and 1 saliency maps"),
    ],
)
def test_a_bad_row_is_refused(registry, bad, message):
    register(registry, "gaze", [row(["images/0.png"], ["maps/0.png"]), bad])
    with pytest.raises(ValueError, match=rf"row 1: there are {message}"):
        load_data(registry)


def test_a_missing_column_is_refused_with_those_that_are_there(registry):
    columns = {"messages": "conversations", "images": "images", "saliencies": "heat"}
    register(registry, "gaze", json.loads((registry / "gaze.json").read_text()), columns=columns)
    with pytest.raises(
        ValueError, match=r"no column 'heat'.*Found: conversations, id, images, participant, saliencies"
    ):
        load_data(registry)


def test_gaze_data_with_another_template_is_refused(registry):
    with pytest.raises(ValueError, match=r"Write `template: qwen2_5_vl_gaze`, and `gaze_ablation: off`"):
        load_data(registry, template="qwen2_vl", lora_target="all")


def test_a_reserved_name_is_refused(registry):
    (registry / "images/0.png").rename(registry / "images/0#saliency=x.png")
    register(registry, "gaze", [row(["images/0#saliency=x.png"], [None])])
    with pytest.raises(ValueError, match="which is reserved"):
        load_data(registry)


def chat(registry):
    """What `chat` and `api` call the multimodal plug-in with beside the images, as a function of the images."""
    from llamafactory.data import get_template_and_fix_tokenizer
    from llamafactory.model import load_tokenizer

    from tests.integration.conftest import parse

    model_args, data_args, *_ = parse(registry)
    module = load_tokenizer(model_args)
    plugin = get_template_and_fix_tokenizer(module["tokenizer"], data_args).mm_plugin
    return lambda images: plugin.get_mm_inputs(images, [], [], [len(images)], [0], [0], [[]], module["processor"])


def test_the_chat_engine_gets_no_gaze_and_works(registry):
    """`chat` and `api` call the multimodal plug-in with open images."""
    image = Image.open(io.BytesIO((registry / "images/0.png").read_bytes()))
    assert chat(registry)([image])["pixel_values"].shape == (144, PIXELS)


def test_one_open_image_may_stand_in_a_batch_several_times(registry):
    """It is not read yet, and two threads that read one file get in each other's way."""
    inputs_of = chat(registry)
    for _ in range(10):
        image = Image.open(registry / "images/1.png")
        batch = inputs_of([GazedImage(image, str(registry / "maps/1.png"))] * 8)
        assert len({pixels.numpy().tobytes() for pixels in by_image(batch)}) == 1
