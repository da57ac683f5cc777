"""A recipe, a registry and the command line, for tests that go through LLaMA-Factory itself."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch  # noqa: F401 - arms the plug-in
from PIL import Image

from llamafactory_gaze.demo.run import BASE_MODEL


ROOT = Path(__file__).parents[2]
SIZES = [(168, 168), (224, 168), (112, 84)]


def save_map(path: Path, size: tuple[int, int], seed: int, bits: int = 16) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).random((size[1], size[0]))
    dtype = np.uint16 if bits == 16 else np.uint8
    Image.fromarray((values * np.iinfo(dtype).max).astype(dtype)).save(path)


def save_image(path: Path, size: tuple[int, int], seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(values).save(path)


def row(images: list, saliencies: list | None, text: str = "a red circle.", **fields) -> dict:
    question = "<image>" * len(images) + "Describe the image."
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": text}]
    return {"conversations": turns, "images": images, "saliencies": saliencies, **fields}


def register(folder: Path, name: str, rows: list[dict], **entry) -> None:
    """Writes `<name>.json` and its entry in dataset_info.json."""
    info = folder / "dataset_info.json"
    known = json.loads(info.read_text()) if info.exists() else {}
    columns = {"messages": "conversations", "images": "images", "saliencies": "saliencies"}
    known[name] = {"file_name": f"{name}.json", "formatting": "gaze", "columns": columns, **entry}
    info.write_text(json.dumps(known))
    (folder / f"{name}.json").write_text(json.dumps(rows))


@pytest.fixture
def registry(tmp_path) -> Path:
    """Three images with maps, 16 and 8 bit, full size and smaller; data set `gaze`."""
    for i, (size, bits) in enumerate(zip(SIZES, (16, 8, 16), strict=True)):
        save_image(tmp_path / f"images/{i}.png", size, i)
        save_map(tmp_path / f"maps/{i}.png", (size[0] // 2, size[1] // 2) if i else size, 10 + i, bits)
    rows = [row([f"images/{i}.png"], [f"maps/{i}.png"], id=f"r{i}", participant="p1") for i in range(3)]
    register(tmp_path, "gaze", rows)
    return tmp_path


def recipe(registry: Path, **keys) -> dict:
    """A training recipe as YAML gives it."""
    return {
        "model_name_or_path": str(BASE_MODEL),
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_target": "gaze",
        "dataset_dir": str(registry),
        "dataset": "gaze",
        "template": "qwen2_5_vl_gaze",
        "cutoff_len": 512,
        "output_dir": str(registry / "output"),
        "report_to": "none",
        "use_cpu": True,
        "disable_gradient_checkpointing": True,
        **keys,
    }


def parse(registry: Path, **keys):
    """(model_args, data_args, training_args, finetuning_args, generating_args) from LLaMA-Factory's own parser."""
    from llamafactory.hparams import get_train_args

    return get_train_args({key: value for key, value in recipe(registry, **keys).items() if value is not None})


def load_data(registry: Path, **keys):
    """LLaMA-Factory's dataset module and a batch of all its rows, collated by its own collator."""
    from llamafactory.data import SFTDataCollatorWith4DAttentionMask, get_dataset, get_template_and_fix_tokenizer
    from llamafactory.model import load_tokenizer

    model_args, data_args, training_args, *_ = parse(registry, **keys)
    module = load_tokenizer(model_args)
    template = get_template_and_fix_tokenizer(module["tokenizer"], data_args)
    dataset = get_dataset(template, model_args, data_args, training_args, stage="sft", **module)["train_dataset"]
    collator = SFTDataCollatorWith4DAttentionMask(template=template, model=None, **module)
    return dataset, collator([dataset[i] for i in range(len(dataset))])


def load_model(registry: Path, **keys):
    """The model as LLaMA-Factory's own loader makes it for a recipe."""
    from llamafactory import model

    model_args, _, training_args, finetuning_args, _ = parse(registry, **keys)
    tokenizer = model.load_tokenizer(model_args)["tokenizer"]
    return model.load_model(tokenizer, model_args, finetuning_args, training_args.do_train)


SCRIPTS = Path(sys.executable).parent


def cli_environment(**environment: str) -> dict[str, str]:
    """What a user's shell would give `llamafactory-cli`."""
    return {
        **os.environ,
        "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        **environment,
    }


def run_cli(
    command: str, *arguments: object, processes: int = 1, stdin: str | None = None, **environment: str
) -> subprocess.CompletedProcess:
    """The stock `llamafactory-cli` of this environment, as a user's shell would start it."""
    env = cli_environment(**environment)
    if processes > 1:
        env |= {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": str(processes)}
    return subprocess.run(
        [SCRIPTS / "llamafactory-cli", command, *map(str, arguments)], cwd=ROOT, env=env, text=True,
        input=stdin, capture_output=True, timeout=600, check=False,
    )  # fmt: skip
