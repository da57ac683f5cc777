"""FSDP2, where accelerate 1.11 stops short: checkpoints of adapters that can be resumed, and processes on CPU.

accelerate writes to a checkpoint the first process's part of each adapter weight instead of the whole, and cannot put
whole weights back into spread ones. Here both are whole.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, distributed
from wrapt import wrap_function_wrapper


_prepared = False


def prepare_fsdp2(on_cpu: bool) -> None:
    """Safe to call twice."""
    global _prepared
    if _prepared:
        return
    _prepared = True
    from accelerate import state
    from accelerate.utils import fsdp_utils

    wrap_function_wrapper(fsdp_utils, "_get_model_state_dict", _whole_adapter)
    wrap_function_wrapper(fsdp_utils, "_set_model_state_dict", _spread_adapter)
    if on_cpu:
        wrap_function_wrapper(state, "AcceleratorState.__init__", _with_fsdp_on_cpu)


def _whole_adapter(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> dict[str, Tensor]:
    state = wrapped(*args, **kwargs)
    return {name: _whole(value).cpu() for name, value in state.items()} if kwargs.get("adapter_only") else state


def _whole(value: Any) -> Tensor:
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def _spread_adapter(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """Only the first process has read the checkpoint; the others get their parts from it."""
    from peft import PeftModel, get_peft_model_state_dict
    from torch.distributed.tensor import distribute_tensor
    from torch.nn.modules.module import _IncompatibleKeys

    model, state = args
    if not (kwargs.get("adapter_only") and isinstance(model, PeftModel)):
        return wrapped(*args, **kwargs)
    with torch.no_grad():
        for name, weight in get_peft_model_state_dict(model, adapter_name=model.active_adapter).items():
            device = weight.device_mesh.device_type
            first = distributed.get_rank() == 0
            whole = state[name] if first else torch.empty(weight.shape, dtype=weight.dtype)
            whole = whole.to(device=device, dtype=weight.dtype)
            weight.copy_(distribute_tensor(whole, weight.device_mesh, weight.placements))
    return _IncompatibleKeys([], [])


def _with_fsdp_on_cpu(wrapped: Callable[..., None], instance: Any, args: Any, kwargs: Any) -> None:
    """accelerate turns FSDP on where processes have accelerators, and silently does DDP where they have CPUs."""
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType

    shared = PartialState._shared_state
    if shared["distributed_type"] == DistributedType.MULTI_CPU:
        shared["distributed_type"] = DistributedType.MULTI_HPU
    wrapped(*args, **kwargs)  # writes FSDP there
