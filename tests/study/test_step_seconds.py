"""Seconds per training step, from the files that a training leaves: of one process, or of several after kills."""

import json
from pathlib import Path

import pytest

from llamafactory_gaze.study.records import step_seconds


def leave(folder: Path, logged: list[tuple[int, str]], steps: int, runtime: float) -> Path:
    """The files of a training whose last process ran for `runtime` seconds.

    transformers divides all steps by the run time of the last process, and rounds.
    """
    lines = [{"current_steps": step, "total_steps": steps, "elapsed_time": elapsed} for step, elapsed in logged]
    (folder / "trainer_log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": steps, "log_history": []}))
    results = {"train_runtime": runtime, "train_steps_per_second": round(steps / runtime, 3)}
    (folder / "train_results.json").write_text(json.dumps(results))
    return folder


def test_one_process_took_its_run_time_for_all_steps(tmp_path):
    folder = leave(tmp_path, [(20, "0:00:05"), (40, "0:00:10"), (50, "0:00:12")], steps=50, runtime=12.5)
    assert step_seconds(folder) == pytest.approx(0.25)


def test_a_training_without_a_logged_step(tmp_path):
    assert step_seconds(leave(tmp_path, [(2, "0:00:07")], steps=2, runtime=7.0)) == pytest.approx(3.5)


def test_steps_of_more_than_half_an_hour(tmp_path):
    folder = leave(tmp_path, [(10, "10:00:00"), (30, "1 day, 6:00:00")], steps=30, runtime=108_000.0)
    assert step_seconds(folder) == pytest.approx(3600)


def test_a_resumed_training_counts_the_steps_of_its_last_process(tmp_path):
    # 2 s per step; twice killed, after checkpoints at 60 and 80.
    killed = [(20, "0:00:40"), (40, "0:01:20"), (60, "0:02:00"), (80, "0:02:40"), (80, "0:00:41")]
    last = [(100, "0:00:40"), (120, "0:01:20"), (120, "0:01:20")]
    assert step_seconds(leave(tmp_path, killed + last, steps=120, runtime=80.0)) == pytest.approx(2.0)


def test_a_kill_between_a_checkpoint_and_the_next_log(tmp_path):
    logged = [(20, "0:00:40"), (40, "0:01:20"), (60, "0:00:41"), (80, "0:01:21"), (80, "0:01:21")]
    assert step_seconds(leave(tmp_path, logged, steps=80, runtime=81.0)) == pytest.approx(2.0)


def test_a_line_that_was_cut_short_is_passed_over(tmp_path):
    folder = leave(tmp_path, [(20, "0:00:40"), (40, "0:01:20"), (60, "0:02:00")], steps=60, runtime=120.0)
    text = (folder / "trainer_log.jsonl").read_text()
    (folder / "trainer_log.jsonl").write_text(text.replace('"0:01:20"}\n', '"0:0'))
    assert step_seconds(folder) == pytest.approx(2.0)


def test_where_the_last_process_logged_its_last_step_alone_nothing_is_known(tmp_path):
    folder = leave(tmp_path, [(20, "0:00:40"), (40, "0:01:20"), (45, "0:00:03")], steps=45, runtime=3.0)
    assert step_seconds(folder) is None
