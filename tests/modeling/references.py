"""What several tests compare with: attention in a few lines of numpy, and a stand-in for flash attention."""

import numpy as np
import torch


def softmax(scores: np.ndarray) -> np.ndarray:
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    return scores / scores.sum(-1, keepdims=True)


def turned(states: np.ndarray, cos: np.ndarray, sin: np.ndarray) -> np.ndarray:
    """Rotary positions as complex numbers: feature i and i + d_h / 2 are one number, turned by one angle."""
    half = states.shape[1] // 2
    numbers = (states[:, :half] + 1j * states[:, half:]) * (cos + 1j * sin)[:, :half]
    return np.concatenate([numbers.real, numbers.imag], axis=1)


def make_positions(patches: int, d_h: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine of one angle per pair of features, as the tower makes them from row and column."""
    angles = torch.rand(patches, d_h // 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 6
    angles = torch.cat([angles, angles], dim=1)
    return angles.cos(), angles.sin()


def varlen_attention(module, query, key, value, attention_mask, scaling, cu_seq_lens_q, cu_seq_lens_k, **kwargs):
    """Stands in for flash attention, which needs a GPU: attention within the segments that it is given."""
    segments = []
    lengths_q, lengths_k = cu_seq_lens_q.diff(), cu_seq_lens_k.diff()
    assert kwargs["max_length_q"] == lengths_q.max() and kwargs["max_length_k"] == lengths_k.max()
    assert cu_seq_lens_q.dtype == cu_seq_lens_k.dtype == torch.int32 and not kwargs["is_causal"]
    for q, k, v in zip(
        query.split(lengths_q.tolist(), 2), key.split(lengths_k.tolist(), 2), value.split(lengths_k.tolist(), 2),
        strict=True,
    ):  # fmt: skip
        segments.append(torch.softmax(q @ k.transpose(2, 3) * scaling, -1) @ v)
    return torch.cat(segments, dim=2).transpose(1, 2), None
