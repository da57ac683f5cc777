"""Segments of patches that attend to themselves alone, and attention within them.

A full-attention block of the tower has one segment for each image (each frame of a video), the others one for each
window. Where flash attention is absent the stock tower calls the kernel once for every segment; here segments of one
length go in one call, as a batch. The numbers are the same. That an image has windows cut off by its edge is no
obstacle: its segments are put in order of their length, and what comes out back in their own.
"""

from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate, groupby
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import eager_attention_forward
from transformers.utils.generic import is_flash_attention_requested


class Segments:
    """Where the segments of a batch begin and end.

    The lengths are known on the host, so that no kernel is waited for to find out.

    Args:
        lengths: patches of each segment, in order.
        device: where the patches are.
    """

    def __init__(self, lengths: Sequence[int], device: torch.device | str = "cpu") -> None:
        self.lengths = tuple(lengths)
        self.device = device

    @cached_property
    def ends(self) -> Tensor:
        """(segments + 1,) int32, the `cu_seqlens` of flash attention."""
        return torch.tensor([0, *accumulate(self.lengths)], dtype=torch.int32, device=self.device)

    @cached_property
    def by_length(self) -> tuple[Tensor, Tensor] | None:
        """(patches,) an order of the patches in which segments of one length stand together, and the way back from it.

        None where they do already.
        """
        if len([*groupby(self.lengths)]) == len(set(self.lengths)):
            return None
        parts = torch.arange(sum(self.lengths)).split(self.lengths)
        order = torch.cat(sorted(parts, key=len))
        return order.to(self.device), order.argsort().to(self.device)


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, asking: Segments, asked: Segments, **kwargs: Any
) -> Tensor:
    """Attention within segments, with the kernel of transformers that the configuration names.

    Args:
        module: has `config`, `scaling`, `num_key_value_groups` and `is_causal`, as transformers' attention asks for.
        query: (N_q, heads, d_h).
        key, value: (N_k, heads, d_h).
        asking, asked: segment i of the queries sees segment i of the keys.
        kwargs: what else the kernel is to know.

    Returns:
        (N_q, heads * d_h).
    """
    kernel = ALL_ATTENTION_FUNCTIONS.get_interface(module.config._attn_implementation, eager_attention_forward)
    always = {"attention_mask": None, "scaling": module.scaling, "dropout": 0.0, "is_causal": False, **kwargs}
    if is_flash_attention_requested(module.config):
        q, k, v = (states.transpose(0, 1).unsqueeze(0) for states in (query, key, value))  # each (1, heads, N, d_h)
        ends = {"cu_seq_lens_q": asking.ends, "cu_seq_lens_k": asked.ends}
        longest = {"max_length_q": max(asking.lengths), "max_length_k": max(asked.lengths)}
        return kernel(module, q, k, v, **ends, **longest, **always)[0].reshape(len(query), -1)
    batch = module.config._attn_implementation == "sdpa"  # eager attention would hold the scores of all segments
    order = asking.by_length if batch and asking is asked else None
    if order is not None:
        query, key, value = (states[order[0]] for states in (query, key, value))
    lengths = zip(asking.lengths, asked.lengths, strict=True)
    counts = [(pair, len([*same])) for pair, same in groupby(sorted(lengths) if order is not None else lengths)]
    if not batch:
        counts = [(pair, 1) for pair, count in counts for _ in range(count)]
    split_q = query.split([count * length for (length, _), count in counts])
    split_k, split_v = (states.split([count * length for (_, length), count in counts]) for states in (key, value))
    outputs = []
    for (_, count), parts in zip(counts, zip(split_q, split_k, split_v, strict=True), strict=True):
        q, k, v = (part.unflatten(0, (count, -1)).transpose(1, 2) for part in parts)  # each (count, heads, n, d_h)
        outputs.append(kernel(module, q, k, v, **always)[0].flatten(0, 1))  # from (count, n, heads, d_h)
    output = torch.cat(outputs) if len(outputs) > 1 else outputs[0]
    if order is not None:
        output = output[order[1]]
    return output.reshape(len(query), -1)
