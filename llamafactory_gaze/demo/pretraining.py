"""What the tiny base model learns from and is judged by: SIMULATED scenes, and the plain names of all their things."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor

from llamafactory_gaze.demo import drawing
from llamafactory_gaze.demo.captions import PROMPT, plain, rainbow
from llamafactory_gaze.demo.scenes import CATEGORIES, MAX_THINGS, Scene, make_scene


Batch = dict[str, Tensor]
IGNORED = -100  # a label that the loss passes over
CELL = 28  # pixels of the picture, each way, that become one token of the language model
COLOURS = list(drawing.COLOURS)
KINDS = [*drawing.SHAPES, *drawing.BIG_THINGS, *drawing.SMALL_THINGS, *drawing.PEOPLE, *drawing.PATTERNS]


def prompt_text(processor: Qwen2_5_VLProcessor) -> str:
    """The prompt, as LLaMA-Factory's template `qwen2_vl` writes it, with one image token to be repeated."""
    content = [{"type": "image"}, {"type": "text", "text": PROMPT}]
    return processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)


def name_all(scene: Scene) -> str:
    """Names everything in the scene, in plain style."""
    return plain(rainbow(scene.things))


def name_cells(scene: Scene) -> Tensor:
    """What stands where.

    Returns:
        (tokens, 2): for each token of the picture, row by row, the number of the kind and of the colour of the thing
        that covers most of it; `IGNORED` where nothing covers a quarter of it.
    """
    width, height = scene.image.size
    x = np.arange(0, width, CELL)[None, :]
    y = np.arange(0, height, CELL)[:, None]
    covered = np.full((len(y), x.shape[1]), CELL * CELL / 4)
    labels = np.full((*covered.shape, 2), IGNORED)
    for thing in scene.things:
        x0, y0, x1, y1 = thing.box
        across = np.clip(np.minimum(x + CELL, x1) - np.maximum(x, x0), 0, None)
        down = np.clip(np.minimum(y + CELL, y1) - np.maximum(y, y0), 0, None)
        more = across * down > covered
        covered = np.where(more, across * down, covered)
        labels[more] = (KINDS.index(thing.kind), COLOURS.index(thing.colour))
    return torch.from_numpy(labels.reshape(-1, 2))


class NamingBatches(Dataset[Batch]):
    """Endless fresh scenes: item i is one batch, always the same for the same seed and i.

    Args:
        processor: the tiny model's.
        batches: how many batches there are.
        batch_size: pictures in a batch.
        seed: a whole number that no data set uses.
    """

    def __init__(self, processor: Qwen2_5_VLProcessor, batches: int, batch_size: int, seed: int) -> None:
        self.processor, self.batches, self.batch_size, self.seed = processor, batches, batch_size, seed
        self.prompt = prompt_text(processor)

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> Batch:
        rng = np.random.default_rng([self.seed, index])
        scenes, captions = [], []
        for i in range(self.batch_size):
            # From one thing on: a model that has seen only full pictures cannot name just the one that is looked at.
            count = int(rng.integers(1, MAX_THINGS + 1))
            scene = make_scene(CATEGORIES[i % len(CATEGORIES)], rng, count)
            scenes.append(scene)
            captions.append(name_all(scene))
        return self._encode(scenes, captions)

    def _encode(self, scenes: list[Scene], captions: list[str]) -> Batch:
        """Right-padded; `labels` are the answer's tokens, its end included; `cells` (image tokens, 2), `name_cells`."""
        batch = dict(
            self.processor(
                images=[scene.image for scene in scenes],
                text=[f"{self.prompt}{caption}<|im_end|>\n" for caption in captions],
                padding=True,
                padding_side="right",
                return_tensors="pt",
            )
        )
        answers = self.processor.tokenizer([f"{caption}<|im_end|>\n" for caption in captions])["input_ids"]
        ends = batch["attention_mask"].sum(1)
        positions = torch.arange(batch["input_ids"].shape[1])
        lengths = torch.tensor([len(answer) for answer in answers])
        is_answer = (positions >= (ends - lengths)[:, None]) & (positions < ends[:, None])
        batch["labels"] = batch["input_ids"].masked_fill(~is_answer, IGNORED)
        batch["cells"] = torch.cat([name_cells(scene) for scene in scenes])
        return batch


@dataclass(frozen=True)
class Recall:
    """How well a model names all things in pictures that it has not seen.

    Attributes:
        recall: share of the things that are named.
        precision: share of the names that are right.
        exact: share of the pictures with all things named and no others.
    """

    recall: float
    precision: float
    exact: float


def describe(
    model: Qwen2_5_VLForConditionalGeneration, processor: Qwen2_5_VLProcessor, scenes: list[Scene], batch_size: int = 25
) -> list[str]:
    """The model's caption of each scene, decoded greedily."""
    prompt, captions = prompt_text(processor), []
    model.eval()
    for start in range(0, len(scenes), batch_size):
        images = [scene.image for scene in scenes[start : start + batch_size]]
        batch = processor(
            images=images, text=[prompt] * len(images), padding=True, padding_side="left", return_tensors="pt"
        )
        with torch.inference_mode():
            tokens = model.generate(**batch, max_new_tokens=48, do_sample=False)
        captions += processor.batch_decode(tokens[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return [caption.strip() for caption in captions]


def measure_recall(
    model: Qwen2_5_VLForConditionalGeneration, processor: Qwen2_5_VLProcessor, scenes_each: int, seed: int
) -> dict[str, Recall]:
    """Recall by category on `scenes_each` fresh scenes of each category, as the data set draws them."""
    results = {}
    for number, category in enumerate(CATEGORIES):
        rng = np.random.default_rng([seed, number])
        scenes = [make_scene(category, rng) for _ in range(scenes_each)]
        said = [parse_plain(caption) for caption in describe(model, processor, scenes)]
        there = [{thing.name for thing in scene.things} for scene in scenes]
        right = sum(len(set(names) & true) for names, true in zip(said, there, strict=True))
        results[category] = Recall(
            recall=right / sum(map(len, there)),
            precision=right / max(1, sum(map(len, said))),
            exact=sum(set(names) == true for names, true in zip(said, there, strict=True)) / scenes_each,
        )
    return results


def parse_plain(caption: str) -> list[str]:
    """The names in a plain caption: "a red circle and blue dots." -> ["red circle", "blue dots"]."""
    parts = caption.rstrip(".").replace(" and ", ", ").split(", ")
    return [part.removeprefix("an ").removeprefix("a ") for part in parts]
