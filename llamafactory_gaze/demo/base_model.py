"""Makes the tiny base model of the embedded demo: a Qwen2.5-VL of 1.2 million parameters that names simulated things.

    python -m llamafactory_gaze.demo.base_model --output DIR

It is the real architecture with small numbers. Trained from nothing on SIMULATED scenes that no data set holds, it
names all things in a picture; it knows nothing of gaze. The result ships in `llamafactory_gaze/demo/base_model/`.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
import transformers
from rich.progress import Progress
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import GenerationConfig, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor

from llamafactory_gaze.demo.pretraining import COLOURS, IGNORED, KINDS, NamingBatches, measure_recall
from llamafactory_gaze.demo.tokenizer import make_processor


# Far from the seeds that people give data sets: the base model must not have seen their pictures.
PRETRAINING_SEED = 20_250_101
EVALUATION_SEED = 20_250_202


def make_config(processor: Qwen2_5_VLProcessor) -> Qwen2_5_VLConfig:
    """The stock configuration with small numbers. Windows, full-attention blocks and M-RoPE are all in use."""
    token = processor.tokenizer.convert_tokens_to_ids
    return Qwen2_5_VLConfig(
        vision_config={
            "depth": 8,  # enough to tell one late block from four and from all
            "hidden_size": 96,
            "intermediate_size": 192,
            "num_heads": 4,
            "out_hidden_size": 128,
            "window_size": 112,
            "fullatt_block_indexes": [3, 7],
            "initializer_range": 0.05,  # the usual 0.02 suits wide layers
        },
        text_config={
            "vocab_size": len(processor.tokenizer),
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            # Half of the head's 32 dimensions: time, height, width.
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [4, 6, 6]},
            "bos_token_id": None,
            "eos_token_id": token("<|im_end|>"),
            "pad_token_id": token("<|endoftext|>"),
            "tie_word_embeddings": True,
            "initializer_range": 0.05,
        },
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
        dtype="float32",
    )


class CellNaming(nn.Module):
    """Reads kind and colour off every image token, for the tower to learn from; thrown away afterwards.

    The caption alone says what is in the picture but not where.
    """

    def __init__(self, model: Qwen2_5_VLForConditionalGeneration) -> None:
        super().__init__()
        width = model.config.vision_config.out_hidden_size
        self.kind, self.colour = nn.Linear(width, len(KINDS)), nn.Linear(width, len(COLOURS))
        self.tokens = torch.empty(0)
        model.model.visual.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, args: object, output: Any) -> None:
        self.tokens = output.pooler_output  # (image tokens, width)

    def forward(self, cells: Tensor) -> Tensor:
        """cells: (image tokens, 2), see `name_cells` -> the loss."""
        kind = nn.functional.cross_entropy(self.kind(self.tokens), cells[:, 0], ignore_index=IGNORED)
        colour = nn.functional.cross_entropy(self.colour(self.tokens), cells[:, 1], ignore_index=IGNORED)
        return kind + colour


def pretrain(
    model: Qwen2_5_VLForConditionalGeneration,
    processor: Qwen2_5_VLProcessor,
    steps: int,
    batch_size: int = 20,
    peak: float = 2e-3,
    muon_peak: float = 1e-2,
) -> None:
    """Trains all weights to name all things: Muon for the matrices of the blocks, AdamW for the rest, cosine decay.

    Args:
        model: on the CPU, in float32; changed in place.
        processor: the model's.
        steps: optimiser steps.
        batch_size: pictures in a step.
        peak, muon_peak: the largest learning rates of the two optimisers.
    """
    data = NamingBatches(processor, steps, batch_size, PRETRAINING_SEED)
    # One worker draws while this process trains.
    loader = DataLoader(data, batch_size=None, num_workers=1, prefetch_factor=8)
    cell_naming = CellNaming(model)
    blocks = (model.model.visual.blocks, model.model.language_model.layers)
    matrices = [weight for module in blocks for weight in module.parameters() if weight.ndim == 2]
    inner = {id(weight) for weight in matrices}
    others = [weight for weight in (*model.parameters(), *cell_naming.parameters()) if id(weight) not in inner]
    optimizers = [
        torch.optim.Muon(matrices, lr=muon_peak, weight_decay=0.0),
        torch.optim.AdamW(others, lr=peak, weight_decay=0.0, betas=(0.9, 0.98)),
    ]
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min((step + 1) / 50, 0.5 * (1 + math.cos(math.pi * step / steps)))
        )
        for optimizer in optimizers
    ]
    model.train()
    started = time.monotonic()
    with Progress() as progress:
        task = progress.add_task("pretraining", total=steps)
        for step, batch in enumerate(loader, start=1):
            cells = batch.pop("cells")
            loss = model(**batch).loss
            cell_loss = cell_naming(cells)
            (loss + cell_loss).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer, schedule in zip(optimizers, schedules, strict=True):
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
            progress.advance(task)
            if step % 50 == 0:
                seconds = time.monotonic() - started
                progress.console.print(f"step {step}, {seconds:.0f} s: loss {loss:.4f}, of cells {cell_loss:.4f}")


def save(model: Qwen2_5_VLForConditionalGeneration, processor: Qwen2_5_VLProcessor, directory: Path, card: str) -> None:
    """Writes the model (weights in half precision, to be loaded in single), its processor and its card."""
    model.half().save_pretrained(directory)
    config = json.loads((directory / "config.json").read_text())
    for part in (config, config["text_config"], config["vision_config"]):
        part["dtype"] = "float32"
    (directory / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    GenerationConfig(
        do_sample=False,
        eos_token_id=model.config.text_config.eos_token_id,
        pad_token_id=model.config.text_config.pad_token_id,
    ).save_pretrained(directory)
    processor.save_pretrained(directory)
    (directory / "README.md").write_text(card, encoding="utf-8")


_CARD = """# Tiny base model of the llamafactory-gaze demo

A Qwen2.5-VL of {parameters:,} parameters, trained from nothing on SIMULATED pictures to name all things in them, in the
order of the rainbow. It knows nothing of gaze and nothing of the real world. Made by

    python -m llamafactory_gaze.demo.base_model --output DIR --steps {steps}

with seed {seed} (torch {torch}, transformers {transformers}; {minutes:.0f} minutes on one core). Weights are stored in
float16 and loaded as float32. On {scenes} unseen pictures of each category, with 3 to 5 things each:

| category | things named | names that are right | pictures without a fault |
|---|---|---|---|
{table}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder for the model")
    parser.add_argument("--steps", type=int, default=1000, help="optimiser steps of 20 pictures")
    arguments = parser.parse_args()

    torch.manual_seed(PRETRAINING_SEED)
    started = time.monotonic()
    processor = make_processor()
    model = Qwen2_5_VLForConditionalGeneration(make_config(processor))
    pretrain(model, processor, arguments.steps)
    minutes = (time.monotonic() - started) / 60
    scenes = 60
    recall = measure_recall(model, processor, scenes, EVALUATION_SEED)
    lines = [f"| {name} | {r.recall:.1%} | {r.precision:.1%} | {r.exact:.1%} |" for name, r in recall.items()]
    print("\n".join(lines))
    card = _CARD.format(
        parameters=sum(weight.numel() for weight in model.parameters()),
        steps=arguments.steps,
        seed=PRETRAINING_SEED,
        torch=torch.__version__,
        transformers=transformers.__version__,
        minutes=minutes,
        scenes=scenes,
        table="\n".join(lines),
    )
    save(model, processor, arguments.output, card)


if __name__ == "__main__":
    main()
