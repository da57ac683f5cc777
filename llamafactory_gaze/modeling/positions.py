"""Where the tokens of a video stand in time, height and width: Qwen2.5-VL's M-RoPE.

transformers 5.5 gives all frames of a video one position in time, scrambles their rows, and drops fractions of seconds
(huggingface/transformers#45381 and #48669, fixed after 5.5); a model that sees a video so cannot tell earlier from
later. And it lets the text behind a video go on at its height and width alone, so that text and frames share positions.
Here it is as in transformers 4.51, with which Qwen2.5-VL came into use:

    a token of temporal patch k, row i, column j     start + (floor(k * seconds * tokens_per_second), i, j)
    what comes behind                                starts at the largest of these positions plus 1
"""

from collections.abc import Iterable
from itertools import groupby

import torch
from torch import Tensor


TEXT, IMAGE, VIDEO = 0, 1, 2


def positions_in_time(
    token_types: Tensor,
    attention_mask: Tensor | None,
    image_grids: Iterable[list[int]],
    video_grids: Iterable[list[int]],
    steps: Iterable[float],
    merge_size: int,
) -> tuple[Tensor, Tensor]:
    """The positions of a batch.

    Args:
        token_types: (batch, length) with TEXT, IMAGE or VIDEO for each token.
        attention_mask: (batch, length), not zero for tokens that count; None where all do.
        image_grids, video_grids: (t, h, w) of each image and each video of the batch, in order, in patches.
        steps: positions from one temporal patch to the next, for each video: its seconds times `tokens_per_second`.
        merge_size: patches that become one token, in height and in width.

    Returns:
        (3, batch, length) positions in time, height and width, and (batch, 1) what the position of the next token
        differs from the number of tokens before it.
    """
    grids, intervals = {IMAGE: iter(image_grids), VIDEO: iter(video_grids)}, iter(steps)
    counts = torch.ones_like(token_types) if attention_mask is None else attention_mask
    positions = torch.zeros(3, *token_types.shape, dtype=torch.long, device=token_types.device)
    deltas = []
    for row, counted in enumerate(counts.bool()):
        parts, start = [], 0
        types = token_types[row][counted].tolist()
        for kind, run in groupby(types):
            if kind == TEXT:
                part = torch.arange(len(list(run))).expand(3, -1)
            else:
                t, h, w = next(grids[kind])
                times = (torch.arange(t) * (next(intervals) if kind == VIDEO else 1)).long()
                sides = torch.arange(h // merge_size), torch.arange(w // merge_size)
                part = torch.stack(torch.meshgrid(times, *sides, indexing="ij")).flatten(1)
            parts.append(part + start)
            start = int(parts[-1].max()) + 1
        positions[:, row, counted] = torch.cat(parts, dim=1).to(positions.device)
        deltas.append(start - len(types))
    return positions, torch.tensor(deltas, device=positions.device).unsqueeze(1)
