"""A new gaze at the same picture: the visual tower's time with its first blocks remembered, against a full run.

    python -m benchmarks regazing [--patches 1024] [--language-model]

The tower has the shape of Qwen2.5-VL-3B's with random weights and a calibrator in block 28. With --language-model, a
language model of the 3B's shape stands behind it (random weights in bfloat16, 7 GB), and the time to the first token
is measured as well, both ways in the same process.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Annotated

import torch
import typer
from transformers.initialization import no_init_weights

from benchmarks.frame import Result, median_seconds
from llamafactory_gaze import Qwen2_5_VLGazeConfig, Qwen2_5_VLGazeForConditionalGeneration
from llamafactory_gaze.modeling.configuration import Qwen2_5_VLGazeVisionConfig


TARGET = 1 / 3
# config.json of Qwen/Qwen2.5-VL-3B-Instruct
TOWER = Qwen2_5_VLGazeVisionConfig(
    depth=32, hidden_size=1280, intermediate_size=3420, num_heads=16, out_hidden_size=2048,
    fullatt_block_indexes=[7, 15, 23, 31], window_size=112, tokens_per_second=2,
)  # fmt: skip
LANGUAGE_MODEL = {
    "hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16,
    "num_key_value_heads": 2, "vocab_size": 151936, "rms_norm_eps": 1e-6, "tie_word_embeddings": True,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
}  # fmt: skip
SMALL = {"num_hidden_layers": 1, "vocab_size": 151936}
PROMPT = 40  # tokens of text around the image


def make_model(language_model: bool) -> Qwen2_5_VLGazeForConditionalGeneration:
    text = LANGUAGE_MODEL if language_model else {**LANGUAGE_MODEL, **SMALL}
    config = Qwen2_5_VLGazeConfig(vision_config=TOWER.to_dict(), text_config=text, image_token_id=151655)
    torch.set_default_dtype(torch.bfloat16 if language_model else torch.float32)
    with no_init_weights():
        model = Qwen2_5_VLGazeForConditionalGeneration(config).eval()
    torch.set_default_dtype(torch.float32)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.02)
    model.model.visual.float()
    return model


def measure(
    patches: Annotated[int, typer.Option(help="of the image, about as many")] = 1024,
    repeats: Annotated[int, typer.Option(help="median of so many")] = 5,
    language_model: Annotated[
        bool, typer.Option("--language-model", help="measure the time to the first token as well")
    ] = False,
) -> Iterator[Result]:
    model = make_model(language_model)
    tower, vision = model.model.visual, model.config.vision_config
    side = max(1, round((patches / 4) ** 0.5)) * 2
    grid = torch.tensor([[1, side, side]])
    colours = torch.randn(side * side, 3 * vision.saliency_width)
    seeds = count()

    def seen() -> torch.Tensor:
        """The same picture with another map at each call."""
        generator = torch.Generator().manual_seed(next(seeds))
        saliency = torch.rand(side * side, vision.saliency_width, generator=generator)
        return torch.cat([colours, saliency], dim=1)

    @torch.no_grad()
    def look() -> None:
        tower(seen(), grid)

    text, image = torch.randint(1000, (PROMPT,)), torch.full((side * side // 4,), model.config.image_token_id)
    prompt = torch.cat([text[: PROMPT // 2], image, text[PROMPT // 2 :]]).unsqueeze(0)

    def answer() -> None:
        model.generate(
            input_ids=prompt, attention_mask=torch.ones_like(prompt), pixel_values=seen(), image_grid_thw=grid,
            max_new_tokens=1, do_sample=False,
        )  # fmt: skip

    for what, run in [("visual tower", look), ("time to the first token", answer)][: 1 + language_model]:
        model.cache_images(0)
        full = median_seconds({what: run}, repeats)
        model.cache_images(1)
        again = median_seconds({what: run}, repeats)
        target = TARGET if run is look else None
        yield Result(what, "s", again[what], full[what], "a new gaze at a known image", "a full run", target)
