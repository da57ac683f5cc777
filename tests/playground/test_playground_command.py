"""`llamafactory-gaze playground`: what it says where it cannot serve a page."""

import socket
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from llamafactory_gaze.cli import app
from llamafactory_gaze.demo.run import BASE_MODEL
from llamafactory_gaze.playground import serve


def run(*arguments: object):
    return CliRunner().invoke(app, ["playground", *map(str, arguments)])


def test_models_that_cannot_be_used_are_said_in_one_sentence(gaze_model, tmp_path):
    for arguments, message in (
        (("--model", BASE_MODEL), "knows nothing of gaze"),
        (("--model", gaze_model, "--baseline", tmp_path), "No model is found at"),
    ):
        result = run(*arguments)
        assert result.exit_code == 1 and message in result.stderr and "Traceback" not in result.output
    result = run("--model", gaze_model, "--baseline-adapter", tmp_path)
    assert result.exit_code == 2 and "--baseline-adapter needs --baseline" in result.stderr


@pytest.fixture
def unchanged(monkeypatch):
    """What `serve` changes in its process is as before after the test."""
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(serve.signal, "signal", lambda *_: None)


def test_a_port_that_is_taken(gaze_model, tmp_path, monkeypatch, unchanged):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run("--model", gaze_model, "--port", port)
    assert result.exit_code == 1 and f"cannot be served at 127.0.0.1, port {port}" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("example.org", False),
    ],
)
def test_what_is_this_machine_alone(host, loopback):
    assert serve._is_loopback(host) == loopback


def test_the_command_line_does_not_wait_for_gradio():
    script = "import sys, llamafactory_gaze.cli; print([name for name in ('gradio', 'torch') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "[]\n"
