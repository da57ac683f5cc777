"""Models whose weights are pickled are refused, unread, wherever gaze or a metric loads one."""

import pickle
import shutil

import pytest
import torch  # noqa: F401 - arms the plug-in
from transformers import AutoConfig

from eval.errors import MetricUnavailableError
from eval.metrics.encoder import Encoder
from eval.metrics.models import find_model
from llamafactory_gaze.demo.run import BASE_MODEL
from llamafactory_gaze.inference import InferenceError, load_stock_model
from llamafactory_gaze.modeling import Qwen2_5_VLGazeConfig, Qwen2_5_VLGazeForConditionalGeneration


class Payload:
    """What a pickle can do: it makes a folder when it is read."""

    def __init__(self, folder) -> None:
        self.folder = folder

    def __reduce__(self):
        import os

        return os.mkdir, (str(self.folder),)


def with_pickled_weights(model, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    weights = list(folder.rglob("*.safetensors"))
    assert weights
    for file in weights:
        file.unlink()
        (file.parent / "pytorch_model.bin").write_bytes(pickle.dumps({"a": Payload(tmp_path / "executed")}))
    return folder


def test_the_gaze_model(tmp_path):
    folder = with_pickled_weights(BASE_MODEL, tmp_path)
    config = Qwen2_5_VLGazeConfig.from_stock(AutoConfig.from_pretrained(folder))
    with pytest.raises(OSError, match="safetensors"):
        Qwen2_5_VLGazeForConditionalGeneration.from_pretrained(folder, config=config)
    assert not (tmp_path / "executed").exists()


def test_the_stock_model_that_a_gaze_model_is_compared_with(tmp_path):
    folder = with_pickled_weights(BASE_MODEL, tmp_path)
    with pytest.raises(InferenceError, match="safetensors"):
        load_stock_model(folder)
    assert not (tmp_path / "executed").exists()


def test_the_encoder_of_a_metric(tmp_path):
    folder = with_pickled_weights(find_model().path, tmp_path)
    with pytest.raises(MetricUnavailableError, match="safetensors"):
        Encoder(find_model(folder)).embed(["a red circle"])
    assert not (tmp_path / "executed").exists()
