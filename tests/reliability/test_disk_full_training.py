"""A training whose checkpoints do not fit on the disk, and an export: what they say and leave, and how they go on."""

import shutil
from pathlib import Path

import pytest

from llamafactory_gaze.export.whole import check_whole
from tests.explain.conftest import exported  # noqa: F401 - a fixture
from tests.killing import Job, content
from tests.reliability.disks import only
from tests.reliability.trainings import incomplete, trained


def fails(job: Job, folder: Path, *arguments: Path, saying: str) -> None:
    said = len(job.log.read_text())
    job.start(folder, *arguments)
    assert job.end() == 1
    sentence = f"No space is left to write {saying}: free some, and run the same command again. What is half-written "
    assert f"\nOSError: {sentence}there is not used.\n" in job.log.read_text()[said:]


def test_a_training(llamafactory, disk, tmp_path):
    """The adapter, the optimizer or a small file behind them does not fit, of the first checkpoint or a later one."""
    llamafactory.live(tmp_path / "undisturbed")
    checkpoint = sum(len(text) for text in content(tmp_path / "undisturbed/stage1/checkpoint-1").values())
    half_written = 0
    for whole, part in ((0, 0.2), (1, 0.6), (0, 0.97)):
        with only(disk, int((whole + part) * checkpoint)):
            fails(llamafactory, disk, saying=f"{disk}/stage1")
        half_written += bool(incomplete(disk))
        assert not (disk / "stage1/adapter_model.safetensors").exists()
    assert half_written >= 2
    llamafactory.live(disk)
    assert trained(disk) == trained(tmp_path / "undisturbed")


def test_an_export(llamafactory, disk, exported, tmp_path):  # noqa: F811
    """The weights do not fit, or the tokenizer behind them, of which LLaMA-Factory only warns."""
    model = exported("cross_attention", 5)
    llamafactory.live(tmp_path, model)
    weights = sum(path.stat().st_size for path in (tmp_path / "merged").glob("model*"))
    for free in (0, weights // 2, weights + 32768):
        shutil.rmtree(disk / "merged", ignore_errors=True)
        with only(disk, free):
            fails(llamafactory, disk, model, saying=f"{disk}/merged")
        if (disk / "merged/config.json").exists():
            with pytest.raises(ValueError, match="is not a whole model: its export began"):
                check_whole(disk / "merged")
    llamafactory.live(disk, model)
    assert content(disk / "merged") == content(tmp_path / "merged")
