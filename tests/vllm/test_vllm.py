"""Gaze models in vLLM on a CPU, against the same models in transformers. Run by `make test-vllm`; skipped without vLLM.

The models are the demo's base model with random, large parts for gaze, so that every map changes the answer.
"""

import base64
import io
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image


pytest.importorskip("vllm")

from transformers import AutoConfig, AutoProcessor

from llamafactory_gaze.modeling import (
    Qwen2_5_VLGazeConfig,
    Qwen2_5_VLGazeForConditionalGeneration,
    Qwen2_5_VLGazeProcessor,
)
from llamafactory_gaze.vllm import OVERRIDE, check_vllm
from tests.ports import free_port


BASE_MODEL = Path(__file__).parents[2] / "llamafactory_gaze" / "demo" / "base_model"
ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
ENGINE = {"dtype": "float32", "enforce_eager": True, "max_model_len": 1024}
TOKENS = 12


def export(fusion: str, folder: Path) -> str:
    """A gaze model as `llamafactory-cli export` leaves it."""
    torch.manual_seed(0)
    config = Qwen2_5_VLGazeConfig.from_stock(AutoConfig.from_pretrained(BASE_MODEL), gaze_fusion=fusion)
    model = Qwen2_5_VLGazeForConditionalGeneration.from_pretrained(BASE_MODEL, config=config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".calibrator." in name and parameter.ndim > 1:
                parameter.normal_(std=0.5)
    model.save_pretrained(folder)
    Qwen2_5_VLGazeProcessor.from_stock(AutoProcessor.from_pretrained(BASE_MODEL), fusion).save_pretrained(folder)
    return str(folder)


def gazes() -> list[Image.Image]:
    """One picture of 140 x 112 pixels under two gazes and none, and another picture under a gaze."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:112, 0:140]

    def gaze(x: float, y: float) -> Image.Image:
        return Image.fromarray((np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 800) * 255).astype(np.uint8))

    first, second = (Image.fromarray(rng.integers(0, 256, (112, 140, 3), dtype=np.uint8)) for _ in range(2))
    images = [first.copy(), first.copy(), first, second]
    for image, saliency in zip(
        (images[0], images[1], images[3]), (gaze(30, 30), gaze(110, 80), gaze(70, 50)), strict=True
    ):
        image.putalpha(saliency)
    return images


def prompt(processor) -> str:
    content = [{"type": "image"}, {"type": "text", "text": "Describe the image."}]
    return processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)


def by_transformers(folder: str, images: list[Image.Image]) -> list[tuple[list[int], list[float]]]:
    """Greedy tokens and their log probabilities, of each image alone."""
    model = Qwen2_5_VLGazeForConditionalGeneration.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder)
    answers = []
    for image in images:
        saliency = np.asarray(image.getchannel("A"), dtype=np.float32) / 255 if image.mode == "RGBA" else None
        inputs = processor(
            images=[image.convert("RGB")], saliencies=[saliency], text=[prompt(processor)], return_tensors="pt"
        )
        out = model.generate(
            **inputs, do_sample=False, max_new_tokens=TOKENS, return_dict_in_generate=True, output_logits=True
        )
        tokens = out.sequences[0, inputs["input_ids"].shape[1] :].tolist()
        scores = [logits[0].log_softmax(-1)[token].item() for logits, token in zip(out.logits, tokens, strict=True)]
        answers.append((tokens, scores))
    return answers


# vLLM is given a process of its own for each model, which gives everything back.
OFFLINE = """
import json, sys
from PIL import Image
from vllm import LLM, SamplingParams

if __name__ == "__main__":
    model, engine, tokens, prompt, *files = json.load(sys.stdin)
    llm = LLM(model, **engine)
    greedy = SamplingParams(temperature=0, max_tokens=tokens, logprobs=0)

    def answer(requests):
        outputs = [output.outputs[0] for output in llm.generate(requests, greedy, use_tqdm=False)]
        return [
            (list(out.token_ids), [step[token].logprob for step, token in zip(out.logprobs, out.token_ids)])
            for out in outputs
        ]

    requests = [{"prompt": prompt, "multi_modal_data": {"image": Image.open(file)}} for file in files]
    alone = [answer([request])[0] for request in requests]
    print("ANSWERS", json.dumps([alone, answer(requests)]))
"""


def by_vllm(folder: str, images: list[Image.Image], work: Path) -> list[list[tuple[list[int], list[float]]]]:
    """What `by_transformers` returns, of each image alone, and then of all together from vLLM's caches."""
    files = [work / f"{i}.png" for i in range(len(images))]
    for image, file in zip(images, files, strict=True):
        image.save(file)
    script = work / "offline.py"
    script.write_text(OFFLINE)
    order = [folder, ENGINE, TOKENS, prompt(AutoProcessor.from_pretrained(folder)), *map(str, files)]
    result = subprocess.run(
        [sys.executable, str(script)],
        input=json.dumps(order),
        env={**os.environ, **ENVIRONMENT},
        text=True,
        capture_output=True,
        timeout=900,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    line = next(line for line in result.stdout.splitlines() if line.startswith("ANSWERS "))
    return json.loads(line.removeprefix("ANSWERS "))


@pytest.mark.parametrize("fusion", ["cross_attention", "score_modulation", "input_channel", "overlay"])
def test_vllm_says_what_transformers_says(fusion, tmp_path):
    """Token by token, with prefix caching: the same picture comes with another gaze, and without any."""
    folder, images = export(fusion, tmp_path / "model"), gazes()
    expected = by_transformers(folder, images)
    sums = [round(sum(scores), 2) for _, scores in expected[:3]]
    assert len(set(sums)) == 3  # every gaze makes a difference, else nothing is tested
    for answers in by_vllm(folder, images, tmp_path):
        for (tokens, scores), (wanted, wanted_scores) in zip(answers, expected, strict=True):
            assert tokens == wanted
            np.testing.assert_allclose(scores, wanted_scores, atol=1e-4)


def test_the_server_sees_alpha_channels(tmp_path):
    folder, images = export("cross_attention", tmp_path / "model"), gazes()
    port = free_port()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", folder, "--port", str(port)]
    command += ["--host", "127.0.0.1", "--dtype", "float32", "--enforce-eager", "--max-model-len", "1024"]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, env={**os.environ, **ENVIRONMENT}, stdout=log, stderr=log)
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", server, tmp_path / "log")
        said = [_ask(f"http://127.0.0.1:{port}/v1/chat/completions", folder, image) for image in images]
    finally:
        server.terminate()
        server.wait(60)
    tokenizer = AutoProcessor.from_pretrained(folder).tokenizer
    expected = [tokenizer.decode(tokens, skip_special_tokens=True) for tokens, _ in by_transformers(folder, images)]
    assert said == expected


def _wait_for(address: str, server: subprocess.Popen, log: Path) -> None:
    for _ in range(1200):
        assert server.poll() is None, log.read_text()[-3000:]
        try:
            urllib.request.urlopen(address, timeout=5)
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.5)
    raise AssertionError(log.read_text()[-3000:])


def _ask(address: str, model: str, image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "Describe the image."}]
    body = {"model": model, "temperature": 0, "max_tokens": TOKENS, "messages": [{"role": "user", "content": content}]}
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=60))["choices"][0]["message"]["content"]


def test_gaze_in_the_prompt_is_refused(tmp_path):
    folder = export("text", tmp_path / "model")
    with pytest.raises(AssertionError, match="takes in gaze by its prompt"):
        by_vllm(folder, gazes(), tmp_path)


def test_other_versions_of_vllm_are_refused_unless_one_insists(monkeypatch):
    monkeypatch.delenv(OVERRIDE, raising=False)
    check_vllm("0.28.1+cpu")
    with pytest.raises(RuntimeError, match=r"vLLM 0\.29\.0"):
        check_vllm("0.29.0")
    monkeypatch.setenv(OVERRIDE, "1")
    with pytest.warns(UserWarning, match=r"vLLM 0\.29\.0"):
        check_vllm("0.29.0")
