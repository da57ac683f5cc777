"""Every place where LLaMA-Factory is touched, in the order in which it imports them.

Each touchpoint names a module of LLaMA-Factory and the attributes that it needs there, and runs right after that module
was imported; `other.module:name` is needed in another one. If LLaMA-Factory has changed under us, the touchpoint is
left out, and a recipe that asks for gaze stops at once with a sentence that says what is missing. Recipes without gaze
run as if the plug-in were not there.

A module that imports torch itself, as `llamafactory.train.tuner` in the workers of torchrun, is met half imported. What
it lacks then is looked for once more when a recipe asks for gaze.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

from wrapt import register_post_import_hook, wrap_function_wrapper

from llamafactory_gaze.versions import TESTED, has


MODEL_TYPE = "qwen2_5_vl_gaze"


@dataclass(frozen=True)
class Touchpoint:
    """One place in LLaMA-Factory: after `module` is imported and has all `attributes`, `apply(module)` runs."""

    module: str
    attributes: tuple[str, ...]
    apply: Callable[[ModuleType], None]


TOUCHPOINTS: list[Touchpoint] = []
_pending: list[tuple[Touchpoint, ModuleType]] = []
_failures: list[str] = []
_armed = False


def arm_touchpoints() -> None:
    """Waits for each module of `TOUCHPOINTS`. Safe to call twice."""
    global _armed
    if not _armed:
        _armed = True
        for touchpoint in TOUCHPOINTS:
            register_post_import_hook(_hook(touchpoint), touchpoint.module)


def _hook(touchpoint: Touchpoint) -> Callable[[ModuleType], None]:
    def hook(module: ModuleType) -> None:
        if _missing(touchpoint, module):
            _pending.append((touchpoint, module))
        else:
            _apply(touchpoint, module)

    return hook


def _apply(touchpoint: Touchpoint, module: ModuleType) -> None:
    try:
        touchpoint.apply(module)
    except Exception as error:  # raised, it would break the import of LLaMA-Factory
        _failures.append(f"{touchpoint.module} as it was ({error!r})")


def _missing(touchpoint: Touchpoint, module: ModuleType) -> list[str]:
    missing = []
    for attribute in touchpoint.attributes:
        elsewhere, _, name = attribute.rpartition(":")
        if not has(elsewhere or module, name):
            missing.append(f"{elsewhere or touchpoint.module}.{name}")
    return missing


def check_touchpoints() -> None:
    """Raises RuntimeError, naming what LLaMA-Factory lacks and its version, unless every touchpoint fits."""
    for pending in [*_pending]:
        if not _missing(*pending):
            _pending.remove(pending)
            _apply(*pending)
    missing = [name for pending in _pending for name in _missing(*pending)] + _failures
    if missing:
        tested, found = str(TESTED["llamafactory"]), version("llamafactory")
        raise RuntimeError(
            f"llamafactory-gaze expects {', '.join(missing)} in LLaMA-Factory, as in version "
            f"{tested.strip('=')}; version {found} does not have it. Install llamafactory{tested}."
        )


def touch(module: str, *attributes: str) -> Callable[[Callable[[ModuleType], None]], Callable[[ModuleType], None]]:
    def add(apply: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
        TOUCHPOINTS.append(Touchpoint(module, attributes, apply))
        return apply

    return add


@touch("llamafactory.extras.constants", "MROPE_MODELS")
def _multimodal_positions(module: ModuleType) -> None:
    """The collator checks by model type that 3-D positions were made."""
    module.MROPE_MODELS.add(MODEL_TYPE)


@touch("llamafactory.model.model_utils.visual", "COMPOSITE_MODELS", "_register_composite_model")
def _composite_model(module: ModuleType) -> None:
    """Which modules are vision, projector and language: as for Qwen2.5-VL. There is no public function for it.

    In the stock model LoRA keeps out of the whole patch embedding, in ours out of its convolution only: the calibrator
    of `gaze_fusion: input_channel` stands beside it.
    """
    stock = module.COMPOSITE_MODELS["qwen2_5_vl"]
    module._register_composite_model(
        model_type=MODEL_TYPE,
        projector_keys=stock.projector_keys,
        vision_model_keys=stock.vision_model_keys,
        language_model_keys=stock.language_model_keys,
        lora_conflict_keys=["patch_embed.proj"],
    )


@touch(
    "llamafactory.hparams.parser",
    "_parse_args",
    "_TRAIN_ARGS",
    "_INFER_ARGS",
    "_EVAL_ARGS",
    "get_last_checkpoint(folder)",
    "DataArguments",
    "FinetuningArguments",
    "ModelArguments",
    "TrainingArguments",
)
def _recipe_keys(module: ModuleType) -> None:
    """The gaze_* keys are one more class of arguments, taken out of the result again and attached to two of the others.

    (A subclass of ModelArguments would be simpler, but LLaMA-Factory copies ModelArguments field by field elsewhere.)
    """
    from llamafactory_gaze.integration.arguments import GazeArguments

    for classes in (module._TRAIN_ARGS, module._INFER_ARGS, module._EVAL_ARGS):
        classes.append(GazeArguments)
    wrap_function_wrapper(module, "_parse_args", _parse_args)


def _parse_args(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> tuple[Any, ...]:
    from llamafactory.hparams import DataArguments, FinetuningArguments, ModelArguments, TrainingArguments

    from llamafactory_gaze.integration.arguments import GazeArguments, check_ray, check_recipe

    parsed = wrapped(*args, **kwargs)

    def of(kind: type) -> Any:
        return next((arguments for arguments in parsed if isinstance(arguments, kind)), None)

    gaze, model_args, data_args = of(GazeArguments), of(ModelArguments), of(DataArguments)
    if gaze is None:  # Ray's own arguments are parsed by the same function
        check_ray(parsed[0], args[1] if len(args) > 1 else None)
        return parsed
    wants_gaze = check_recipe(gaze, model_args, data_args, of(FinetuningArguments), of(TrainingArguments))
    if wants_gaze:
        from llamafactory_gaze.export.whole import check_whole
        from llamafactory_gaze.versions import check_versions

        check_versions()
        check_touchpoints()
        check_whole(model_args.model_name_or_path)
        if (training_args := of(TrainingArguments)) is not None:
            from llamafactory_gaze.integration.engines import prepare_engine

            prepare_engine(gaze, training_args)
        import llamafactory_gaze.modeling  # noqa: F401 - registers the Auto classes before a processor is loaded

        _set_aside_checkpoints(of(TrainingArguments))
    model_args.gaze = data_args.gaze = gaze if wants_gaze else None
    return tuple(arguments for arguments in parsed if arguments is not gaze)


def _set_aside_checkpoints(training_args: Any) -> None:
    """Before LLaMA-Factory looks for the last checkpoint: it shall find none that is half written."""
    resumes = training_args is not None and training_args.do_train and training_args.resume_from_checkpoint is None
    if resumes and not getattr(training_args, "overwrite_output_dir", False):
        from llamafactory_gaze.integration.checkpoints import set_aside_incomplete

        for said in set_aside_incomplete(Path(training_args.output_dir)):
            print(said, flush=True)


@touch("llamafactory.data.parser", "DatasetAttr.join(attr)")
def _saliencies_column(module: ModuleType) -> None:
    """dataset_info.json may name the columns of maps; LLaMA-Factory reads a fixed list of columns."""

    def join(wrapped: Callable[..., None], instance: Any, args: Any, kwargs: Any) -> None:
        wrapped(*args, **kwargs)
        (attr,) = args
        instance.saliencies = attr.get("columns", {}).get("saliencies")
        instance.video_saliencies = attr.get("columns", {}).get("video_saliencies")

    wrap_function_wrapper(module, "DatasetAttr.join", join)


@touch(
    "llamafactory.data.converter",
    "register_dataset_converter(name, dataset_converter)",
    "SharegptDatasetConverter.__call__(example)",
    "DATASET_CONVERTERS",
)
def _converter(module: ModuleType) -> None:
    """`"formatting": "gaze"` in dataset_info.json."""
    from llamafactory_gaze.integration.converter import FORMATTING, GazeDatasetConverter

    module.register_dataset_converter(FORMATTING, GazeDatasetConverter)


@touch(
    "llamafactory.data.template",
    "register_template(name)",
    "get_mm_plugin(name)",
    "TEMPLATES",
    "llamafactory.data.mm_plugin:register_mm_plugin(name, plugin_class)",
    "llamafactory.data.mm_plugin:Qwen2VLPlugin.process_messages(messages, images, videos, audios, processor)",
    "llamafactory.data.mm_plugin:Qwen2VLPlugin._get_mm_inputs(images, videos, audios, processor)",
    "llamafactory.data.mm_plugin:Qwen2VLPlugin._get_mm_token_metadata(images, videos, audios, processor)",
    "llamafactory.data.mm_plugin:Qwen2VLPlugin._get_video_sample_indices(video_stream)",
    "llamafactory.extras.constants:IMAGE_PLACEHOLDER",
)
def _template(module: ModuleType) -> None:
    """The template `qwen2_5_vl_gaze`: `qwen2_vl` with another multimodal plug-in."""
    from dataclasses import fields

    from llamafactory.data.mm_plugin import register_mm_plugin

    from llamafactory_gaze.integration.mm_plugin import GazeQwen2VLPlugin

    stock = module.TEMPLATES["qwen2_vl"]
    register_mm_plugin(MODEL_TYPE, GazeQwen2VLPlugin)
    mm_plugin = module.get_mm_plugin(
        MODEL_TYPE, image_token=stock.mm_plugin.image_token, video_token=stock.mm_plugin.video_token
    )
    slots = {field.name: getattr(stock, field.name) for field in fields(stock)}
    module.register_template(MODEL_TYPE, **{**slots, "mm_plugin": mm_plugin, "template_class": type(stock)})


@touch(
    "llamafactory.data.loader",
    "align_dataset(dataset, dataset_attr, data_args, training_args)",
    "merge_dataset(all_datasets, data_args)",
    "get_dataset(template, model_args, data_args, training_args)",
)
def _datasets(module: ModuleType) -> None:
    """Before a gaze data set is converted, its rows get numbers, its embedded images stay encoded, and some ablations
    exchange its maps.
    Before data sets are joined, their images get one type, and their videos.
    """

    def align_dataset(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
        from llamafactory_gaze.integration.arguments import EXCHANGES
        from llamafactory_gaze.integration.converter import FORMATTING, MAPS_COLUMNS, maps_column, number_rows
        from llamafactory_gaze.integration.exchange import exchange_maps
        from llamafactory_gaze.integration.mixing import keep_encoded

        dataset, dataset_attr, data_args, training_args = args
        if dataset_attr.formatting == FORMATTING:
            gaze = getattr(data_args, "gaze", None)
            dataset = keep_encoded(dataset, (dataset_attr.images, maps_column(dataset_attr, "images")))
            if gaze is not None and gaze.gaze_ablation in EXCHANGES:
                for media in MAPS_COLUMNS:
                    if (column := getattr(dataset_attr, media)) is not None:
                        columns = (column, maps_column(dataset_attr, media))
                        how = (gaze.gaze_ablation, training_args.seed)
                        dataset = exchange_maps(dataset, *columns, *how, what=media.removesuffix("s"))
            if data_args.streaming and dataset_attr.load_from == "file" and not training_args.dataloader_num_workers:
                raise ValueError(
                    "`streaming: true` spreads the rows of a file over the data loader's workers, and there are none. "
                    "Write `dataloader_num_workers: 1` or more."
                )
            dataset = number_rows(dataset)
        return wrapped(dataset, dataset_attr, data_args, training_args)

    def merge_dataset(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
        datasets, data_args = args
        if getattr(data_args, "gaze", None) is not None:
            from llamafactory_gaze.integration.mixing import harmonise

            datasets = harmonise(datasets)
        return wrapped(datasets, data_args, **kwargs)

    wrap_function_wrapper(module, "align_dataset", align_dataset)
    wrap_function_wrapper(module, "merge_dataset", merge_dataset)
    wrap_function_wrapper(module, "get_dataset", _get_dataset)


def _get_dataset(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    from llamafactory_gaze.integration.tokenized import get_dataset

    return get_dataset(wrapped, instance, args, kwargs)


@touch(
    "llamafactory.model.loader",
    "load_config(model_args)",
    "load_tokenizer(model_args)",
    "patch_config(config, tokenizer, model_args, init_kwargs, is_trainable)",
    "patch_processor(processor, tokenizer, model_args)",
    "init_adapter(config, model, model_args, finetuning_args, is_trainable)",
)
def _model(module: ModuleType) -> None:
    """A Qwen2.5-VL configuration and processor become gaze ones, and `lora_target: gaze` becomes module names."""
    wrap_function_wrapper(module, "load_config", _load_config)
    wrap_function_wrapper(module, "load_tokenizer", _load_tokenizer)
    wrap_function_wrapper(module, "patch_config", _patch_config)
    wrap_function_wrapper(module, "init_adapter", _init_adapter)


def _load_config(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    (model_args,) = args
    config = wrapped(model_args)
    if getattr(model_args, "gaze", None) is None:
        return config
    from llamafactory_gaze.integration.settings import gaze_config

    return gaze_config(config, model_args)


def _load_tokenizer(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """The processor becomes the gaze model's, so that a trained or exported model is saved with it.

    The multimodal plug-in sees the processor and nothing else of the recipe; LLaMA-Factory hands settings on so.
    """
    loaded = wrapped(*args, **kwargs)
    (model_args,) = args
    if getattr(model_args, "gaze", None) is not None and loaded["processor"] is not None:
        from llamafactory.model import loader

        from llamafactory_gaze.modeling import Qwen2_5_VLGazeProcessor

        fusion = loader.load_config(model_args).vision_config.gaze_fusion
        loaded["processor"] = Qwen2_5_VLGazeProcessor.from_stock(loaded["processor"], fusion)
        loader.patch_processor(loaded["processor"], loaded["tokenizer"], model_args)
        loaded["processor"].gaze_ablation = model_args.gaze.gaze_ablation
    return loaded


def _patch_config(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> None:
    wrapped(*args, **kwargs)
    _, _, model_args, init_kwargs, _ = args
    if getattr(model_args, "gaze", None) is not None and "quantization_config" in init_kwargs:
        from llamafactory_gaze.integration.training import keep_unquantized

        keep_unquantized(init_kwargs["quantization_config"], model_args.gaze)


def _init_adapter(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    config, model, model_args, finetuning_args, is_trainable = args
    if getattr(model_args, "gaze", None) is None:
        from llamafactory_gaze.integration.settings import refuse_gaze_adapters

        refuse_gaze_adapters(model_args)
        return wrapped(*args)
    from llamafactory.model import loader
    from peft import PeftModel
    from transformers.integrations import is_deepspeed_zero3_enabled

    from llamafactory_gaze.integration.arguments import LORA_TARGET
    from llamafactory_gaze.integration.settings import record_settings, weights_digest
    from llamafactory_gaze.integration.training import check_calibrators_learn, print_parameters, resolve_targets

    gaze = model_args.gaze
    model.cache_images(gaze.gaze_cached_images, gaze.gaze_image_cache, gaze.gaze_image_cache_gb)
    if not is_trainable:
        return wrapped(*args)
    resolved = resolve_targets(model, model_args, finetuning_args, is_deepspeed_zero3_enabled())
    model = wrapped(config, model, model_args, resolved, is_trainable)
    if LORA_TARGET not in finetuning_args.lora_target:
        check_calibrators_learn(model, finetuning_args.lora_target)
    if isinstance(model, PeftModel):
        adapters = model_args.adapter_name_or_path or []
        # As LLaMA-Factory has it: it goes on training the last one, unless it merges all and makes a new one.
        merges = finetuning_args.create_new_adapter and not getattr(model, "quantization_method", None)
        before = adapters if merges else adapters[:-1]
        after = [weights_digest(adapter, model_args) for adapter in before]
        found = loader.load_config.__wrapped__(model_args)  # the configuration as it stands at `model_name_or_path`
        on_gaze_model = found.model_type == config.model_type
        record_settings(model, model_args.gaze, {"after": after, "on_gaze_model": on_gaze_model})
    if int(os.environ.get("LOCAL_RANK", "0")) == 0:
        print_parameters(model, config.vision_config)
    return model


@touch("llamafactory.train.tuner", "run_sft(model_args, data_args, training_args)")
def _training(module: ModuleType) -> None:
    """A training with gaze that meets a full disk says so."""

    def run_sft(wrapped: Callable[..., None], instance: Any, args: Any, kwargs: Any) -> None:
        from llamafactory_gaze.os_errors import full_disk_said

        model_args, _, training_args, *_ = args
        with full_disk_said(lambda: Path(training_args.output_dir) if getattr(model_args, "gaze", None) else None):
            wrapped(*args, **kwargs)

    wrap_function_wrapper(module, "run_sft", run_sft)


@touch("llamafactory.train.tuner", "export_model", "get_infer_args", "load_model")
def _export(module: ModuleType) -> None:
    """The folder of a gaze model is marked while it is written; a model card goes into it, and to the Hub with it."""

    def export_model(wrapped: Callable[..., None], instance: Any, args: Any, kwargs: Any) -> None:
        from llamafactory_gaze.integration.export import exporting

        with exporting(module):
            wrapped(*args, **kwargs)

    wrap_function_wrapper(module, "export_model", export_model)


@touch(
    "llamafactory.chat.hf_engine",
    "HuggingfaceEngine._process_args(model, tokenizer, processor, template, generating_args, messages, system, tools, "
    "images)",
)
def _engine(module: ModuleType) -> None:
    """The images of a conversation may have maps, in a file of their own or as an alpha channel."""

    def process_args(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
        processor, images = args[2], args[8]
        if images and hasattr(processor, "gaze_fusion"):
            from llamafactory_gaze.integration.chat import gazed

            args = (*args[:8], [gazed(image) for image in images], *args[9:])
        return wrapped(*args, **kwargs)

    wrap_function_wrapper(module, "HuggingfaceEngine._process_args", process_args)


@touch("llamafactory.chat.chat_model", "run_chat", "ChatModel.stream_chat(messages, system, tools, images)")
def _terminal(module: ModuleType) -> None:
    """In `llamafactory-cli chat`, and only there, messages may name image files."""

    def run_chat(wrapped: Callable[..., None], instance: Any, args: Any, kwargs: Any) -> None:
        from llamafactory_gaze.integration.chat import TerminalChat

        module.ChatModel = TerminalChat  # type: ignore[attr-defined]
        wrapped(*args, **kwargs)

    wrap_function_wrapper(module, "run_chat", run_chat)


@touch(
    "llamafactory.api.chat",
    "_process_request(request)",
    "create_stream_chat_completion_response(request, chat_model)",
    "Image.open",
    "llamafactory.api.protocol:URL",
    "llamafactory.api.protocol:ChatMessage",
    "llamafactory.api.protocol:MultimodalInputItem",
    "llamafactory.api.protocol:Role",
)
def _requests(module: ModuleType) -> None:
    """Requests to the API may have maps, once `_api` has let them in."""
    from llamafactory_gaze.integration import api

    wrap_function_wrapper(module, "_process_request", api.process_request)
    wrap_function_wrapper(module, "create_stream_chat_completion_response", api.stream)


@touch("llamafactory.api.app", "create_app(chat_model)", "ChatCompletionRequest")
def _api(module: ModuleType) -> None:
    """A server with a gaze model keeps the alpha channels of images, and takes the field `saliencies`."""

    def create_app(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
        from fastapi import HTTPException
        from llamafactory.api import chat

        from llamafactory_gaze.integration import api
        from llamafactory_gaze.integration.chat import sees_gaze

        (chat_model,) = args
        if not sees_gaze(chat_model.engine):
            return wrapped(chat_model)
        module.ChatCompletionRequest = api.GazeChatCompletionRequest  # type: ignore[attr-defined]
        chat.Image = api.KeepsAlpha
        app = wrapped(chat_model)
        app.add_exception_handler(HTTPException, api.refuse)
        return app

    wrap_function_wrapper(module, "create_app", create_app)


@touch("llamafactory.webui.components.chatbot", "create_chat_box")
def _chat_box(module: ModuleType) -> None:
    """The image box of `webchat` and `webui` would drop alpha channels; `_web_chat` drops them for other models."""

    def create_chat_box(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
        chatbot, messages, elements = wrapped(*args, **kwargs)
        elements["image"].image_mode = None
        return chatbot, messages, elements

    wrap_function_wrapper(module, "create_chat_box", create_chat_box)


@touch("llamafactory.webui.chatter", "WebChatModel.stream(chatbot, messages, lang, system, tools, image)")
def _web_chat(module: ModuleType) -> None:
    def stream(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
        from llamafactory_gaze.integration.chat import sees_gaze

        image = args[5]
        if image is not None and not sees_gaze(instance.engine):
            args = (*args[:5], image.convert("RGB"), *args[6:])
        return wrapped(*args, **kwargs)

    wrap_function_wrapper(module, "WebChatModel.stream", stream)
