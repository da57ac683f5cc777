"""Options that decide how rows are read and packed: what the model gets with them is what it gets without."""

import json

import pytest
import torch
from llamafactory.data import SFTDataCollatorWith4DAttentionMask, get_dataset, get_template_and_fix_tokenizer
from llamafactory.extras.constants import IGNORE_INDEX

from tests.integration.conftest import SIZES, load_data, load_model, parse, register, row, save_map


STREAM = {"streaming": True, "max_steps": 1, "dataloader_num_workers": 2}


def read(registry, **keys):
    """LLaMA-Factory's dataset module for a recipe."""
    from llamafactory.model import load_tokenizer

    model_args, data_args, training_args, *_ = parse(registry, **keys)
    module = load_tokenizer(model_args)
    template = get_template_and_fix_tokenizer(module["tokenizer"], data_args)
    return get_dataset(template, model_args, data_args, training_args, stage="sft", **module)


def rows_of(dataset) -> list[tuple]:
    """What the collator gets of each row, in an order that does not depend on the rows' order."""
    return sorted((tuple(e["input_ids"]), tuple(e["labels"]), tuple(e["images"] or ())) for e in dataset)


def images_of(batch) -> list[bytes]:
    """Colours and map of each image, sorted."""
    parts = batch["pixel_values"].split(batch["image_grid_thw"].prod(-1).tolist())
    return sorted(part.numpy().tobytes() for part in parts)


def log_probabilities(registry, **keys) -> torch.Tensor:
    """The log probability of every target token of the data set under one fixed model, sorted."""
    from llamafactory.model import load_tokenizer

    model = load_model(registry)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            if parameter.requires_grad:  # a calibrator that is not zero
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    model_args, data_args, *_ = parse(registry, **keys)
    module = load_tokenizer(model_args)
    template = get_template_and_fix_tokenizer(module["tokenizer"], data_args)
    dataset = read(registry, **keys)["train_dataset"]
    collator = SFTDataCollatorWith4DAttentionMask(
        template=template, model=model, block_diag_attn=model_args.block_diag_attn, attn_implementation="sdpa",
        compute_dtype=torch.float32, **module,
    )  # fmt: skip
    batch = collator([dataset[i] for i in range(len(dataset))])
    labels = batch.pop("labels")[:, 1:]
    with torch.inference_mode():
        logits = model.eval()(**batch).logits[:, :-1].log_softmax(-1)
    chosen = labels != IGNORE_INDEX
    return logits[chosen].gather(1, labels[chosen][:, None])[:, 0].sort().values


def test_packing_keeps_every_image_with_its_map(registry):
    expected = load_data(registry)[1]
    for keys in ({"packing": True}, {"neat_packing": True}):
        dataset, batch = load_data(registry, **keys)
        assert len(dataset) == 1
        assert images_of(batch) == images_of(expected)


def test_neat_packing_gives_each_token_the_probability_that_it_has_alone(registry):
    alone = log_probabilities(registry)
    torch.testing.assert_close(log_probabilities(registry, neat_packing=True), alone, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(log_probabilities(registry, neat_packing=True, gaze_ablation="off"), alone, atol=1e-3)


def test_a_stream_gives_the_same_rows(registry):
    assert rows_of(read(registry, **STREAM)["train_dataset"]) == rows_of(read(registry)["train_dataset"])


def test_a_stream_mixes_gaze_with_text(registry):
    columns = {"prompt": "instruction", "response": "output"}
    register(registry, "text", [{"instruction": "Say ho.", "output": "ho."}], formatting="alpaca", columns=columns)
    both = read(registry, dataset="gaze,text", **STREAM | {"dataloader_num_workers": 1})["train_dataset"]
    assert rows_of(both) == rows_of(read(registry, dataset="gaze,text")["train_dataset"])


def test_an_error_in_a_stream_names_no_row_that_it_cannot_know(registry):
    (registry / "maps/2.png").unlink()
    with pytest.raises(ValueError, match=r"Data set gaze.json, a row \(id r2\): .*maps/2.png does not exist"):
        list(read(registry, **STREAM)["train_dataset"])


def test_a_stream_without_workers_is_refused(registry):
    with pytest.raises(ValueError, match="Write `dataloader_num_workers: 1` or more"):
        read(registry, **STREAM | {"dataloader_num_workers": 0})


@pytest.fixture
def one_thread():
    """torch in a forked worker would wait for ever for threads that other tests have started in this process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_two_workers_of_the_preprocessing_give_the_same_rows(registry, one_thread):
    assert rows_of(read(registry, preprocessing_num_workers=2)["train_dataset"]) == rows_of(
        read(registry)["train_dataset"]
    )


@pytest.mark.parametrize("strategy", ["interleave_under", "interleave_over"])
def test_interleaved_data_sets_keep_their_maps(registry, strategy):
    rows = json.loads((registry / "gaze.json").read_text())
    register(registry, "other", [{**entry, "saliencies": [None]} for entry in rows])
    mixed = rows_of(read(registry, dataset="gaze,other", mix_strategy=strategy)["train_dataset"])
    assert mixed == sorted(
        rows_of(read(registry)["train_dataset"]) + rows_of(read(registry, dataset="other")["train_dataset"])
    )


def test_samples_and_validation_sets_keep_their_maps(registry):
    everything = rows_of(read(registry)["train_dataset"])
    assert len(read(registry, max_samples=2)["train_dataset"]) == 2
    assert set(rows_of(read(registry, max_samples=2)["train_dataset"])) < set(everything)
    split = read(registry, val_size=1, do_eval=True)
    assert sorted(rows_of(split["train_dataset"]) + rows_of(split["eval_dataset"])) == everything
    apart = read(registry, eval_dataset="gaze", eval_on_each_dataset=True)["eval_dataset"]
    assert rows_of(apart["gaze"]) == everything


def test_tokens_that_depend_on_maps_follow_the_maps(registry):
    """The cache of `datasets` knows a map by its name only, and the sentences would be those of the old map."""
    before = rows_of(read(registry, gaze_fusion="text")["train_dataset"])
    for i, size in enumerate(SIZES):
        save_map(registry / f"maps/{i}.png", size, 70 + i)
    assert rows_of(read(registry, gaze_fusion="text")["train_dataset"]) != before


# tokenized_path


def test_tokenised_data_are_read_as_they_were_written(registry):
    keys = {"tokenized_path": str(registry / "tokens")}
    written = rows_of(read(registry, **keys)["train_dataset"])
    assert rows_of(read(registry, **keys)["train_dataset"]) == written == rows_of(read(registry)["train_dataset"])


@pytest.mark.parametrize(
    ("made_with", "read_with", "message"),
    [
        ({}, {"gaze_ablation": "off"}, "was written with `gaze_ablation: none`, but the recipe says .*off`"),
        ({}, {"gaze_fusion": "text"}, "written with `gaze_fusion: cross_attention`, but the recipe says .*text`"),
        ({}, {"gaze_ablation": "shuffle"}, "but the recipe says `gaze_ablation: shuffle`"),
        ({"gaze_ablation": "shuffle"}, {"gaze_ablation": "shuffle", "seed": 7}, "but the recipe says `seed: 7`"),
        ({}, {"template": "qwen2_vl", "lora_target": "all"}, "its rows have maps"),
        ({"template": "qwen2_vl", "lora_target": "all", "dataset": "stock"}, {}, "its rows have no maps"),
    ],
)
def test_tokenised_data_of_other_gaze_keys_are_refused(registry, made_with, read_with, message):
    columns = {"messages": "conversations", "images": "images"}
    register(registry, "stock", [row(["images/0.png"], None)], formatting="sharegpt", columns=columns)
    keys = {"tokenized_path": str(registry / "tokens")}
    read(registry, **keys, **made_with)
    with pytest.raises(ValueError, match=message):
        read(registry, **keys, **read_with)
