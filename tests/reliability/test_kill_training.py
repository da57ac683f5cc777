"""Trainings by LLaMA-Factory, killed at random moments: what ends has the weights of one that nobody disturbed."""

from llamafactory_gaze.integration.checkpoints import set_aside_incomplete
from tests.killing import kill_again_and_again
from tests.reliability.trainings import incomplete, trained


def test_killed_at_random_moments(llamafactory, tmp_path):
    said = len(llamafactory.log.read_text())
    done = kill_again_and_again(llamafactory, tmp_path, trained, incomplete)
    assert done.while_writing
    assert "is incomplete: the training was killed" in llamafactory.log.read_text()[said:]


def test_only_what_is_half_written_is_set_aside(tmp_path):
    for number, state in ((1, '{"global_step": 1}'), (2, '{"global_st'), (3, None), (4, "")):
        (tmp_path / f"checkpoint-{number}").mkdir()
        if state is not None:
            (tmp_path / f"checkpoint-{number}" / "trainer_state.json").write_text(state)
    (tmp_path / "incomplete-checkpoint-3").mkdir()  # of an earlier kill
    said = set_aside_incomplete(tmp_path)
    assert len(said) == 3 and "checkpoint-2 is incomplete" in said[0]
    assert {path.name for path in tmp_path.iterdir()} == {
        "checkpoint-1", "incomplete-checkpoint-2", "incomplete-checkpoint-3", "incomplete-checkpoint-3-2",
        "incomplete-checkpoint-4",
    }  # fmt: skip
    assert set_aside_incomplete(tmp_path) == []
