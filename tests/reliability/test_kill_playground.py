"""`llamafactory-gaze playground`, killed while it serves: uploads lie in one folder, and nothing lies elsewhere."""

import os
import signal
import time

import httpx

from tests.explain.conftest import exported  # noqa: F401 - a fixture
from tests.killing import Job, content
from tests.ports import free_port


CODE = """
import os, tempfile
from llamafactory_gaze.playground.models import load_models
from llamafactory_gaze.playground.serve import serve

def job(folder, port):
    tempfile.tempdir = folder
    os.chdir(folder)
    serve(load_models({model!r}), "Describe the image.", "127.0.0.1", int(port), 2)
"""


def test_a_kill_leaves_one_folder_among_the_temporary_files(exported, tmp_path):  # noqa: F811
    folder = tmp_path / "temporary"
    folder.mkdir()
    with Job(CODE.format(model=str(exported())), tmp_path / "log") as job:
        port = free_port()
        server = job.start(folder, port)
        while "The playground is at" not in job.log.read_text():
            assert os.path.exists(f"/proc/{server}"), job.log.read_text()
            time.sleep(0.1)
        uploaded = {"files": ("photo.png", b"a picture")}
        httpx.post(f"http://127.0.0.1:{port}/gradio_api/upload", files=uploaded).raise_for_status()
        os.kill(server, signal.SIGKILL)
        assert job.end() == -signal.SIGKILL
    (left,) = folder.iterdir()
    assert left.name.startswith("gaze-playground-") and [*content(left).values()] == [b"a picture"]
