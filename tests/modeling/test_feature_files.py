"""Features of images in files: the same numbers in another process, nothing of other weights, and a limit."""

import os
from unittest.mock import Mock

import pytest
import torch

from tests.modeling.test_image_cache import counted, pixels, tokens
from tests.modeling.test_model import awaken, load_gaze


@pytest.fixture
def make(stock_checkpoint, tmp_path):
    """A model as another run would load it, with features kept in files alone."""

    def make(change: float = 0.0, gigabytes: float = 1.0):
        torch.manual_seed(0)
        model = awaken(load_gaze(stock_checkpoint))
        with torch.no_grad():
            model.model.visual.blocks[0].mlp.up_proj.weight[0, 0] += change
        model.cache_images(0, str(tmp_path / "features"), gigabytes)
        return model

    return make


def files(tmp_path):
    return sorted((tmp_path / "features").glob("*"))


def test_a_later_run_need_not_see_the_image_again(make):
    expected = tokens(make(), 0, maps=1)
    model = make()
    with counted(model.model.visual) as calls:
        assert torch.equal(tokens(model, 0, maps=1), expected)
        other_map = tokens(model, 0, maps=2)
    assert set(calls) == {2, 3}  # the blocks from the calibrator on
    model.cache_images(0)
    assert torch.equal(tokens(model, 0, maps=2), other_map)


def test_features_of_other_weights_are_not_taken(make, tmp_path):
    tokens(make(), 0, maps=1)
    changed = make(change=0.5)
    found = tokens(changed, 0, maps=1)
    assert len(files(tmp_path)) == 2
    changed.cache_images(0)
    assert torch.equal(found, tokens(changed, 0, maps=1))


def test_a_damaged_file_is_made_anew_and_said(make, tmp_path, caplog):
    expected = tokens(make(), 0, maps=1)
    (file,) = files(tmp_path)
    file.write_bytes(file.read_bytes()[:100])
    assert torch.equal(tokens(make(), 0, maps=1), expected)
    assert f"{file} cannot be read" in caplog.text
    model = make()
    with counted(model.model.visual) as calls:
        tokens(model, 0, maps=1)
    assert 0 not in calls


def test_files_of_another_user_are_read(make, tmp_path, monkeypatch, caplog):
    expected = tokens(make(), 0, maps=1)
    monkeypatch.setattr(os, "utime", Mock(side_effect=PermissionError("not the owner")))
    model = make()
    with counted(model.model.visual) as calls:
        assert torch.equal(tokens(model, 0, maps=1), expected)
    assert 0 not in calls and "cannot be read" not in caplog.text


def test_the_limit_holds_and_what_was_not_used_the_longest_goes(make, tmp_path):
    tokens(make(), 0)
    size = files(tmp_path)[0].stat().st_size
    model = make(gigabytes=2.2 * size / 1e9)  # images 0 and 2 are of one size
    tokens(model, 2)
    tokens(model, 0)  # used again
    tokens(model, 1)
    with counted(model.model.visual) as calls:
        tokens(model, 0)
        assert 0 not in calls
        tokens(model, 2)
        assert calls[0] == 1
    assert sum(file.stat().st_size for file in files(tmp_path)) <= 2.2 * size


def test_a_folder_that_takes_nothing_costs_a_warning_and_no_number(make, tmp_path, caplog):
    (tmp_path / "features").write_text("a file where the folder should be")
    model = make()
    found = [tokens(model, image) for image in (0, 1)]
    assert caplog.text.count("takes no more features") == 1
    model.cache_images(0)
    assert all(torch.equal(each, tokens(model, image)) for each, image in zip(found, (0, 1), strict=True))


def test_the_image_counts_not_its_place(make, tmp_path):
    model = make()
    tokens(model, 0, 1)
    assert len(files(tmp_path)) == 2 and not torch.equal(pixels(0)[:64], pixels(1))
    with counted(model.model.visual) as calls:
        tokens(model, 1, 0)
    assert 0 not in calls
