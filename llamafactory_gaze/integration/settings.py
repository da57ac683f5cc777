"""The calibrator's settings, and where they come from: the recipe, a trained adapter, the model, or the default.

An adapter's weights fit one placement of the calibrator only. So `adapter_config.json` carries the settings it was
trained with (in peft's own field `auto_mapping`), a recipe that uses it need not repeat them, and one that says
something else is refused.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from peft import PeftConfig

import llamafactory_gaze
from llamafactory_gaze.data.places import brief, require_file
from llamafactory_gaze.data.provenance import file_sha256
from llamafactory_gaze.export.whole import check_weights
from llamafactory_gaze.integration.arguments import TEMPLATE, GazeArguments
from llamafactory_gaze.modeling.configuration import GAZE_DEFAULTS, GAZE_FIELDS, PRESETS, Qwen2_5_VLGazeConfig


_RECORD = "llamafactory_gaze"
WEIGHTS = "adapter_model.safetensors"
_BASES = ("qwen2_5_vl", Qwen2_5_VLGazeConfig.model_type)


def gaze_config(config: Any, model_args: Any) -> Qwen2_5_VLGazeConfig:
    """The configuration of the model that a recipe asks for.

    Args:
        config: the configuration found at `model_name_or_path`.
        model_args: LLaMA-Factory's model arguments, with our `gaze` attached.

    Raises:
        ValueError: no Qwen2.5-VL; a setting that this tower cannot have; or an adapter, a model and a recipe that
            disagree.
    """
    if config.model_type not in _BASES:
        raise ValueError(
            f"`template: {TEMPLATE}` needs a Qwen2.5-VL model, but {model_args.model_name_or_path} is of type "
            f"{config.model_type}. Give e.g. Qwen/Qwen2.5-VL-3B-Instruct."
        )
    gaze: GazeArguments = model_args.gaze
    sources = [
        (f"adapter {adapter}", adapter_settings(adapter, model_args))
        for adapter in model_args.adapter_name_or_path or []
    ]
    if isinstance(config, Qwen2_5_VLGazeConfig):
        sources.append((f"model {model_args.model_name_or_path}", config.vision_config.gaze_settings()))

    inherited = {**sources[0][1]} if sources else {}
    wanted = {**inherited, **gaze.settings}
    for name, settings in sources:
        differing = [key for key in GAZE_FIELDS if _plain(settings[key]) != _plain(wanted[key])]
        if differing:
            key = differing[0]
            by_preset = key in PRESETS.get(gaze.gaze_preset or "", {})
            says = f"`gaze_preset: {gaze.gaze_preset}` means" if by_preset else "the recipe says"
            raise ValueError(
                f"{name} was trained with `{key}: {settings[key]}`, but "
                + (
                    f"{says} `{key}: {getattr(gaze, key)}`. Take the key out of the recipe"
                    if key in gaze.settings
                    else f"{sources[0][0]} was trained with `{key}: {inherited[key]}`. Use parts of one training"
                )
                + ", or train anew."
            )
    _check_order(model_args, isinstance(config, Qwen2_5_VLGazeConfig))
    try:
        return Qwen2_5_VLGazeConfig.from_stock(config, **wanted)
    except (ValueError, StrictDataclassError) as error:
        if not sources:
            raise
        raise ValueError(f"{sources[0][0]} has settings that do not fit the model: {brief(error, 400)}") from error


def _plain(value: Any) -> Any:
    """A setting in the form in which the configuration keeps it."""
    return sorted(value) if isinstance(value, list) else value


def adapter_settings(adapter: str, model_args: Any) -> dict[str, Any]:
    """The gaze settings that an adapter carries.

    Raises:
        ValueError: it carries none.
    """
    record = _read_record(adapter, model_args)
    if record is None:
        raise ValueError(
            f"Adapter {adapter} carries no gaze settings: it was not trained with `template: {TEMPLATE}`. "
            "Merge it into the base model first (llamafactory-cli export), then train or predict with the result."
        )
    try:
        settings = {**GAZE_DEFAULTS, **record["settings"]}
        GazeArguments(**settings)
        for name, value in settings.items():
            if name not in GAZE_DEFAULTS or (value is None and GAZE_DEFAULTS[name] is not None):
                raise ValueError(f"`{name}: {value!s:.60}` is no setting of the calibrator")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"The gaze settings in {adapter}/adapter_config.json are damaged ({brief(error)}). "
            "Take the file of the training."
        ) from error
    return settings


def weights_digest(adapter: str, model_args: Any) -> str | None:
    """The SHA-256 of an adapter's weights; None where it is not on this disk."""
    file = Path(adapter, model_args.adapter_folder or "") / WEIGHTS
    return file_sha256(file) if file.is_file() else None


def _check_order(model_args: Any, gaze_model: bool) -> None:
    """Each adapter adds to what those before it have made; on anything else it makes a model that nobody trained.

    Args:
        gaze_model: whether the model has calibrators itself, as an export has, which may hold the first adapters.

    Raises:
        ValueError: an adapter was trained after others than those that come before it here.
    """
    adapters = model_args.adapter_name_or_path or []
    digests = [weights_digest(adapter, model_args) for adapter in adapters[:-1]]  # of those that others come after
    for place, adapter in enumerate(adapters):
        record = _read_record(adapter, model_args) or {}
        trained_after = record.get("after")
        if trained_after is None:  # an adapter of an earlier version
            continue
        if not isinstance(trained_after, list):
            raise ValueError(
                f"The gaze settings in {adapter}/adapter_config.json are damaged (`after: {trained_after!s:.60}`). "
                "Take the file of the training."
            )
        expected = trained_after[len(trained_after) - place :] if gaze_model else trained_after
        unknown = any(None in pair for pair in zip(expected, digests, strict=False))
        fits = len(expected) == place and (unknown or expected == digests[:place])
        if not fits or (record.get("on_gaze_model") and not gaze_model):
            here = f"after {', '.join(adapters[:place])}" if place else f"on {model_args.model_name_or_path}"
            count = len(trained_after)
            there = f"after {count} other{'s' * (count > 1)}" if count else "on the base model itself"
            there = "on an exported gaze model" if record.get("on_gaze_model") else there
            raise ValueError(
                f"Adapter {adapter} was trained {there}, and here it comes {here}, which is not the same. Give all "
                "adapters in the order of training, stage 1 first, on the model that they were trained on."
            )


def refuse_gaze_adapters(model_args: Any) -> None:
    """For recipes without gaze: peft would load a gaze adapter into a stock model and drop the calibrator silently.

    Raises:
        ValueError: an adapter was trained with gaze.
    """
    for adapter in model_args.adapter_name_or_path or []:
        if _read_record(adapter, model_args) is not None:
            raise ValueError(
                f"Adapter {adapter} was trained with gaze, and without it would lose a part of its weights. "
                f"Write `template: {TEMPLATE}`, and `gaze_ablation: off` to use it without maps."
            )


def _read_record(adapter: str, model_args: Any) -> dict[str, Any] | None:
    folder = Path(adapter, model_args.adapter_folder or "")
    if folder.is_dir() and not (folder / WEIGHTS).is_file() and (pickles := sorted(folder.glob("adapter_model.*"))):
        raise ValueError(
            f"Adapter {adapter} has its weights in {pickles[0].name}; expected {WEIGHTS}, which cannot hold code. Save "
            "it again where you trust it, with `safe_serialization=True` of peft."
        )
    if (folder / WEIGHTS).is_file():
        check_weights(folder / WEIGHTS)
    try:
        if (local := folder / "adapter_config.json").exists():
            require_file(local)
        config = PeftConfig.from_pretrained(
            adapter,
            subfolder=model_args.adapter_folder,
            cache_dir=model_args.cache_dir,
            revision=model_args.model_revision,
            token=model_args.hf_hub_token,
        )
        record = (config.auto_mapping or {}).get(_RECORD)
    except Exception as error:  # peft hands a damaged file to its classes, which raise nearly anything
        raise ValueError(
            f"The adapter_config.json of adapter {adapter} cannot be used ({type(error).__name__}: "
            f"{str(error).strip().partition(chr(10))[0]:.200})."
        ) from error
    if not isinstance(record, dict | None):
        raise ValueError(f"The gaze settings in {adapter}/adapter_config.json are {record!r:.60}, expected an object.")
    return record


def record_settings(model: Any, gaze: GazeArguments, trained_on: Mapping[str, Any] | None = None) -> None:
    """Writes the model's gaze settings into its active adapter's configuration, which peft saves with the weights.

    Args:
        trained_on: `after`, the digests of the adapters that were merged before (`weights_digest`), and
            `on_gaze_model`, whether the model had calibrators before all of them.
    """
    record = {
        "settings": model.config.vision_config.gaze_settings(),
        "trained_with_ablation": gaze.gaze_ablation,
        "version": llamafactory_gaze.__version__,
        **(trained_on or {}),
    }
    for config in model.peft_config.values():
        base = model.get_base_model()
        config.auto_mapping = {
            "base_model_class": type(base).__name__,
            "parent_library": type(base).__module__,
            _RECORD: record,
        }
