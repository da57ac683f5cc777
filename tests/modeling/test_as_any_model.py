"""What transformers, peft and torch do with any model they do with ours, and the stock model says with which result."""

import peft
import pytest
import torch
from transformers import CompileConfig, Qwen2_5_VLForConditionalGeneration

from llamafactory_gaze import Qwen2_5_VLGazeForConditionalGeneration
from llamafactory_gaze.modeling.configuration import IN_TOWER
from llamafactory_gaze.modeling.vision_tower import ZeroInitMixin
from tests.conftest import IMAGE_TOKEN
from tests.modeling.test_model import AWAKE, FRESH, GRIDS, PIXELS, awaken, batch_of_two, load_gaze, logits, make_inputs


@pytest.mark.parametrize("gaze", AWAKE, ids=str)
def test_what_a_checkpoint_lacks_starts_as_in_a_model_that_is_built(stock_checkpoint, monkeypatch, gaze):
    """`from_pretrained` builds on the meta device and fills in afterwards; a constructor fills in at once."""
    fill_in = ZeroInitMixin._init_weights

    def with_one_seed(model, module):
        torch.manual_seed(0)
        fill_in(model, module)

    monkeypatch.setattr(ZeroInitMixin, "_init_weights", with_one_seed)
    loaded = load_gaze(stock_checkpoint, **gaze)
    built = Qwen2_5_VLGazeForConditionalGeneration(loaded.config)
    expected = {name: weight for name, weight in built.named_parameters() if "calibrator" in name}
    found = {name: weight for name, weight in loaded.named_parameters() if "calibrator" in name}
    assert expected.keys() == found.keys() and expected
    buffers = dict(built.named_buffers())  # no checkpoint holds them
    assert buffers.keys() == dict(loaded.named_buffers()).keys() and buffers
    for name, tensor in (expected | buffers).items():
        other = found[name] if name in found else loaded.get_buffer(name)
        assert other.dtype == tensor.dtype and torch.equal(other, tensor), name


@pytest.mark.parametrize("fusion", IN_TOWER)
@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_through_peft_changes_no_gradient(stock_checkpoint, fusion, reentrant):
    model = awaken(load_gaze(stock_checkpoint, gaze_fusion=fusion))
    lora = peft.LoraConfig(target_modules=["q_proj", "v_proj"], modules_to_save=["calibrator"], init_lora_weights=False)
    model = peft.get_peft_model(model, lora).train()
    inputs = make_inputs()
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert any("calibrator" in name for name in trained) and any("lora_A" in name for name in trained)

    def gradients() -> dict[str, torch.Tensor]:
        model.zero_grad()
        model(**inputs, labels=inputs["input_ids"]).loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    expected = gradients()
    assert expected.keys() == trained
    model.enable_input_require_grads()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    blocks = [*model.get_base_model().model.visual.blocks, *model.get_base_model().model.language_model.layers]
    assert all(block.gradient_checkpointing for block in blocks)
    checkpointed = gradients()
    model.gradient_checkpointing_disable()
    assert not any(block.gradient_checkpointing for block in blocks)
    for found in (checkpointed, gradients()):
        assert found.keys() == trained
        for name, gradient in found.items():
            torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-7)


def one_row() -> dict[str, torch.Tensor]:
    """A prompt that repeats itself behind its images, so that looking up finds what could follow."""
    inputs = make_inputs()
    again = torch.tensor([[10, 11, 12, 13, 10, 11, 12, 13, 10, 11]])
    return {**inputs, "input_ids": torch.cat([inputs["input_ids"], again], dim=1)}


@pytest.mark.parametrize("kind", ["prompt lookup", "assistant"])
def test_assisted_decoding_says_what_greedy_decoding_says(stock_checkpoint, kind):
    model = awaken(load_gaze(stock_checkpoint))
    assistant = awaken(load_gaze(stock_checkpoint))
    with torch.no_grad():  # often right, not always
        for parameter in assistant.model.language_model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    assistance = {"prompt lookup": {"prompt_lookup_num_tokens": 3}, "assistant": {"assistant_model": assistant}}[kind]
    inputs, options = one_row(), {"max_new_tokens": 12, "do_sample": False, "eos_token_id": -1}
    expected = model.generate(**inputs, **options)
    lengths = []
    hook = model.model.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: lengths.append(kwargs["inputs_embeds"].shape[1]), with_kwargs=True
    )
    found = model.generate(**inputs, **options, **assistance)
    hook.remove()
    assert torch.equal(found, expected)
    assert any(length > 1 for length in lengths[1:])  # candidates were tried
    assert len(lengths) < options["max_new_tokens"]  # and taken


def test_more_tokens_leave_the_old_ones_as_they_are(stock_checkpoint, tmp_path):
    model = awaken(load_gaze(stock_checkpoint))
    inputs = make_inputs()
    expected = logits(model, inputs)
    model.resize_token_embeddings(104)
    assert model.config.text_config.vocab_size == 104
    found = logits(model, inputs)
    assert found.shape[-1] == 104
    assert torch.equal(found[..., :100], expected)
    model.save_pretrained(tmp_path)
    loaded = Qwen2_5_VLGazeForConditionalGeneration.from_pretrained(tmp_path).eval()
    assert torch.equal(logits(loaded, inputs), found)


@pytest.mark.parametrize("change", [1, -1])
def test_another_number_of_image_tokens_is_refused_as_by_the_stock_model(stock_model, stock_checkpoint, change):
    inputs = make_inputs()
    ids = inputs["input_ids"][0].tolist()
    first = ids.index(IMAGE_TOKEN)
    more, fewer = [*ids[:first], IMAGE_TOKEN, *ids[first:]], [*ids[:first], *ids[first + 1 :]]
    inputs["input_ids"] = torch.tensor([more if change > 0 else fewer])
    messages = []
    for model, width in ((load_gaze(stock_checkpoint), None), (stock_model, PIXELS)):
        with pytest.raises(ValueError, match="Image features and image tokens do not match") as error:
            model(**{**inputs, "pixel_values": inputs["pixel_values"][:, :width]})
        messages.append(str(error.value))
    assert messages[0] == messages[1]


@pytest.fixture
def compiler():
    """A backend of `torch.compile` that runs graphs as they are, and the list in which it keeps them."""
    torch.compiler.reset()  # else what another test compiled would serve here
    graphs = []

    def backend(graph, example_inputs):
        graphs.append(graph)
        return graph.forward

    return backend, graphs


@pytest.mark.parametrize("fusion", IN_TOWER)
def test_the_tower_compiles(stock_checkpoint, compiler, fusion):
    backend, graphs = compiler
    tower = awaken(load_gaze(stock_checkpoint, gaze_fusion=fusion)).model.visual
    inputs = make_inputs()
    with torch.no_grad():
        expected = tower(inputs["pixel_values"], GRIDS).pooler_output
        found = torch.compile(tower, backend=backend)(inputs["pixel_values"], GRIDS).pooler_output
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    operations = {node.target for graph in graphs for node in graph.graph.nodes}
    assert {torch.nn.functional.linear, torch.nn.functional.scaled_dot_product_attention} <= operations


@pytest.mark.skipif(torch.__version__.startswith("2.6."), reason="torch 2.6 cannot compile transformers' decorators")
def test_compiled_generation_says_what_plain_generation_says(stock_checkpoint, compiler):
    """After the prompt each token is one step of one graph, which serves the second call as well."""
    backend, graphs = compiler
    model = awaken(load_gaze(stock_checkpoint))
    inputs, options = batch_of_two(), {"max_new_tokens": 6, "do_sample": False, "eos_token_id": -1}
    expected = model.generate(**inputs, **options)
    compilation = CompileConfig(backend=backend, mode=None, fullgraph=True, dynamic=False)
    compilation._compile_all_devices = True  # transformers compiles on GPUs alone if not told otherwise
    for _ in range(2):
        found = model.generate(**inputs, **options, cache_implementation="static", compile_config=compilation)
        assert torch.equal(found, expected)
    assert len(graphs) == 1


@pytest.mark.parametrize("gaze", FRESH, ids=str)
def test_hidden_states_and_attentions_of_a_fresh_model_are_those_of_the_stock_model(stock_checkpoint, gaze):
    stock = Qwen2_5_VLForConditionalGeneration.from_pretrained(stock_checkpoint).eval()
    model = load_gaze(stock_checkpoint, **gaze)
    for each in (model, stock):
        each.set_attn_implementation("eager")
    inputs = make_inputs()
    images = inputs["pixel_values"], inputs["image_grid_thw"]
    inside = {"output_hidden_states": True, "output_attentions": True}
    token_types = (inputs["input_ids"] == IMAGE_TOKEN).int()
    with torch.no_grad():
        found = [model(**inputs, **inside), model.model.visual(*images, **inside)]
        inputs["pixel_values"] = inputs["pixel_values"][:, :PIXELS]
        expected = [
            stock(**inputs, mm_token_type_ids=token_types, **inside),
            stock.model.visual(inputs["pixel_values"], images[1], **inside),
        ]
    for ours, theirs in zip(found, expected, strict=True):
        for name in inside:
            layers = name.removeprefix("output_")
            assert len(theirs[layers]) > 1
            for one, other in zip(ours[layers], theirs[layers], strict=True):
                assert torch.equal(one, other)


@pytest.mark.parametrize("gaze", AWAKE, ids=str)
def test_eager_attention_gives_what_sdpa_gives(stock_checkpoint, gaze):
    model = awaken(load_gaze(stock_checkpoint, **gaze))
    inputs, found = batch_of_two(), []
    for attention in ("eager", "sdpa"):
        model.set_attn_implementation(attention)
        assert model.model.visual.config._attn_implementation == attention
        found.append(logits(model, inputs)[inputs["attention_mask"].bool()])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)


def test_generation_goes_on_from_its_cache(stock_checkpoint):
    """Two prompts with padding and images, which are not handed in again."""
    model = awaken(load_gaze(stock_checkpoint))
    inputs, options = batch_of_two(), {"do_sample": False, "eos_token_id": -1}
    expected = model.generate(**inputs, **options, max_new_tokens=6)
    begun = model.generate(**inputs, **options, max_new_tokens=3, return_dict_in_generate=True)
    seen = torch.nn.functional.pad(inputs["attention_mask"], (0, 3), value=1)
    found = model.generate(
        begun.sequences, attention_mask=seen, past_key_values=begun.past_key_values, **options, max_new_tokens=3
    )
    assert torch.equal(found, expected)
