"""`llamafactory-cli chat`, `webchat` and `api` with a gaze model, through the clients that people use."""

import base64
import json
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import openai
import pytest
from PIL import Image

from llamafactory_gaze import caption, gaze_inputs, load_model
from tests.explain.conftest import HEIGHT, WIDTH, awaken, fresh_model, make_image, make_processor
from tests.integration.conftest import ROOT, SCRIPTS, cli_environment, run_cli
from tests.ports import free_port


PROMPT = "Describe the image."
TOKENS = 12
# What can be said with 8 bits of alpha, so that all ways in say the same.
MAPS = [np.zeros((HEIGHT, WIDTH), np.uint8) for _ in range(2)]
MAPS[0][:, : WIDTH // 2] = 255
MAPS[1][HEIGHT // 2 :] = 200


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """(folder of the model, folder with files, what the model says without a map and with each map)."""
    folder, files = tmp_path_factory.mktemp("model"), tmp_path_factory.mktemp("media")
    awaken(fresh_model(gaze_layers=[4]), std=0.5).save_pretrained(folder)  # strong enough to change what is said
    make_processor().save_pretrained(folder)
    loaded, processor = load_model(folder, device="cpu")
    image = make_image()
    image.save(files / "scene.png")
    for i, saliency in enumerate(MAPS):
        Image.fromarray(saliency).save(files / f"map{i}.png")
        seen_through(saliency).save(files / f"alpha{i}.png")
    seen_through(np.full_like(MAPS[0], 255)).save(files / "opaque.png")
    gazes = [None, *(saliency.astype(np.float32) / 255 for saliency in MAPS)]
    said = [caption(loaded, processor, gaze_inputs(processor, image, gaze, PROMPT), TOKENS) for gaze in gazes]
    assert len(set(said)) == 3, "this random model says the same whatever the gaze, and tells nothing"
    return folder, files, said


def seen_through(alpha: np.ndarray) -> Image.Image:
    image = make_image()
    image.putalpha(Image.fromarray(alpha))
    return image


def recipe(folder, **keys) -> list[str]:
    keys = {"model_name_or_path": folder, "adapter_name_or_path": "null", "max_new_tokens": TOKENS, **keys}
    return [ROOT / "yaml_recipes/demo/chat.yaml", *(f"{key}={value}" for key, value in keys.items())]


@contextmanager
def server(command: str, port_variable: str, path: str, *arguments: object, **environment: str):
    """A server on a free port of loopback -> its address."""
    port = free_port()
    environment = cli_environment(**{port_variable: str(port)}, **environment)
    process = subprocess.Popen(
        [SCRIPTS / "llamafactory-cli", command, *map(str, arguments)], cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert process.poll() is None, process.stdout.read()
            try:
                urllib.request.urlopen(address + path, timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        yield address
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def client(model):
    folder, files, _ = model
    settings = {"API_HOST": "127.0.0.1", "SAFE_MEDIA_PATH": str(files), "API_VERBOSE": "0"}
    with server("api", "API_PORT", "/v1/models", *recipe(folder), **settings) as address:
        yield openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)


def data_url(path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def ask(client: openai.OpenAI, *images: str, stream: bool = False, saliencies=None) -> str:
    items = [{"type": "image_url", "image_url": {"url": url}} for url in images]
    answer = client.chat.completions.create(
        model="any",
        messages=[{"role": "user", "content": [*items, {"type": "text", "text": PROMPT}]}],
        stream=stream,
        extra_body={} if saliencies is None else {"saliencies": saliencies},
    )
    if stream:
        return "".join(piece.choices[0].delta.content or "" for piece in answer).strip()
    return answer.choices[0].message.content.strip()


@pytest.mark.parametrize("stream", [False, True])
def test_the_api_answers_as_the_model_does(client, model, stream):
    _, files, (without, *with_maps) = model
    scene = data_url(files / "scene.png")
    assert ask(client, scene, stream=stream) == without
    assert ask(client, data_url(files / "opaque.png"), stream=stream) == without
    assert ask(client, scene, stream=stream, saliencies=[None]) == without
    for i, said in enumerate(with_maps):
        saliency = files / f"map{i}.png"
        assert ask(client, data_url(files / f"alpha{i}.png"), stream=stream) == said
        assert ask(client, scene, stream=stream, saliencies=[data_url(saliency)]) == said
        assert ask(client, str(files / "scene.png"), stream=stream, saliencies=[str(saliency)]) == said


def test_each_image_of_a_conversation_has_its_own_map(client, model):
    _, files, _ = model
    scene = data_url(files / "scene.png")
    first, second = data_url(files / "map0.png"), data_url(files / "map1.png")
    answers = {
        json.dumps(order): ask(client, scene, scene, saliencies=order)
        for order in ([None, None], [first, None], [None, second], [first, second], [second, first])
    }
    assert len(set(answers.values())) > 1
    both = ask(client, data_url(files / "alpha0.png"), data_url(files / "alpha1.png"))
    assert both == answers[json.dumps([first, second])]


def png(image: Image.Image) -> str:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def bad_requests(files) -> list[tuple[str, list, str]]:
    """(image, saliencies, what the answer must say)"""
    scene, secret = data_url(files / "scene.png"), files.parent / "secret.png"
    Image.new("L", (WIDTH, HEIGHT)).save(secret)
    start, content = scene.split(",")
    half = f"{start},{content[: len(content) // 8 * 4]}"
    (files / "link.png").unlink(missing_ok=True)
    (files / "link.png").symlink_to(secret)
    return [
        (scene, [], "`saliencies` has 0 entries and the conversation 1 images"),
        (scene, [None, None], "`saliencies` has 2 entries and the conversation 1 images"),
        (scene, [png(Image.new("RGB", (WIDTH, HEIGHT)))], "is an RGB colour image; expected one greyscale image"),
        (scene, [png(Image.new("L", (HEIGHT, WIDTH)))], "does not have the aspect ratio of its image"),
        (scene, ["data:image/png;base64,AAAA"], "cannot be read: expected the bytes of an image file"),
        ("data:image/png;base64,AAAA", [None], "cannot be read: expected the bytes of an image file"),
        (half, [None], "cannot be decoded"),
        (data_url(files / "alpha0.png"), [data_url(files / "map1.png")], "an alpha channel and an entry in"),
        # Every way past LLaMA-Factory's own checks
        (scene, [str(secret)], "Invalid or inaccessible file path"),
        (scene, [str(files / ".." / "secret.png")], "Invalid or inaccessible file path"),
        (scene, [str(files / "link.png")], "Invalid or inaccessible file path"),
        (scene, ["/etc/passwd"], "Invalid or inaccessible file path"),
        (scene, ["http://127.0.0.1:1/map.png"], "private or reserved IP addresses"),
        (scene, [f"file://{secret}"], "Only HTTP/HTTPS URLs are allowed"),
        (f"{files}/scene.png#saliency={secret}", [None], "Only HTTP/HTTPS URLs are allowed"),
        (scene, [f"{files}/map0.png#saliency={secret}"], "Only HTTP/HTTPS URLs are allowed"),
    ]


def test_what_cannot_be_used_or_must_not_be_opened_is_refused_in_a_sentence(client, model):
    _, files, (without, *_) = model
    for image, saliencies, message in bad_requests(files):
        with pytest.raises(openai.BadRequestError) as error:
            ask(client, image, saliencies=saliencies)
        assert message in error.value.message and error.value.response.json()["detail"] in error.value.message
        with pytest.raises(openai.APIError) as error:
            ask(client, image, saliencies=saliencies, stream=True)
        assert message in error.value.message
    assert ask(client, data_url(files / "scene.png")) == without  # the server goes on


def test_the_terminal_takes_files_by_name(model):
    folder, files, (without, *with_maps) = model
    (files / "with space.png").write_bytes((files / "scene.png").read_bytes())
    lines = [
        f"<image {files}/scene.png>{PROMPT}",
        f"<image {files}/scene.png {files}/map0.png>{PROMPT}",
        f"<image '{files}/with space.png' {files}/map1.png>{PROMPT}",
        f"<image {files}/alpha1.png>{PROMPT}",
        f"<image {files}/nothing.png>{PROMPT}",
        f"<image {files}/scene.png {files}/scene.png>{PROMPT}",
        f"<image {files}/scene.png a.png b.png>{PROMPT}",
        f"<image>{PROMPT}",
        f"<image {files}/scene.png>{PROMPT}",
    ]
    result = run_cli("chat", *recipe(folder), stdin="\nclear\n".join([*lines, "exit"]))
    assert result.returncode == 0, result.stderr
    assert "To show an image write <image photo.jpg>" in result.stdout
    answers = [part.split("\n")[0].strip() for part in result.stdout.split("Assistant: ")[1:]]
    assert answers[:4] == [without, with_maps[0], with_maps[1], with_maps[1]]
    assert f"{files}/nothing.png cannot be opened as an image: No such file or directory." in answers[4]
    assert "is an RGB colour image; expected one greyscale image" in answers[5]
    assert "names 3 files" in answers[6] and "To show an image write" in answers[7]
    assert answers[8] == without


def test_an_image_that_cannot_be_shown_does_not_end_the_conversation(model):
    folder, files, _ = model
    lines = [f"<image {files}/nothing.png>{PROMPT}", f"<image {files}/scene.png>{PROMPT}", "exit"]
    result = run_cli("chat", *recipe(folder), stdin="\n".join(lines))
    assert result.returncode == 0 and result.stdout.count("cannot be opened as an image") == 1


def test_webchat_keeps_the_alpha_channel(model):
    from gradio_client import Client, handle_file

    folder, files, said = model
    settings = {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_ANALYTICS_ENABLED": "False", "BROWSER": "true"}
    with server("webchat", "GRADIO_SERVER_PORT", "/config", *recipe(folder), **settings) as address:
        browser = Client(address, verbose=False)
        for name, expected in zip(("opaque", "alpha0", "alpha1"), said, strict=True):
            browser.reset_session()
            turns = browser.predict([], "user", PROMPT, True, api_name="/append")[0]
            generate = (TOKENS, 0.7, 0.1, True, True, True)
            turns = browser.predict(
                turns, "en", "", "", handle_file(files / f"{name}.png"), None, None, *generate, api_name="/stream"
            )
            assert turns[-1]["content"].strip() == expected


def test_the_server_of_another_model_is_left_alone():
    from llamafactory.api import app, chat, protocol

    app.create_app(SimpleNamespace(engine=SimpleNamespace(processor=None)))
    assert chat.Image is Image and app.ChatCompletionRequest is protocol.ChatCompletionRequest
    items = [{"type": "image_url", "image_url": {"url": png(seen_through(MAPS[0]))}}]
    request = protocol.ChatCompletionRequest(model="", messages=[{"role": "user", "content": items}])
    (image,) = chat._process_request(request)[3]
    assert image.mode == "RGB" and image == make_image()
