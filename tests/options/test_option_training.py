"""Options that change what is trained or computed: the calibrator learns under each, or the recipe is refused."""

import pytest
import torch

from tests.integration.conftest import load_data, load_model, parse


def step(registry, **keys) -> tuple[float, dict[str, torch.Tensor], torch.nn.Module]:
    """Loss, gradients of what is trained, and the model, after one step of training backwards."""
    model = load_model(registry, **keys)
    batch = load_data(registry)[1]
    loss = model(**batch).loss
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad and p.grad is not None}
    return float(loss), gradients, model


def calibrator_gradient(gradients: dict[str, torch.Tensor]) -> torch.Tensor:
    """Of the calibrator's last layer: the others learn once it has left zero."""
    (name,) = [name for name in gradients if "calibrator" in name and "o_proj.weight" in name]
    return gradients[name]


@pytest.mark.parametrize(
    "keys",
    [
        {"flash_attn": "disabled"},
        {"flash_attn": "sdpa"},
        {"use_rslora": True},
        {"use_dora": True},
        {"loraplus_lr_ratio": 16.0},
        {"neftune_noise_alpha": 5.0},
    ],
    ids=str,
)
def test_the_calibrator_learns_as_without_the_option(registry, keys):
    loss, gradients, _ = step(registry)
    with_option, others, _ = step(registry, **keys)
    assert with_option == pytest.approx(loss, abs=1e-4)  # LoRA starts at zero, the noise comes with the trainer
    torch.testing.assert_close(calibrator_gradient(others), calibrator_gradient(gradients), atol=1e-5, rtol=1e-3)
    assert calibrator_gradient(others).any()


@pytest.mark.parametrize("checkpointing", [False, True])
def test_mixed_precision_trains_the_calibrator(registry, checkpointing):
    """As the recipes for a GPU do it: `bf16: true`, autocast around the forward pass."""
    model = load_model(registry, bf16=True, disable_gradient_checkpointing=not checkpointing)
    kinds = {name: parameter.dtype for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert set(kinds.values()) == {torch.float32}
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.bfloat16()  # as the checkpoint of the 3B model has them
    for name, parameter in model.named_parameters():
        if name.endswith("o_proj.weight") and name in kinds:
            torch.nn.init.normal_(parameter, std=0.1)
    batch = load_data(registry)[1]
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(**batch).loss
    loss.backward()
    learning = {name for name, p in model.named_parameters() if p.requires_grad and p.grad is not None and p.grad.any()}
    assert {name for name in kinds if "calibrator" in name} <= learning


def test_dora_on_a_calibrator_at_zero_is_refused(registry):
    """Divided by the length of its rows it would be NaN, and so would the loss."""
    with pytest.raises(ValueError, match=r"`use_dora` cannot train .*calibrator.o_proj, which starts at zero"):
        load_model(registry, use_dora=True, gaze_train_calibrator="lora")


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("fusion", ["cross_attention", "score_modulation", "input_channel"])
def test_a_quantised_model_trains_a_calibrator_that_is_not(registry, fusion, bits):
    pytest.importorskip("bitsandbytes")
    from bitsandbytes.nn import Linear4bit, Linear8bitLt

    keys = {"gaze_fusion": fusion, "gaze_train_llm": "lora"}
    _, plain, _ = step(registry, **keys)
    loss, gradients, model = step(registry, quantization_bit=bits, **keys)
    assert torch.isfinite(torch.tensor(loss))
    assert set(gradients) == set(plain)  # the same layers are trained: quantised ones are found as well
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())
    kinds = {name: type(module) for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    quantised = {name for name, kind in kinds.items() if issubclass(kind, Linear4bit | Linear8bitLt)}
    assert any("language_model" in name for name in quantised) and any("visual.blocks" in name for name in quantised)
    assert not any("calibrator" in name or "lm_head" in name for name in quantised)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"use_unsloth": True}, "`use_unsloth` does not work with"),
        ({"use_unsloth_gc": True}, "`use_unsloth_gc` does not work with"),
        ({"use_kt": True}, "`use_kt` does not work with"),
        ({"enable_liger_kernel": True}, "`enable_liger_kernel` does not work with .* by model type"),
        ({"mixture_of_depths": "convert"}, "`mixture_of_depths` does not work"),
        ({"shift_attn": True}, "`shift_attn` does not work"),
        ({"use_v1_kernels": True}, "`use_v1_kernels` does not work"),
        ({"pissa_init": True}, "`pissa_init` does not work"),
        ({"finetuning_type": "full"}, "`finetuning_type: full` would not train"),
        ({"finetuning_type": "freeze"}, "`finetuning_type: freeze` would not train"),
        ({"finetuning_type": "oft"}, "`finetuning_type: oft` would not train"),
        ({"finetuning_type": "full", "use_galore": True}, "`use_galore` does not work"),
        ({"finetuning_type": "full", "use_apollo": True}, "`use_apollo` does not work"),
        ({"finetuning_type": "full", "use_badam": True}, "`use_badam` does not work"),
        ({"quantization_bit": 4, "quantization_method": "hqq"}, "Write `quantization_method: bnb`"),
        ({"additional_target": "lm_head"}, "`additional_target` has no place"),
        ({"resize_vocab": True}, "would stay untrained"),
        ({"add_tokens": "<here>"}, "would stay untrained"),
        *(({"stage": stage}, f"not with `stage: {stage}`") for stage in ("pt", "rm", "dpo", "kto")),
        ({"stage": "ppo", "reward_model": "x"}, "not with `stage: ppo`"),
    ],
    ids=str,
)
def test_an_option_under_which_gaze_would_be_lost_is_refused(registry, keys, message):
    with pytest.raises(ValueError, match=message):
        parse(registry, model_name_or_path="there/is-no-such-model", **keys)


@pytest.mark.parametrize("fusion", ["cross_attention", "score_modulation", "input_channel"])
@pytest.mark.parametrize(
    "keys",
    [
        {"lora_target": "all"},
        {"lora_target": None},
        {"lora_target": "q_proj,v_proj"},
        {
            "lora_target": "q_proj,v_proj",
            "freeze_vision_tower": False,
        },  # of the calibrator, too, whose end stays at zero
        {"lora_target": "all", "additional_target": "lm_head"},
    ],
    ids=str,
)
def test_other_targets_that_leave_the_calibrator_untrained_are_refused(registry, fusion, keys):
    with pytest.raises(ValueError, match=r"leaves the calibrator untrained .* Write `lora_target: gaze`") as error:
        load_model(registry, gaze_fusion=fusion, **keys)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("fusion", ["cross_attention", "score_modulation", "input_channel"])
@pytest.mark.parametrize(
    "keys",
    [
        {"lora_target": "all", "additional_target": "calibrator"},
        {"lora_target": "all", "freeze_vision_tower": False},
        {"lora_target": "calibrator,o_proj", "freeze_vision_tower": False},
    ],
    ids=str,
)
def test_other_targets_that_train_the_calibrator_do(registry, fusion, keys):
    if fusion == "cross_attention" and "calibrator" in keys["lora_target"]:
        keys = {**keys, "lora_target": "o_proj"}  # there the calibrator is no layer of its own
    _, gradients, _ = step(registry, gaze_fusion=fusion, **keys)
    assert any(gradient.any() for name, gradient in gradients.items() if "calibrator" in name)


def test_a_trained_calibrator_may_not_be_left_out_silently(registry):
    """Nor where it is merged and no longer at zero: `gaze_train_calibrator: frozen` says it aloud."""
    model = load_model(registry)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "calibrator" in name and parameter.requires_grad:
                parameter.add_(0.1)
    model.save_pretrained(registry / "stage1")
    stage1 = {"adapter_name_or_path": str(registry / "stage1"), "create_new_adapter": True}
    with pytest.raises(ValueError, match="leaves the calibrator untrained"):
        load_model(registry, lora_target="all", **stage1)
    aloud = load_model(registry, gaze_train_calibrator="frozen", gaze_train_llm="lora", **stage1)
    assert not any("calibrator" in name and p.requires_grad for name, p in aloud.named_parameters())


def test_a_model_without_calibrators_takes_any_target(registry):
    assert load_model(registry, gaze_fusion="dim", lora_target="all").peft_config


def test_ray_without_a_gpu_is_refused_instead_of_waiting(registry, monkeypatch):
    from llamafactory.hparams import get_ray_args

    from tests.integration.conftest import recipe

    monkeypatch.setenv("USE_RAY", "1")
    with pytest.raises(ValueError, match="`USE_RAY=1` needs a GPU"):
        get_ray_args(recipe(registry))
    assert get_ray_args({**recipe(registry), "template": "qwen2_vl"}).use_ray
