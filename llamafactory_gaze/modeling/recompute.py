"""What is cheap to make again is not kept for the way back: norms and activations of the blocks that are trained.

Together they are about half of what autograd keeps of a block. Matrix products and attention are kept. With gradient
checkpointing, which makes everything again, this has no part.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint


def remade(function: Callable[..., Tensor], *inputs: Tensor) -> tuple[Tensor, AbstractContextManager[Any]]:
    """`function(*inputs)`, of which autograd keeps the inputs alone.

    Args:
        function: without randomness, and with nothing but its inputs to go by.

    Returns:
        The value, and a context in which operations that would keep the value keep the inputs as well.
    """
    if not torch.is_grad_enabled():
        return function(*inputs), nullcontext()
    value = checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)
    place, shape = value.data_ptr(), value.shape

    def pack(tensor: Tensor) -> Tensor | None:
        # Not the tensor itself: the graph would hold what holds the graph.
        return None if (tensor.data_ptr(), tensor.shape) == (place, shape) else tensor.detach()

    def unpack(kept: Tensor | None) -> Tensor:
        if kept is not None:
            return kept
        with torch.no_grad():
            return function(*inputs)

    return value, saved_tensors_hooks(pack, unpack)
