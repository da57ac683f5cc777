"""Killed at random moments, twenty times and more, and called again: the result is that of a run nobody disturbed.

GAZE_KILLS sets how many kills of each. (Normalisation has tests of its own: tests/normalize/test_normalize_kills.py.)
"""

import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from llamafactory_gaze.demo.dataset import make_demo_data
from llamafactory_gaze.demo.run import BASE_MODEL
from tests.data.conftest import Recording
from tests.eval.conftest import Study
from tests.integration.conftest import ROOT, cli_environment


pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("GAZE_KILLS", "20"))
TIMES = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\+00:00| UTC)?")


class Warm:
    def __init__(self, folder: Path) -> None:
        self.log = folder / "log"
        environment = {**cli_environment(), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.warm"], cwd=ROOT, env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def run(self, work: str, arguments: list[str], after: float | None = None) -> tuple[str, float]:
        """How it ended, and after how many seconds."""
        job = {"work": work, "arguments": arguments, "after": after, "log": str(self.log)}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        ended, taken = self.process.stdout.readline().split()
        return ended, float(taken)

    def whole(self, work: str, arguments: list[str]) -> float:
        """Runs it to its end, and says how long that took."""
        ended, taken = self.run(work, arguments)
        assert ended == "0", self.log.read_text()[-3000:]
        return taken


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    warm = Warm(tmp_path_factory.mktemp("warm"))
    yield warm
    warm.process.stdin.close()
    warm.process.wait(30)


def content(folder: Path) -> dict[str, bytes]:
    """All files that somebody would read, without the times that stand in them."""
    return {
        str(path.relative_to(folder)): TIMES.sub(b"(time)", path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".") and path.suffix not in (".lock", ".part")
    }


def kill_often(warm: Warm, work: str, arguments: list[str], longest: float, output: Path, expected: dict) -> int:
    """Kills at random moments of a run of `longest` seconds until there were enough kills; then it runs to its end.

    Whenever it came to its end before a kill, its output is looked at and thrown away.

    Returns:
        The number of kills that left a part of the output.
    """
    moments, kills, parts = random.Random(0), 0, 0
    while kills < KILLS:
        ended, _ = warm.run(work, arguments, after=moments.uniform(0, 0.95 * longest))
        if ended == "killed":
            kills += 1
            parts += output.exists()
        else:
            assert ended == "0", warm.log.read_text()[-3000:]
            assert content(output) == expected
            shutil.rmtree(output)
    warm.whole(work, arguments)
    assert content(output) == expected
    return parts


def test_building_a_data_set(warm, tmp_path):
    recording = Recording(tmp_path)
    options = recording.options()
    files = ("--fixations", options.fixations, "--images", options.images, "--descriptions", options.descriptions)
    registry = tmp_path / "registry"
    rest = ("--name", "small", "--dataset-dir", registry, "--sigma-px", "4", "--test-fraction", "0.4")
    arguments = [str(each) for each in ("dataset", *files, *rest)]
    longest = warm.whole("command", arguments)
    expected = content(registry)
    shutil.rmtree(registry)
    assert kill_often(warm, "command", arguments, longest, registry, expected)


def test_evaluation(warm, tmp_path):
    study = Study(tmp_path / "data")
    output = tmp_path / "report"
    files = ("--baseline", study.file("baseline"), "--injected", study.file("injected"), "--dataset", study.dataset)
    scores = tmp_path / "scores.sqlite"
    arguments = [str(each) for each in (scores, "--output", output, *files)]
    longest = warm.whole("compare", arguments)
    expected = content(output)
    shutil.rmtree(output)
    scores.unlink(missing_ok=True)
    kill_often(warm, "compare", arguments, longest, output, expected)


def test_training(warm, tmp_path):
    make_demo_data(tmp_path / "data", train_images=6, test_images=5, observers=3)
    keys = {
        "model_name_or_path": str(BASE_MODEL), "template": "qwen2_5_vl_gaze", "stage": "sft", "do_train": True,
        "finetuning_type": "lora", "lora_target": "gaze", "lora_rank": 2, "dataset": "demo_stage1",
        "dataset_dir": str(tmp_path / "data"), "use_cpu": True, "report_to": "none", "max_steps": 6, "save_steps": 1,
        "logging_steps": 1, "per_device_train_batch_size": 2, "learning_rate": 1e-3, "cutoff_len": 1024,
    }  # fmt: skip

    def arguments(output: str) -> list[str]:
        return [json.dumps({**keys, "output_dir": str(tmp_path / output)})]

    longest = warm.whole("train", arguments("whole"))
    killed = tmp_path / "killed"
    kills, moments = 0, random.Random(1)
    while kills < KILLS:
        ended, _ = warm.run("train", arguments("killed"), after=moments.uniform(0, longest))
        assert ended in ("killed", "0"), warm.log.read_text()[-3000:]
        kills += ended == "killed"
        if ended == "0":  # it came to its end between two kills: once more from the start
            assert_equal(killed, tmp_path / "whole")
            shutil.rmtree(killed)
    warm.whole("train", arguments("killed"))
    assert_equal(killed, tmp_path / "whole")


def assert_equal(output: Path, expected: Path) -> None:
    weights, others = (load_file(folder / "adapter_model.safetensors") for folder in (output, expected))
    assert set(weights) == set(others)
    for name, weight in weights.items():
        torch.testing.assert_close(weight, others[name], rtol=0, atol=1e-6)


def test_a_checkpoint_cut_off_anywhere_is_not_taken_for_a_whole_one(tmp_path):
    from llamafactory_gaze.integration.checkpoints import last_whole_checkpoint

    for step in (2, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}/trainer_state.json").write_text('{"global_step": 1}')
    (tmp_path / "checkpoint-x").mkdir()
    assert last_whole_checkpoint(str(tmp_path)) == str(tmp_path / "checkpoint-10")
    for cut in ('{"global_st', "", None):
        state = tmp_path / "checkpoint-10/trainer_state.json"
        state.unlink() if cut is None else state.write_text(cut)
        assert last_whole_checkpoint(str(tmp_path)) == str(tmp_path / "checkpoint-2")
    shutil.rmtree(tmp_path / "checkpoint-2")
    assert last_whole_checkpoint(str(tmp_path)) is None
