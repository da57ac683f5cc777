"""Bytes."""

from __future__ import annotations

from benchmarks.cost.shapes import Language, Shape, Tower


BFLOAT16, FLOAT32 = 2, 4
TRAINED = 4 * FLOAT32  # the weight, its gradient and Adam's two moments, all in float32 as LLaMA-Factory keeps LoRA


def tower_parameters(tower: Tower) -> int:
    d, f, wide = tower.width, tower.inner, tower.width * tower.merge**2
    block = 4 * d * d + 4 * d + 3 * d * f + 2 * f + d + 2 * d
    return tower.colours * d + tower.depth * block + d + wide * wide + wide + wide * tower.out + tower.out


def calibrator_parameters(tower: Tower) -> int:
    return tower.saliency * tower.width + 4 * tower.width**2 + tower.width


def language_parameters(language: Language) -> int:
    d, kv = language.width, language.kv_heads * language.head_width
    layer = 2 * d * d + 2 * d * kv + d + 2 * kv + 3 * d * language.inner + 2 * d
    return language.vocabulary * d * (1 if language.tied else 2) + language.layers * layer + d


def parameters(shape: Shape) -> int:
    calibrators = len(shape.calibrators) * calibrator_parameters(shape.tower)
    return tower_parameters(shape.tower) + calibrators + language_parameters(shape.language)


def lora_parameters(shape: Shape, rank: int = 16, language: bool = False) -> int:
    """On the MLP of the first block with gaze and all matrices behind it; and on those of the language model."""
    tower = shape.tower
    mlp = 3 * rank * (tower.width + tower.inner)
    blocks = tower.depth - 1 - min(shape.calibrators)
    count = mlp + blocks * (mlp + rank * (tower.width + 3 * tower.width) + rank * 2 * tower.width)
    if language:
        d, kv, f = shape.language.width, shape.language.kv_heads * shape.language.head_width, shape.language.inner
        count += shape.language.layers * rank * (2 * 2 * d + 2 * (d + kv) + 3 * (d + f))
    return count


def cached_image(patches: int, tower: Tower) -> int:
    """An image in the image cache."""
    return patches * tower.width * BFLOAT16


def kv_cache(tokens: int, language: Language) -> int:
    return tokens * language.layers * 2 * language.kv_heads * language.head_width * BFLOAT16


def logits(tokens: int, language: Language) -> int:
    """In training, for all tokens of a row: in bfloat16, and in float32 for the loss and for its gradient."""
    return tokens * language.vocabulary * (BFLOAT16 + 2 * FLOAT32)
