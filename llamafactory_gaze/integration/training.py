"""What is trained: turns `lora_target: gaze` into exact module names, and prints what came of it.

The paper's two stages (figure 1, A.4) in recipe keys:

                             stage 1    stage 2
    gaze_train_calibrator    full       lora       E_sal and cross-attention
    gaze_train_vision        lora       lora       MLP of the first patched block, and all later blocks
    gaze_train_projector     frozen     frozen     merger
    gaze_train_llm           frozen     lora       language model
"""

import copy
from typing import Any

from rich.console import Console
from rich.table import Table
from torch import nn

from llamafactory_gaze.integration.arguments import LORA_TARGET, GazeArguments
from llamafactory_gaze.modeling.configuration import Qwen2_5_VLGazeVisionConfig
from llamafactory_gaze.modeling.gaze import ZeroInitLinear


COMPONENTS = (
    "visual tower before the calibrator",
    "calibrator",
    "visual tower after it",
    "projector",
    "language model",
)


def component(name: str, first_patched_block: int) -> str:
    """The component, one of `COMPONENTS`, that a parameter or module of the gaze model belongs to, by its name."""
    if ".calibrator" in name:
        return "calibrator"  # see `modeling/gaze.py`
    if "visual.merger." in name:
        return "projector"
    if "visual.blocks." in name:
        block, _, part = name.split("visual.blocks.")[1].partition(".")
        after = int(block) > first_patched_block or (int(block) == first_patched_block and part.startswith("mlp."))
        return COMPONENTS[2] if after else COMPONENTS[0]
    return COMPONENTS[0] if "visual." in name else "language model"


def training_targets(model: Any, gaze: GazeArguments) -> tuple[list[str], list[str]]:
    """Full names of the modules that get LoRA and of those that are trained in full.

    LLaMA-Factory matches `lora_target` by substring, so that `blocks.2` would hit 20 to 29; full names of single linear
    layers hit nothing but themselves.

    Args:
        model: the gaze model, before peft wraps it.

    Raises:
        ValueError: `gaze_llm_layers` names a layer that does not exist, or nothing would be trained.
    """
    depth = len(model.model.language_model.layers)
    llm_layers = range(depth) if gaze.gaze_llm_layers is None else gaze.gaze_llm_layers
    if any(layer >= depth for layer in llm_layers):
        raise ValueError(f"`gaze_llm_layers: {gaze.gaze_llm_layers}`: the language model has layers 0 to {depth - 1}.")
    chosen_llm = tuple(f"model.language_model.layers.{layer}." for layer in llm_layers)
    ways = {
        "calibrator": gaze.gaze_train_calibrator,
        "visual tower after it": gaze.gaze_train_vision,
        "projector": gaze.gaze_train_projector,
        "language model": gaze.gaze_train_llm,
    }
    first = model.config.vision_config.first_trained_block
    lora = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and ways.get(component(name, first)) == "lora"
        and (component(name, first) != "language model" or name.startswith(chosen_llm))
    ]
    full = [
        name
        for name, _ in model.named_modules()
        if (name.endswith(".calibrator") and gaze.gaze_train_calibrator == "full")
        or (name == "model.visual.merger" and gaze.gaze_train_projector == "full")
    ]
    if not lora:
        raise ValueError(
            "`lora_target: gaze` finds nothing to train by LoRA: write `lora` for at least one of "
            "gaze_train_calibrator, gaze_train_vision, gaze_train_projector, gaze_train_llm."
        )
    return lora, full


def resolve_targets(model: nn.Module, model_args: Any, finetuning_args: Any, zero3: bool) -> Any:
    """Finetuning arguments in which `lora_target: gaze` has become module names; others come back unchanged.

    Raises:
        ValueError: stage 2 would go on training stage 1's adapter instead of a new one.
    """
    if LORA_TARGET not in finetuning_args.lora_target:
        return finetuning_args
    if model_args.adapter_name_or_path is not None:
        if not finetuning_args.create_new_adapter:
            raise ValueError(
                "`adapter_name_or_path` with `lora_target: gaze` needs `create_new_adapter: true`: without it "
                "LLaMA-Factory goes on training the old adapter, and the language model's LoRA is never made."
            )
        if zero3:
            raise ValueError(
                "Under DeepSpeed ZeRO-3 LLaMA-Factory does not merge `adapter_name_or_path` but goes on training it. "
                "Merge stage 1 first (llamafactory-cli export yaml_recipes/export.yaml) and start from the result, or "
                "use ZeRO-2."
            )
    lora, full = training_targets(model, model_args.gaze)
    if finetuning_args.use_dora:
        _check_dora(model, lora)
    resolved = copy.copy(finetuning_args)
    resolved.lora_target = lora
    resolved.additional_target = full or None
    # The names are exact; LLaMA-Factory's own freezing by substring would take them out again.
    resolved.freeze_vision_tower = resolved.freeze_multi_modal_projector = resolved.freeze_language_model = False
    return resolved


def check_calibrators_learn(model: nn.Module, lora_target: list[str]) -> None:
    """Stop a training under another `lora_target` than `gaze` that would leave a calibrator as it is.

    That is one of which nothing is trained, and one whose last layer is frozen at zero: nothing before it would get a
    gradient. LLaMA-Factory's `all` means the language model's layers, unless `freeze_vision_tower` says otherwise.

    Args:
        model: as peft has wrapped it.

    Raises:
        ValueError: says what to write.
    """
    trained = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and ".calibrator" in name and ".original_module." not in name
    ]
    for name, module in model.named_modules():
        part = name.endswith(".calibrator") or (isinstance(module, ZeroInitLinear) and not module.weight.any())
        if part and ".original_module" not in name:
            layer = name.removesuffix(".base_layer")
            if not any(other.startswith(f"{layer}.") for other in trained):
                raise ValueError(
                    f"`lora_target: {','.join(lora_target)}` leaves the calibrator untrained ({layer} is frozen). "
                    f"Write `lora_target: {LORA_TARGET}`, with gaze_train_vision, gaze_train_projector and "
                    "gaze_train_llm for what else is trained; or add `additional_target: calibrator`."
                )


def _check_dora(model: nn.Module, targets: list[str]) -> None:
    """DoRA divides by the length of each row of a weight, which is 0 in the calibrator's last layer before training.

    Raises:
        ValueError: names the layer.
    """
    for name in targets:
        weight: Any = model.get_submodule(name).weight
        if "calibrator" in name and not weight.any():
            raise ValueError(
                f"`use_dora` cannot train {name}, which starts at zero. Write `gaze_train_calibrator: full`, or take "
                "`use_dora` out."
            )


def keep_unquantized(quantization_config: Any, gaze: GazeArguments) -> None:
    """Keeps out of a bitsandbytes quantisation what is trained in full, and the calibrators, which checkpoints lack.

    `lm_head` is what transformers would leave alone by itself.
    """
    names = ["lm_head", r".*\.calibrator"]
    if gaze.gaze_train_projector == "full":
        names.append(r".*visual\.merger")
    quantization_config.llm_int8_skip_modules = names


def count_parameters(model: nn.Module, first_patched_block: int) -> dict[str, dict[str, int]]:
    """Numbers of parameters by component and by the way they are trained: `full`, `lora`, `frozen`."""
    counts = {name: {"full": 0, "lora": 0, "frozen": 0} for name in COMPONENTS}
    for name, parameter in model.named_parameters():
        if ".original_module." in name:  # peft's untrained copy of a module that is trained in full
            continue
        way = "frozen" if not parameter.requires_grad else "lora" if ".lora_" in name else "full"
        # Under ZeRO-3 a parameter is spread over the ranks and looks empty here.
        counts[component(name, first_patched_block)][way] += getattr(parameter, "ds_numel", parameter.numel())
    return counts


def print_parameters(model: nn.Module, config: Qwen2_5_VLGazeVisionConfig) -> None:
    """The table of what is trained in full, by LoRA, and frozen."""
    blocks = ", ".join(map(str, config.gaze_layers or ()))
    where = f", gaze_layers {blocks}" if blocks else ""
    table = Table(title=f"What is trained (gaze_fusion {config.gaze_fusion}{where})")
    table.add_column("")
    for way in ("in full", "by LoRA", "frozen"):
        table.add_column(way, justify="right")
    for name, counts in count_parameters(model, config.first_trained_block).items():
        table.add_row(name, *(f"{counts[way]:,}" if counts[way] else "-" for way in ("full", "lora", "frozen")))
    Console().print(table)
