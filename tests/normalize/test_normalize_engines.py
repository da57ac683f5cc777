"""The engines: batches of LLaMA-Factory's Hugging Face engine against transformers alone, and what servers are sent."""

import base64
import io
import json
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

from llamafactory_gaze import versions
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.demo.run import BASE_MODEL
from llamafactory_gaze.normalize.engines import Question, check_backend, load, load_engine
from llamafactory_gaze.normalize.engines.huggingface import HuggingFace
from llamafactory_gaze.normalize.engines.sglang import SGLang
from llamafactory_gaze.normalize.engines.vllm import Vllm
from llamafactory_gaze.normalize.journal import Answer


@pytest.fixture(scope="session")
def pictures(built, tmp_path_factory) -> list[Path]:
    """Of three sizes."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for i, path in enumerate(sorted((built / "toy" / "images").iterdir())):
        paths.append(folder / path.name)
        image = Image.open(path)
        image.resize((image.width + 28 * (i % 3), image.height)).save(paths[-1])
    return paths


@pytest.fixture(scope="module")
def hugging_face() -> HuggingFace:
    return load_engine("huggingface", BASE_MODEL, "qwen2_vl", 24, 768 * 768, 1)


@cache
def by_transformers() -> tuple:
    return AutoProcessor.from_pretrained(BASE_MODEL), Qwen2_5_VLForConditionalGeneration.from_pretrained(BASE_MODEL)


def answer_alone(question: Question, limit: int) -> str:
    """By transformers, with the model's own chat template."""
    processor, model = by_transformers()
    content = [{"type": "image"}, {"type": "text", "text": question.prompt}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    inputs = processor(text=[text], images=[Image.open(question.images[0])], return_tensors="pt")
    tokens = model.generate(**inputs, do_sample=False, max_new_tokens=limit)[0, inputs["input_ids"].shape[1] :]
    return processor.tokenizer.decode(tokens, skip_special_tokens=True).strip()


def test_a_batch_is_answered_as_transformers_answers_each_question(hugging_face, pictures):
    """Pictures and prompts of several sizes, so that there is padding, and 3-D positions."""
    prompts = ["Describe the image.", "Describe the image. " * 3, "blue"]
    questions = [Question(prompts[i % 3], (path,)) for i, path in enumerate(pictures)]
    questions += [Question(prompts[0], (path,)) for path in pictures]
    answers = hugging_face.answer(questions)
    assert [answer.text for answer in answers] == [answer_alone(question, 24) for question in questions]
    assert len({answer.text for answer in answers}) > 4


def test_what_is_cut_off_is_known(hugging_face, pictures):
    whole = hugging_face.answer([Question("Describe the image.", (path,)) for path in pictures[:2]])
    assert all(answer.complete and answer.text.endswith(".") for answer in whole)
    limit = min(answer.tokens for answer in whole)  # with the token that ends it
    for change, complete in ((0, True), (-1, False)):
        hugging_face.engine.generating_args["max_new_tokens"] = limit + change
        answers = hugging_face.answer([Question("Describe the image.", (path,)) for path in pictures[:2]])
        shorter = min(answers, key=lambda answer: answer.tokens)
        assert (shorter.complete, shorter.tokens) == (complete, limit + change)
    hugging_face.engine.generating_args["max_new_tokens"] = 24


def test_an_image_that_cannot_be_read_is_named(hugging_face, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"The image .*broken\.png cannot be read"):
        hugging_face.answer([Question("Describe the image.", (tmp_path / "broken.png",))])


def test_memory_that_does_not_suffice_is_explained(hugging_face, pictures, monkeypatch):
    def full(**inputs):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(hugging_face.engine.model, "generate", full)
    with pytest.raises(DataError, match="does not hold 1 questions at once; call again with a smaller --batch-size"):
        hugging_face.answer([Question("Describe the image.", (pictures[0],))])


def test_another_llamafactory_is_named(hugging_face):
    state = {name: getattr(hugging_face.engine, name) for name in HuggingFace._STATE}
    for engine, message in (
        (SimpleNamespace(**state), r"expects SimpleNamespace\._process_args in LLaMA-Factory, as in version 0\.9\.5; "),
        (SimpleNamespace(**state, _process_args=lambda model, messages: None), r"HuggingfaceEngine\._process_args\(mo"),
    ):
        with pytest.raises(DataError, match=message):
            HuggingFace(engine)


def test_what_llamafactory_refuses_is_a_sentence(tmp_path):
    refused = "LLaMA-Factory cannot load the model with huggingface: "
    with pytest.raises(DataError, match=f"{refused}Template none does not"):
        load_engine("huggingface", BASE_MODEL, "none", 8, 768 * 768, 1)
    for file in BASE_MODEL.glob("*.json*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(DataError, match=f"{refused}.*no file named model.safetensors"):
        load_engine("huggingface", tmp_path, "qwen2_vl", 8, 768 * 768, 1)


@pytest.mark.parametrize(
    ("backend", "install"), [("vllm", r"'vllm>=0\.4\.3,<=0\.11\.0'"), ("sglang", r"'sglang>=0\.4\.5'")]
)
def test_an_engine_that_is_not_installed(backend, install, monkeypatch):
    monkeypatch.setattr(load, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=f"--backend {backend} needs .* not installed here: pip install {install}"):
        check_backend(backend)


def test_untested_versions_are_refused(monkeypatch):
    monkeypatch.setattr(versions, "version", lambda package: "99.1")
    with pytest.raises(DataError, match=r"not tested with llamafactory 99\.1"):
        check_backend("huggingface")


def test_vllm_is_asked_at_the_same_time(pictures):
    """Each request waits until all have come."""
    together = threading.Barrier(3, timeout=20)

    def chat(messages: list[dict], images: list[str]) -> list[SimpleNamespace]:
        together.wait()
        said = f" {messages[0]['content']} {Path(images[0]).name}"
        reason = "stop" if images[0] == str(pictures[0]) else "length"
        return [SimpleNamespace(response_text=said, finish_reason=reason, response_length=7)]

    answers = Vllm(SimpleNamespace(chat=chat)).answer([Question("What?", (path,)) for path in pictures[:3]])
    assert answers == [Answer(f"<image>What? {path.name}", path == pictures[0], 7) for path in pictures[:3]]


class Server(BaseHTTPRequestHandler):
    """Says what SGLang's /generate says, in its form."""

    received: list[dict]

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.received.append(request)
        reason = "length" if "long" in request["text"] else "stop"
        body = {"text": " Yes. ", "meta_info": {"finish_reason": {"type": reason}, "completion_tokens": 3}}
        self.send_response(500 if "bad" in request["text"] else 200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *arguments: object) -> None:
        pass


def test_sglang_gets_the_prompt_and_the_image(pictures, monkeypatch):
    from llamafactory.data import get_template_and_fix_tokenizer
    from llamafactory.hparams import get_infer_args
    from llamafactory.model import load_tokenizer

    settings = {"model_name_or_path": str(BASE_MODEL), "template": "qwen2_vl", "image_max_pixels": 80 * 80}
    model_args, data_args, _, _ = get_infer_args(settings)
    tools = load_tokenizer(model_args)
    template = get_template_and_fix_tokenizer(tools["tokenizer"], data_args)
    monkeypatch.setattr(template.mm_plugin, "expand_mm_tokens", False)  # as LLaMA-Factory's engine sets it
    monkeypatch.setattr(Server, "received", [], raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        engine = SGLang(SimpleNamespace(base_url=address, template=template, model_args=model_args, **tools), 9)
        questions = [Question(f"{word}?", (path,)) for word, path in zip(("What", "long"), pictures[1:3], strict=True)]
        assert engine.answer(questions) == [Answer("Yes.", True, 3), Answer("Yes.", False, 3)]
        request = min(Server.received, key=lambda request: "long" in request["text"])
        assert request["text"] == (
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
            "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>What?<|im_end|>\n<|im_start|>assistant\n"
        )
        assert request["sampling_params"] == {
            "temperature": 0.0,
            "max_new_tokens": 9,
            "stop_token_ids": [tools["tokenizer"].eos_token_id],
            "skip_special_tokens": True,
        }
        (image,) = request["image_data"]
        head, _, data = image.partition(",")
        sent, stored = Image.open(io.BytesIO(base64.b64decode(data))), Image.open(pictures[1])
        assert head == "data:image/png;base64" and sent.width * sent.height <= 80 * 80 < stored.width * stored.height
        assert sent.width / sent.height == pytest.approx(stored.width / stored.height, rel=0.03)
        with pytest.raises(DataError, match=r"The SGLang server refused a question \(500"):
            engine.answer([Question("bad", (pictures[0],))])
    finally:
        server.shutdown()
