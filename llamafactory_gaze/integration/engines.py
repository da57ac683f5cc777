"""What several processes need before a gaze model is loaded: DDP nothing, DeepSpeed a word on CPU, FSDP2 two.

A recipe asks for DeepSpeed with `deepspeed`, for FSDP with `fsdp` and `fsdp_config`; without either it is DDP.
"""

import os
from typing import Any

from llamafactory_gaze.integration.arguments import GazeArguments


def weights_are_spread(training_args: Any) -> bool:
    """Whether each process holds a part of the weights only (ZeRO-3, FSDP), so that all run the same blocks in step."""
    from transformers.integrations import is_deepspeed_zero3_enabled

    return is_deepspeed_zero3_enabled() or uses_fsdp(training_args)


def uses_fsdp(training_args: Any) -> bool:
    """By the recipe, or by `accelerate launch`, which says it in the environment."""
    return bool(training_args.fsdp) or os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def prepare_engine(gaze: GazeArguments, training_args: Any) -> None:
    """Makes ready what the recipe asks for, or stops.

    Raises:
        ValueError: FSDP 1, or images that a process may know while the others wait for it.
    """
    cached = [name for name in ("gaze_cached_images", "gaze_image_cache") if getattr(gaze, name)]
    if cached and weights_are_spread(training_args):
        raise ValueError(
            f"`{cached[0]}: {getattr(gaze, cached[0])}` does not work with weights that are spread over the "
            "processes (DeepSpeed ZeRO-3, FSDP): take it out, or use ZeRO-2 or DDP."
        )
    if uses_fsdp(training_args):
        if _fsdp_version(training_args) != 2:
            raise ValueError(
                "Gaze models train under FSDP 2, not FSDP 1, which packs frozen and trained weights together: write "
                '`"version": 2` in `fsdp_config`, as yaml_recipes/distributed/fsdp2.json does, or `fsdp_version: 2` in '
                "the configuration of accelerate."
            )
        # LLaMA-Factory reads these, and accelerate: its default for FSDP 2 saves no adapter at the end.
        os.environ["ACCELERATE_USE_FSDP"] = "true"
        os.environ["FSDP_VERSION"] = "2"
        os.environ["FSDP_STATE_DICT_TYPE"] = "FULL_STATE_DICT"
        from llamafactory_gaze.integration.fsdp import prepare_fsdp2

        prepare_fsdp2(training_args.use_cpu)
    if training_args.use_cpu and training_args.parallel_mode.value == "distributed":
        _prepare_cpu(training_args)


def _fsdp_version(training_args: Any) -> int:
    if training_args.fsdp:
        return int(training_args.fsdp_config.get("version", 1))
    return int(os.environ.get("FSDP_VERSION", "1"))  # as accelerate has it


def _prepare_cpu(training_args: Any) -> None:
    """Several processes on CPU, for tests and small models, of which torch and deepspeed know less."""
    from torch.serialization import register_package

    # Each process calls its CPU cpu:0, cpu:1, ...; checkpoints are loaded to a device that torch does not know by name.
    register_package(15, lambda storage: None, lambda storage, at: storage if str(at).startswith("cpu:") else None)
    if training_args.deepspeed:
        import deepspeed

        # Otherwise it compiles its own shared memory in each new environment, for a minute; gloo does.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        # ZeRO-3 spreads the weights while the model is loaded; on a GPU deepspeed is ready by then, on CPU it is not.
        deepspeed.init_distributed(dist_backend="gloo")
