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
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import silu
from torch.utils.checkpoint import checkpoint


def remade(
    module: nn.Module, function: Callable[..., Tensor], *inputs: Tensor, keeps_inputs_alone: bool = False
) -> tuple[Tensor, AbstractContextManager[Any]]:
    """`function(*inputs)`, of which autograd keeps the inputs alone.

    Args:
        module: of which this is a part. Where transformers has set its gradient checkpointing, all is kept.
        function: with nothing but its inputs and weights to go by. One that draws (dropout) is not made again.
        keeps_inputs_alone: `function` sees to that itself.

    Returns:
        The value, and a context in which operations that would keep the value keep the inputs as well.
    """
    checkpointed = module.gradient_checkpointing and module.training
    if not torch.is_grad_enabled() or checkpointed or _draws(function):
        return function(*inputs), nullcontext()
    if keeps_inputs_alone:
        value = function(*inputs)
    else:
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


class GatedSiLU(Function):
    """silu(gate) * up, the middle of an MLP, whose way back takes one tensor of its width less than autograd's."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        """gate, up: of one shape -> the same shape."""
        ctx.save_for_backward(gate, up)
        return silu(gate).mul_(up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        of_gate = torch.ops.aten.silu_backward(gradient * up, gate)
        return of_gate, silu(gate).mul_(gradient)


def _draws(function: Callable[..., Tensor]) -> bool:
    modules = function.modules() if isinstance(function, nn.Module) else ()
    return any(isinstance(module, nn.Dropout) and module.training and module.p > 0 for module in modules)
