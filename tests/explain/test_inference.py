"""From image and map to a caption without LLaMA-Factory: the model it would make, and the inputs it would make."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image

from llamafactory_gaze.demo.run import BASE_MODEL
from llamafactory_gaze.inference import InferenceError, caption, gaze_inputs, load_model
from llamafactory_gaze.integration.arguments import GazeArguments
from llamafactory_gaze.integration.settings import record_settings
from llamafactory_gaze.saliency import read_saliency_map
from tests.explain.conftest import LAST, PROMPT, awaken, fresh_model, make_image, make_processor, random_map
from tests.integration.conftest import SIZES, load_data, registry  # noqa: F401 - a fixture


def train(model, folder, targets: list[str], in_full: list[str] | None = None) -> PeftModel:
    """An adapter with random weights and the plug-in's record, as a training would leave it."""
    settings = LoraConfig(r=2, target_modules=targets, modules_to_save=in_full, task_type="CAUSAL_LM")
    tuned = get_peft_model(model, settings)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad and parameter.ndim == 2:
                parameter.normal_(std=0.1, generator=generator)
    record_settings(tuned, GazeArguments())
    tuned.save_pretrained(folder)
    return tuned.eval()


def make_inputs():
    return gaze_inputs(make_processor(), make_image(), random_map(), PROMPT)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Both stages' adapters, and what stage 2's unmerged model says of the inputs: (stage 1, stage 2, logits)."""
    folder = tmp_path_factory.mktemp("adapters")
    model = fresh_model(**LAST)
    block = f"model.visual.blocks.{LAST['gaze_layers'][0]}"
    stage1 = train(model, folder / "stage1", [f"{block}.mlp.up_proj"], [f"{block}.calibrator"])
    targets = [f"{block}.calibrator.q_proj", f"{block}.calibrator.o_proj", "model.language_model.layers.0.mlp.up_proj"]
    merged = stage1.merge_and_unload()
    del merged.peft_config
    stage2 = train(merged, folder / "stage2", targets)
    with torch.no_grad():
        return folder / "stage1", folder / "stage2", stage2(**make_inputs()).logits


@pytest.mark.filterwarnings("error:Already found a `peft_config`")
def test_adapters_are_merged_one_after_the_other(trained):
    stage1, stage2, expected = trained
    model, processor = load_model(BASE_MODEL, [stage1, stage2], device="cpu")
    assert model.config.vision_config.gaze_layers == LAST["gaze_layers"] and not model.training
    assert not any("lora" in name for name, _ in model.named_parameters())
    assert processor.gaze_fusion == "cross_attention"
    with torch.no_grad():
        found = model(**make_inputs()).logits
        without_stage2 = load_model(BASE_MODEL, [stage1], device="cpu")[0](**make_inputs()).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert (without_stage2 - expected).abs().max() > 0.01


def test_images_are_as_large_as_in_the_training_of_the_adapters(trained, tmp_path):
    stage2 = tmp_path / "stage2"
    shutil.copytree(trained[1], stage2)
    processor = make_processor()
    processor.image_max_pixels = 28 * 28 * 6
    processor.save_pretrained(stage2)
    _, found = load_model(BASE_MODEL, [trained[0], stage2])
    assert found.image_max_pixels == 28 * 28 * 6
    assert load_model(BASE_MODEL, trained[:2])[1].image_max_pixels == make_processor().image_max_pixels


def test_an_exported_model_needs_no_adapter(exported):
    folder = exported("score_modulation")
    model, processor = load_model(folder, dtype=torch.bfloat16, device="cpu")
    assert processor.gaze_fusion == "score_modulation" and model.dtype == torch.bfloat16
    text = caption(model, processor, gaze_inputs(processor, make_image(), random_map(), PROMPT), max_new_tokens=5)
    assert isinstance(text, str) and "<|" not in text


def test_the_caption_is_what_generate_answers(exported):
    model, processor = load_model(exported(), device="cpu")
    inputs = make_inputs()
    tokens = model.generate(**inputs, max_new_tokens=8, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    expected = processor.tokenizer.decode(tokens, skip_special_tokens=True).strip()
    assert caption(model, processor, inputs, max_new_tokens=8) == expected


def test_it_takes_no_llamafactory():
    script = "import sys, llamafactory_gaze.inference, llamafactory_gaze.explain; print('llamafactory' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


@pytest.mark.parametrize("fusion", ["cross_attention", "overlay", "dim", "crop", "text"])
@pytest.mark.parametrize("max_pixels", [None, 12000])
def test_inputs_are_those_of_training(registry, fusion, max_pixels):  # noqa: F811
    more = {} if max_pixels is None else {"image_max_pixels": max_pixels}
    dataset, batch = load_data(registry, gaze_fusion=fusion, **more)
    processor, patches = make_processor(fusion), 0
    for i in range(len(SIZES)):
        image, saliency = Image.open(registry / f"images/{i}.png"), read_saliency_map(registry / f"maps/{i}.png")
        inputs = gaze_inputs(processor, image, saliency, PROMPT, **({"max_pixels": max_pixels} if max_pixels else {}))
        ids = inputs["input_ids"][0].tolist()
        assert dataset[i]["input_ids"][: len(ids)] == ids and dataset[i]["labels"][len(ids)] >= 0
        pixels = inputs["pixel_values"]
        assert torch.equal(batch["pixel_values"][patches : patches + len(pixels)], pixels)
        patches += len(pixels)
    assert patches == len(batch["pixel_values"])


@pytest.mark.parametrize("fusion", ["cross_attention", "overlay", "text"])
def test_without_a_map_the_inputs_are_the_stock_models(fusion):
    inputs = gaze_inputs(make_processor(fusion), make_image(), None, PROMPT)
    stock = gaze_inputs(make_processor(), make_image(), None, PROMPT)
    assert inputs["pixel_values"].shape == (12 * 16, 3 * 392)
    assert torch.equal(inputs["pixel_values"], stock["pixel_values"])
    assert torch.equal(inputs["input_ids"], stock["input_ids"])


def refused(model, adapters=()) -> str:
    with pytest.raises(InferenceError) as error:
        load_model(model, adapters, device="cpu")
    message = str(error.value)
    assert "\n" not in message
    return message


def test_models_without_gaze_are_refused(tmp_path, trained):
    assert "is a stock Qwen2.5-VL, which knows nothing of gaze" in refused(BASE_MODEL)
    assert f"No model is found at {tmp_path}" in refused(tmp_path)
    assert "No model is found at nobody/nothing" in refused("nobody/nothing")
    assert f"{trained[0]} is an adapter: name its base model" in refused(trained[0])
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    assert f"{tmp_path} is not whole" in refused(tmp_path)
    shutil.copy(BASE_MODEL / "model.safetensors", tmp_path)
    assert "needs a Qwen2.5-VL model" in refused(tmp_path)
    shutil.copy(BASE_MODEL / "config.json", tmp_path)
    assert f"The model {tmp_path} cannot be loaded" in refused(tmp_path, [trained[0]])


def test_adapters_that_do_not_fit_are_refused(tmp_path, trained):
    stage1, stage2, _ = trained
    assert "Nothing holds the calibrator's weights" in refused(BASE_MODEL, [stage2])
    assert f"{tmp_path} holds no adapter" in refused(BASE_MODEL, [tmp_path])
    assert "adapter_config.json" in refused(BASE_MODEL, ["nobody/nothing"])

    other = tmp_path / "other"
    train(awaken(fresh_model(gaze_layers=[0])), other, ["model.visual.blocks.1.mlp.up_proj"])
    message = refused(BASE_MODEL, [stage1, other])
    assert f"adapter {other} was trained with `gaze_layers: [0]`" in message and "Use parts of one training" in message

    config = json.loads((other / "adapter_config.json").read_text())
    (other / "adapter_config.json").write_text(json.dumps({**config, "auto_mapping": None}))
    assert f"Adapter {other} carries no gaze settings" in refused(BASE_MODEL, [other])

    broken = tmp_path / "broken"
    shutil.copytree(stage1, broken)
    (broken / "adapter_model.safetensors").unlink()
    assert f"The adapter {broken} cannot be loaded" in refused(BASE_MODEL, [broken])


def test_a_model_that_lacks_weights_is_refused(exported, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(exported(), folder)
    weights = load_file(folder / "model.safetensors")
    for lacking, message in ((".blocks.0.mlp.up_proj.", "it lacks 2 weights"), (".calibrator.", "Nothing holds")):
        kept = {name: value for name, value in weights.items() if lacking not in name}
        save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
        assert message in refused(folder)
