"""The stock commands on a list of gaze videos, plain videos, images and text: training, checkpointing, prediction."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.integration.conftest import register, row, save_image, save_map
from tests.integration.test_end_to_end import losses, predictions, train
from tests.integration.test_video import PLAIN, places, register_videos, save_dots, video_row, write_video


pytestmark = pytest.mark.slow
STEPS = ("max_steps=4", "logging_steps=1", "per_device_train_batch_size=4", "learning_rate=5.0e-3")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Two gaze videos, of frames and as a file, whose maps go forwards and backwards in time; and what mixes."""
    folder = tmp_path_factory.mktemp("videos") / "data"
    folder.mkdir()
    frames, dots = save_dots(folder, "frames", [0.5] * 6), save_dots(folder, "maps", places(6))
    file = write_video(folder / "clip.mp4", [0.5] * 30, list(range(30)), "libx264")
    rows = [video_row([video], [maps]) for video in (frames, file) for maps in (dots, dots[::-1])]
    register_videos(folder, [entry for entry in rows if isinstance(entry["videos"][0], list)], "frames_gaze")
    register_videos(folder, [entry for entry in rows if isinstance(entry["videos"][0], str)], "files_gaze")
    plain = video_row([file], None)
    del plain["video_saliencies"]
    register(folder, "plain", [plain], **PLAIN)
    save_image(folder / "image.png", (112, 84), 1)
    save_map(folder / "map.png", (112, 84), 2)
    register(folder, "images", [row(["image.png"], ["map.png"])])
    text = {"columns": {"prompt": "instruction", "response": "output"}, "formatting": "alpaca"}
    register(folder, "text", [{"instruction": "Say ho.", "input": "", "output": "ho."}], **text)
    return folder


MIXED = "dataset=frames_gaze,files_gaze,plain,images,text"


@pytest.fixture(scope="module")
def trained(data) -> Path:
    output = data.parent / "stage1"
    train("stage1", data, output, MIXED, *STEPS, "dataloader_num_workers=1", "preprocessing_num_workers=2")
    return output


def test_training_moves_the_calibrator(data, trained):
    assert len(losses(trained)) == 4
    weights = load_file(trained / "adapter_model.safetensors")
    assert all(weight.any() for name, weight in weights.items() if "calibrator" in name)
    assert sum("calibrator" in name for name in weights) == 6


def test_without_maps_it_trains_otherwise(data, trained):
    output = data.parent / "off"
    train("stage1", data, output, MIXED, *STEPS, "gaze_ablation=off")
    assert losses(output)[0] == pytest.approx(losses(trained)[0], abs=1e-4)  # W_O is zero at the start
    assert losses(output)[1:] != pytest.approx(losses(trained)[1:], abs=1e-4)


@pytest.mark.parametrize("beams", [1, 2])
def test_prediction_keeps_rows_and_labels(data, trained, beams):
    """Videos of different length in one batch."""
    output = data.parent / f"predicted{beams}"
    keys = (f"adapter_name_or_path={trained}", f"num_beams={beams}", "max_new_tokens=8")
    train("predict_injected", data, output, "eval_dataset=frames_gaze,files_gaze", *keys)
    lines = predictions(output)
    assert [line["label"].strip() for line in lines] == ["a dot."] * 4
    report = json.loads((output / "predict_results.json").read_text())
    assert report["predict_rouge-1"] >= 0
