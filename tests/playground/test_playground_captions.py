"""Captions word by word: what `caption` answers, streamed, of one model and of two."""

import shutil
import threading
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file, save_file

from llamafactory_gaze.demo.run import BASE_MODEL
from llamafactory_gaze.inference import InferenceError, caption, gaze_inputs
from llamafactory_gaze.playground.captions import Answer, Question, stream_captions
from llamafactory_gaze.playground.models import Loaded, load_models
from tests.explain.conftest import make_image, make_processor
from tests.playground.conftest import PLACES, PROMPT, look_at, scene


LENGTH = 12


def questions_for(models):
    """Without gaze, and two gazes."""
    maps = [None, *map(look_at, PLACES.values())]
    speakers = [models.without_gaze, models.gaze, models.gaze]
    return [
        Question(speaker, gaze_inputs(speaker.processor, scene().image, saliency, PROMPT))
        for speaker, saliency in zip(speakers, maps, strict=True)
    ]


@pytest.mark.parametrize("which", ["models", "alone"])
def test_complete_answers_are_those_of_caption(request, which):
    questions = questions_for(request.getfixturevalue(which))
    states = list(stream_captions(questions, LENGTH))
    expected = [caption(each.speaker.model, each.speaker.processor, each.inputs, LENGTH) for each in questions]
    assert states[-1] == [Answer(text, True) for text in expected]
    assert len(set(expected)) == 3
    for before, after in pairwise(states):  # text only grows, apart from blanks at its ends
        assert all(new.text.strip().startswith(old.text.strip()) for old, new in zip(before, after, strict=True))


class Scripted:
    """A model that says its words when it is told to."""

    device, busy = torch.device("cpu"), 0

    def __init__(self, tokens):
        self.tokens, self.go, self.most = tokens, threading.Semaphore(0), 0

    def generate(self, input_ids, streamer, stopping_criteria, **_):
        self.busy += 1
        self.most = max(self.most, self.busy)
        streamer.put(input_ids)
        for token in self.tokens:
            assert self.go.acquire(timeout=10)
            streamer.put(torch.tensor([token]))
            if stopping_criteria(input_ids, None).all():
                break
        streamer.end()
        self.busy -= 1


def scripted(text):
    processor = make_processor()
    model = Scripted(processor.tokenizer(text)["input_ids"])
    return Loaded("scripted", (), model, processor), gaze_inputs(processor, make_image(), None, PROMPT)


def test_words_arrive_one_by_one_and_models_speak_at_the_same_time():
    first, second = (Question(*scripted(text)) for text in ("a red circle and a blue cup", "a green star"))
    stream = stream_captions([first, second, first])
    seen = []
    for _ in range(5):  # in turns: neither waits until the other has ended
        first.speaker.model.go.release()
        second.speaker.model.go.release()
    for _ in range(100):
        state = next(stream)
        seen.append([answer.text.strip() for answer in state])
        first.speaker.model.go.release()
        second.speaker.model.go.release()
        if all(answer.complete for answer in state):
            break
    assert seen[-1] == ["a red circle and a blue cup", "a green star", "a red circle and a blue cup"]
    texts = {text for state in seen for text in state}
    assert any(text and text not in seen[-1] for text in texts)  # parts of captions were shown
    assert first.speaker.model.most == 1  # one model has one state


def test_closing_stops_the_models():
    question = Question(*scripted("a red circle and a blue cup"))
    before = threading.active_count()
    stream = stream_captions([question, question])
    for _ in range(4):
        question.speaker.model.go.release()
    next(stream)
    question.speaker.model.go.release()  # the word that it is about to say
    stream.close()
    assert threading.active_count() == before and question.speaker.model.busy == 0


def test_an_error_of_a_model_is_raised_and_ends_the_others(alone):
    (good, *_), (bad, inputs) = questions_for(alone), scripted("a red circle")

    def fail(**_):
        raise RuntimeError("out of memory")

    bad.model.generate = fail
    with pytest.raises(RuntimeError, match="out of memory"):
        list(stream_captions([Question(bad, inputs), good], LENGTH))


def test_who_speaks(models, alone, exported, tmp_path):
    assert alone.without_gaze is alone.gaze and models.without_gaze is models.baseline
    assert models.gaze.settings["gaze_fusion"] == "cross_attention" and models.baseline.settings == {}
    assert not hasattr(models.baseline.model.config.vision_config, "gaze_fusion")
    assert models.baseline.name == str(BASE_MODEL) and models.baseline.weights == "float32 on cpu"
    gaze_as_baseline = load_models(exported(), baseline=exported("overlay"))
    assert gaze_as_baseline.baseline.settings["gaze_fusion"] == "overlay"
    for arguments, message in (
        ({"model": BASE_MODEL}, "knows nothing of gaze"),
        ({"model": exported(), "baseline": tmp_path}, "No model is found at"),
        ({"model": exported(), "baseline": BASE_MODEL, "baseline_adapters": [tmp_path]}, "holds no adapter"),
    ):
        with pytest.raises(InferenceError, match=message):
            load_models(**arguments)


def test_a_baseline_that_lacks_weights_is_refused(gaze_model, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(BASE_MODEL, folder)
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if ".blocks.0.mlp.up_proj." not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InferenceError, match="is not complete: it lacks 2 weights"):
        load_models(gaze_model, baseline=folder)
