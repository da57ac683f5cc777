"""Where the tokens of a video stand in time, height and width: Qwen2.5-VL's M-RoPE.

transformers 5.5 gives all frames of a video one position in time, and scrambles their rows (fixed upstream later:
huggingface/transformers#45381, #48669); a model that sees a video so cannot tell earlier from later. And it lets the
text go on behind the height and width of a video, but generated text behind its time too, so that a long video would be
trained and generated with different positions. Here it is as in Qwen's own code:

    a token of temporal patch k, row i, column j     start + (floor(k * seconds * tokens_per_second), i, j)
    the text behind                                  goes on at the largest of these plus 1
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
