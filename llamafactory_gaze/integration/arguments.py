"""The `gaze_*` keys of a recipe, in the manner of LLaMA-Factory's own argument classes."""

from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args, get_origin

from llamafactory_gaze.modeling.configuration import GAZE_FIELDS, PRESETS


TEMPLATE = "qwen2_5_vl_gaze"
LORA_TARGET = "gaze"
EXCHANGES = ("shuffle", "observer")  # ablations that give a row the map of another row


def _choices(annotation: Any) -> tuple[str, ...]:
    """The values of a `Literal` or of a `Literal | None`; none for other types."""
    literals = [kind for kind in (annotation, *get_args(annotation)) if get_origin(kind) is Literal]
    return get_args(literals[0]) if literals else ()


@dataclass
class GazeArguments:
    """Arguments pertaining to gaze; they need `template: qwen2_5_vl_gaze`."""

    gaze_preset: Literal["paper"] | None = field(
        default=None,
        metadata={
            "help": (
                "paper: the literal formulas of the paper (gaze_fusion cross_attention, gaze_query patch, gaze_norm "
                "post, gaze_rope false). Default: the keys below, each with its own default."
            )
        },
    )
    gaze_fusion: (
        Literal["cross_attention", "score_modulation", "input_channel", "overlay", "dim", "crop", "text"] | None
    ) = field(
        default=None,
        metadata={
            "help": (
                "How gaze comes in. Into the visual tower: cross_attention (the paper's calibrator), score_modulation "
                "(scales the self-attention's scores), input_channel (one more channel of the patch embedding). Into "
                "the picture: overlay (heat colours), dim (dark where nobody looked), crop (to the most salient part). "
                "Into the prompt: text (the peaks of the map as coordinates). Default: cross_attention."
            )
        },
    )
    gaze_layers: list[int] | None = field(
        default=None,
        metadata={
            "help": (
                "Blocks of the visual tower that get a saliency calibrator, counted from 0, e.g. [28]. "
                "Default: those of the adapter or model that is loaded, else one late block "
                "(28 of the 32 blocks of Qwen2.5-VL-3B and -7B)."
            )
        },
    )
    gaze_num_heads: int | None = field(
        default=None,
        metadata={"help": "Heads of the calibrator's cross-attention. Default: as many as the visual tower has."},
    )
    gaze_query: Literal["patch", "global"] | None = field(
        default=None,
        metadata={"help": "One query per image patch (N_s = N_p), or one per image (N_s = 1). Default: patch."},
    )
    gaze_norm: Literal["pre", "post"] | None = field(
        default=None,
        metadata={"help": "x + Z in the tower's pre-norm manner, or the paper's LayerNorm(x + Z). Default: pre."},
    )
    gaze_rope: bool | None = field(
        default=None,
        metadata={
            "help": (
                "Whether the tower's rotary positions turn the calibrator's queries and keys; the paper's formula has "
                "no positions. Default: false."
            )
        },
    )
    gaze_scope: Literal["image", "window"] | None = field(
        default=None,
        metadata={
            "help": (
                "What a query of the calibrator sees: the whole image, or its window of the visual tower (8 x 8 "
                "patches), which costs less for very large pictures. Default: image."
            )
        },
    )
    gaze_ablation: Literal["none", "off", "uniform", "center", "shuffle", "observer"] = field(
        default="none",
        metadata={
            "help": (
                "Control condition, in training and at prediction time. off: no map at all. uniform: each map becomes "
                "its own mean, everywhere. center: each map becomes the usual bias to the middle of the image. "
                "shuffle: each image gets the map of another image. observer: each image gets its map of another "
                "observer."
            )
        },
    )
    gaze_cached_images: int = field(
        default=0,
        metadata={
            "help": (
                "Of how many images the output of the visual tower's blocks before the first calibrator is kept, so "
                "that the same image with another map need not go through them again. In training only where these "
                "blocks are frozen, as with `lora_target: gaze`. Default: 0."
            )
        },
    )
    gaze_image_cache: str | None = field(
        default=None,
        metadata={
            "help": (
                "A folder where the same output is kept in files, for more images than memory holds and for later runs "
                "of the same model. Default: none."
            )
        },
    )
    gaze_image_cache_gb: float = field(
        default=20.0,
        metadata={"help": "The most that `gaze_image_cache` may take, in gigabytes; images not used the longest go."},
    )
    gaze_card_results: str | None = field(
        default=None,
        metadata={"help": "In export: the results.json of eval.compare whose table the model card shows."},
    )
    gaze_card_data: str | None = field(
        default=None,
        metadata={
            "help": (
                "In export: the training data that the model card links, as a folder with a data card (README.md) or "
                "OWNER/NAME of a data set on the Hub. What the data card says of its maps goes into the model card."
            )
        },
    )
    gaze_train_calibrator: Literal["frozen", "lora", "full"] = field(
        default="full",
        metadata={"help": "With `lora_target: gaze`: how E_sal and the cross-attention are trained."},
    )
    gaze_train_vision: Literal["frozen", "lora"] = field(
        default="lora",
        metadata={
            "help": "With `lora_target: gaze`: how the MLP of the first patched block and all later blocks are trained."
        },
    )
    gaze_train_projector: Literal["frozen", "lora", "full"] = field(
        default="frozen",
        metadata={"help": "With `lora_target: gaze`: how the projector to the language model (merger) is trained."},
    )
    gaze_train_llm: Literal["frozen", "lora"] = field(
        default="frozen",
        metadata={"help": "With `lora_target: gaze`: how the language model is trained."},
    )
    gaze_llm_layers: list[int] | None = field(
        default=None,
        metadata={"help": "Layers of the language model that get LoRA where `gaze_train_llm: lora`. Default: all."},
    )

    def __post_init__(self) -> None:
        if self.gaze_ablation is False:
            self.gaze_ablation = "off"  # YAML reads a bare `off` as false
        for key in fields(self):
            value, choices = getattr(self, key.name), _choices(key.type)
            if choices and value not in choices and not (value is None and key.default is None):
                raise ValueError(f"`{key.name}: {value!s:.60}` is not known. Allowed: {', '.join(choices)}.")
        for name in ("gaze_layers", "gaze_llm_layers"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, list) and all(type(i) is int and i >= 0 for i in value)):
                raise ValueError(
                    f"`{name}: {value!s:.60}` is not a list of blocks. Allowed: numbers from 0, e.g. [28]."
                )
        for name in ("gaze_card_results", "gaze_card_data", "gaze_image_cache"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value and "\0" not in value):
                raise ValueError(f"`{name}: {value!r:.60}` is not the name of a file, a folder or a data set.")
        if self.gaze_rope is not None and not isinstance(self.gaze_rope, bool):
            raise ValueError(f"`gaze_rope: {self.gaze_rope!s:.60}` is neither true nor false.")
        for name, value in PRESETS.get(self.gaze_preset or "", {}).items():
            if getattr(self, name) not in (None, value):
                raise ValueError(
                    f"`gaze_preset: {self.gaze_preset}` means `{name}: {value}`, but the recipe says "
                    f"`{name}: {getattr(self, name)}`. Take one of them out."
                )
            setattr(self, name, value)
        if self.gaze_num_heads is not None and (type(self.gaze_num_heads) is not int or self.gaze_num_heads < 1):
            raise ValueError(f"`gaze_num_heads: {self.gaze_num_heads!s:.60}` is not a whole number from 1.")

        if type(self.gaze_cached_images) is not int or self.gaze_cached_images < 0:
            raise ValueError(f"`gaze_cached_images: {self.gaze_cached_images!s:.60}` is not a whole number from 0.")
        size = self.gaze_image_cache_gb
        if type(size) not in (int, float) or not 0 < size < float("inf"):
            raise ValueError(f"`gaze_image_cache_gb: {size!r:.60}` is not a number of gigabytes above 0.")

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the calibrator that the recipe gives; a missing one is left to the adapter or the model."""
        return {name: getattr(self, name) for name in GAZE_FIELDS if getattr(self, name) is not None}

    def changed(self) -> list[str]:
        """Names of the keys that differ from their default."""
        return [f.name for f in fields(self) if getattr(self, f.name) != f.default]


def check_recipe(
    gaze: GazeArguments, model_args: Any, data_args: Any, finetuning_args: Any, training_args: Any | None
) -> bool:
    """Says whether a recipe asks for gaze, and stops one that cannot mean what it says.

    Args:
        gaze, model_args, data_args, finetuning_args: the parsed recipe.
        training_args: None for `chat`, `api` and `export`.

    Raises:
        ValueError: in one sentence, what is wrong and what to write instead.
    """
    if data_args.template != TEMPLATE:
        wants_gaze = gaze.changed() + (["lora_target"] if LORA_TARGET in finetuning_args.lora_target else [])
        if wants_gaze:
            raise ValueError(
                f"`{wants_gaze[0]}` asks for gaze, but the recipe says `template: {data_args.template}`. "
                f"Write `template: {TEMPLATE}`."
            )
        return False
    if finetuning_args.stage != "sft":
        raise ValueError(f"`template: {TEMPLATE}` works with `stage: sft`, not with `stage: {finetuning_args.stage}`.")
    if model_args.trust_remote_code:
        raise ValueError(
            f"`trust_remote_code: true` would run Python code out of the model's folder, which `template: {TEMPLATE}` "
            "never needs: take it out."
        )
    _check_options(model_args, finetuning_args, training_args)
    if model_args.infer_backend == "vllm":
        raise ValueError(
            "`infer_backend: vllm` does not see gaze: LLaMA-Factory hands vLLM plain pictures. Write `infer_backend: "
            "huggingface`, or serve the exported model with vLLM itself (docs/vllm.md)."
        )
    if model_args.infer_backend != "huggingface":
        raise ValueError(
            f"`infer_backend: {model_args.infer_backend}` does not see gaze. Write `infer_backend: huggingface`."
        )
    if LORA_TARGET in finetuning_args.lora_target and finetuning_args.lora_target != [LORA_TARGET]:
        raise ValueError(
            f"`lora_target: {','.join(finetuning_args.lora_target)}`: `{LORA_TARGET}` stands alone. What is trained "
            "follows from gaze_train_calibrator, gaze_train_vision, gaze_train_projector and gaze_train_llm."
        )
    if gaze.gaze_ablation in EXCHANGES and training_args is None:
        raise ValueError(
            f"`gaze_ablation: {gaze.gaze_ablation}` needs a data set whose maps it exchanges; here allowed: none, off, "
            "uniform, center."
        )
    if gaze.gaze_ablation in EXCHANGES and data_args.streaming:
        raise ValueError(f"`gaze_ablation: {gaze.gaze_ablation}` needs the whole data set: write `streaming: false`.")
    return True


def check_ray(ray_args: Any, recipe: Any) -> None:
    """Stops a gaze recipe under Ray on a machine without an accelerator.

    Args:
        ray_args: LLaMA-Factory's arguments for Ray.
        recipe: what they were parsed from; only a recipe in YAML or JSON, a dictionary here, is looked at.

    Raises:
        ValueError: LLaMA-Factory would wait for ever: it asks Ray for ten times as many CPUs as there are.
    """
    if not ray_args.use_ray or not isinstance(recipe, dict) or recipe.get("template") != TEMPLATE:
        return
    from llamafactory.extras.misc import get_device_name

    if get_device_name() == "cpu":
        raise ValueError(
            "`USE_RAY=1` needs a GPU: without one LLaMA-Factory asks Ray for ten times as many CPUs as there are, and "
            "waits for ever. Train without Ray."
        )


# Options of LLaMA-Factory under which gaze would be lost, and why (docs/training_options.md).
_MODEL_OPTIONS = {
    "use_unsloth": "it builds models of its own, without calibrators",
    "use_unsloth_gc": "it runs the visual tower's blocks in a way that was never tested with gaze",
    "use_kt": "it builds models of its own, without calibrators",
    "enable_liger_kernel": "LLaMA-Factory picks its kernels by model type and would run a gaze model without them",
    "mixture_of_depths": "it rebuilds models of other kinds only",
    "shift_attn": "LLaMA-Factory has it for other models only",
    "use_v1_kernels": "it replaces layers by model type and was never tested with gaze",
}
_TUNING_OPTIONS = {
    "use_mca": "Megatron builds models of its own, without calibrators",
    "use_hyper_parallel": "it was never tested with gaze",
    "use_llama_pro": "it trains copies of language model layers, and no calibrator",
    "use_galore": "it goes with full tuning, and `lora_target: gaze` says what is trained",
    "use_apollo": "it goes with full tuning, and `lora_target: gaze` says what is trained",
    "use_badam": "it goes with full tuning, and `lora_target: gaze` says what is trained",
    "pissa_init": "a calibrator that starts at zero has no singular vectors to start from",
}


def _check_options(model_args: Any, finetuning_args: Any, training_args: Any | None) -> None:
    """Stops a recipe with an option of LLaMA-Factory that would lose the maps, or leave the calibrator untrained.

    Raises:
        ValueError: names the option.
    """
    for arguments, options in ((model_args, _MODEL_OPTIONS), (finetuning_args, _TUNING_OPTIONS)):
        for name, reason in options.items():
            if getattr(arguments, name, None):
                raise ValueError(f"`{name}` does not work with `template: {TEMPLATE}`: {reason}. Take it out.")
    if model_args.quantization_bit is not None and model_args.quantization_method != "bnb":
        raise ValueError(
            f"`quantization_method: {model_args.quantization_method}` was never tested with gaze. Write "
            "`quantization_method: bnb`."
        )
    trains = training_args is not None and training_args.do_train
    if trains and finetuning_args.finetuning_type != "lora":
        raise ValueError(
            f"`finetuning_type: {finetuning_args.finetuning_type}` would not train the calibrator as the gaze keys "
            f"say. Write `finetuning_type: lora` and `lora_target: {LORA_TARGET}`."
        )
    if trains and LORA_TARGET in finetuning_args.lora_target:
        if finetuning_args.additional_target is not None:
            raise ValueError(
                f"`additional_target` has no place beside `lora_target: {LORA_TARGET}`: what is trained in full "
                "follows from gaze_train_calibrator and gaze_train_projector. Take it out."
            )
        if model_args.resize_vocab or model_args.add_tokens or model_args.add_special_tokens:
            raise ValueError(
                f"New tokens (`resize_vocab`, `add_tokens`, `add_special_tokens`) would stay untrained under "
                f"`lora_target: {LORA_TARGET}`. Add them to the base model first, or write the target modules by name."
            )
