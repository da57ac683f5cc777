"""What is cheap to make again is not kept for the way back: norms and activations of the blocks that are trained.

Together they are about half of what autograd keeps of a block. Matrix products and attention are kept. With gradient
checkpointing, which makes everything again, this has no part: its hooks would take the place of checkpointing's own.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import is_autocast_available
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint


def remade(
    module: nn.Module, function: Callable[..., Tensor], *inputs: Tensor
) -> tuple[Tensor, AbstractContextManager[Any]]:
    """`function(*inputs)`, of which autograd keeps the inputs alone.

    Args:
        module: of which this is a part. Where transformers has set its gradient checkpointing, all is kept.
        function: with nothing but its inputs and weights to go by. One that draws (dropout) is not made again.

    Returns:
        The value, and a context in which operations that would keep the value keep the inputs as well.
    """
    checkpointed = module.gradient_checkpointing and module.training
    if not torch.is_grad_enabled() or checkpointed or _draws(function):
        return function(*inputs), nullcontext()
    value = checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)
    place, shape = value.data_ptr(), value.shape
    kind = value.device.type
    known = is_autocast_available(kind)  # the meta device has none
    dtype, enabled = (torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)) if known else (None, False)

    def pack(tensor: Tensor) -> Tensor | None:
        # Not the tensor itself: the graph would hold what holds the graph.
        return None if (tensor.data_ptr(), tensor.shape) == (place, shape) else tensor.detach()

    def unpack(kept: Tensor | None) -> Tensor:
        if kept is not None:
            return kept
        as_before = torch.autocast(kind, dtype, enabled, cache_enabled=False) if known else nullcontext()
        with torch.no_grad(), as_before:
            return function(*inputs)

    return value, saved_tensors_hooks(pack, unpack)


def _draws(function: Callable[..., Tensor]) -> bool:
    modules = function.modules() if isinstance(function, nn.Module) else ()
    return any(isinstance(module, nn.Dropout) and module.training and module.p > 0 for module in modules)
