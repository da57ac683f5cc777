"""The commands that make data and reports, killed at random moments: called again, they end as if nothing had been."""

import shutil
import signal
from functools import partial
from pathlib import Path

import pytest

from llamafactory_gaze.data.folders import building_beside
from tests.killing import Job, content, hidden, kill_again_and_again, whole


# Each reads below `inputs` and writes into `folder`.
JOBS = {
    "dataset": """
from llamafactory_gaze.data.triples.build import build_dataset
from llamafactory_gaze.data.triples.exclusions import NO_RULES
from llamafactory_gaze.data.triples.options import DatasetOptions

def job(folder):
    build_dataset(DatasetOptions(
        fixations=inputs / "fixations.csv", images=inputs / "images", descriptions=inputs / "descriptions.csv",
        name="toy", dataset_dir=Path(folder), making=MapOptions(sigma_px=8.0), rules=NO_RULES, jobs=2,
    ))
""",
    "heatmaps": """
from llamafactory_gaze.data.maps.folder import HeatmapOptions, make_heatmaps

def job(folder):
    make_heatmaps(HeatmapOptions(
        fixations=inputs / "fixations.csv", images=inputs / "images", output=Path(folder) / "maps", jobs=2,
        making=MapOptions(sigma_px=8.0),
    ))
""",
    "predict-map": """
from llamafactory_gaze.data.predicted.folder import Options, predict_maps
from llamafactory_gaze.data.predicted.predictors import OpenCVPredictor

def job(folder):
    options = Options([inputs / "images"], Path(folder) / "maps", preview=Path(folder) / "preview.png")
    predict_maps(options, lambda: OpenCVPredictor("spectral-residual", None))
""",
    "share": """
from llamafactory_gaze.data import hub
import datasets, pyarrow.parquet

def job(folder):
    hub.share_dataset(hub.ShareOptions("demo", inputs, Path(folder) / "shared", None, None, True))
""",
    "fixations": """
from llamafactory_gaze.data.recordings.recording import Recording
from llamafactory_gaze.data.recordings.output import write_fixations
from types import SimpleNamespace

def job(folder):
    fixations = [
        SimpleNamespace(image="a", participant="p", trial="1", index=i, x=i / 7, y=1.0, duration_ms=9, eye=None)
        for i in range(30000)
    ]
    write_fixations([SimpleNamespace(fixations=fixations)], Path(folder) / "fixations.csv")
""",
    "transcribe": """
import time
from llamafactory_gaze.data.speech import transcription
from types import SimpleNamespace

class Says:
    name = "nobody"
    def __call__(self, sound):
        time.sleep(0.005)
        return SimpleNamespace(text=f"{sound} words", words=[("words", 0.0, 1.0)], level_dbfs=-20.0)

transcription.read_audio = lambda path: path.name

def job(folder):
    transcription.transcribe(inputs / "spoken.csv", inputs / "images", Path(folder) / "said.json", Says)
""",
    "demo data": """
from llamafactory_gaze.demo.dataset import make_demo_data

def job(folder):
    make_demo_data(Path(folder) / "data", train_images=2, test_images=1, observers=2)
""",
}
HEAD = """
from pathlib import Path
from llamafactory_gaze.data.maps.options import MapOptions
inputs = Path({inputs!r})
"""


def half(folder: Path) -> set[str]:
    """Also recordings that are transcribed, in a journal without an output."""
    done = {path.name for path in folder.iterdir() if path.suffix == ".journal"}
    return hidden(folder) | (set() if (folder / "said.json").exists() else done)


@pytest.mark.parametrize("name", JOBS)
@pytest.mark.parametrize("before", ["nothing", "a former result"])
def test_killed_at_random_moments(name, before, inputs, tmp_path):
    if before == "a former result" and name in ("predict-map", "transcribe", "demo data"):
        pytest.skip("nothing is replaced: what is there is kept")
    begin = Path.mkdir
    with Job(HEAD.format(inputs=str(inputs)) + JOBS[name], tmp_path / "log") as job:
        if before == "a former result":
            (tmp_path / "former").mkdir()
            job.live(tmp_path / "former")
            begin = partial(shutil.copytree, tmp_path / "former")
        done = kill_again_and_again(job, tmp_path, whole, half, begin)
        assert done.while_writing


KILLED = """
import os, signal
from llamafactory_gaze.data import registry
from llamafactory_gaze.data.triples import build

undisturbed = job

def job(folder, moment):
    def die(*arguments, **options):
        os.kill(os.getpid(), signal.SIGKILL)
    def set_aside(source, target, rename=os.rename):
        rename(source, target)
        if ".former-" in str(target):
            die()
    if moment == "new folder made":
        build._write_files = die
    if moment == "registering":
        registry.register = die
    if moment == "former set aside":
        os.rename = set_aside
    undisturbed(folder)
"""


def test_a_first_data_set_killed_before_it_is_registered(inputs, tmp_path):
    """Its folder is there, but in no registry, as somebody else's would be."""
    with Job(HEAD.format(inputs=str(inputs)) + JOBS["dataset"] + KILLED, tmp_path / "log") as job:
        for name in ("whole", "killed"):
            (tmp_path / name).mkdir()
        job.live(tmp_path / "whole", "never")
        job.start(tmp_path / "killed", "registering")
        assert job.end() == -signal.SIGKILL
        assert (tmp_path / "killed/toy").is_dir() and not (tmp_path / "killed/dataset_info.json").exists()
        job.start(tmp_path / "killed", "new folder made")
        assert job.end() == -signal.SIGKILL
        job.live(tmp_path / "killed", "never")
        assert content(tmp_path / "killed") == content(tmp_path / "whole")


def test_killed_between_two_renamings(inputs, tmp_path):
    """The former data set, and what people wrote into its review, is put back by the next call."""
    with Job(HEAD.format(inputs=str(inputs)) + JOBS["dataset"] + KILLED, tmp_path / "log") as job:
        job.live(tmp_path, "never")
        review = tmp_path / "toy/review.csv"
        lines = review.read_text(encoding="utf-8").splitlines()
        assert lines[0].endswith(",note")
        review.write_text("\n".join([lines[0], f"{lines[1]}read it twice", *lines[2:]]) + "\n", encoding="utf-8")
        job.live(tmp_path, "never")
        whole = {name: text for name, text in content(tmp_path).items() if name != "log"}
        assert b"read it twice" in whole["toy/review.csv"]
        job.start(tmp_path, "former set aside")
        assert job.end() == -signal.SIGKILL
        assert not (tmp_path / "toy").exists()
        job.live(tmp_path, "never")
        assert {name: text for name, text in content(tmp_path).items() if name != "log"} == whole


def test_leftovers_of_the_living_stay(tmp_path):
    """And an error puts a former output back that a kill had set aside."""
    output = tmp_path / "maps"
    (tmp_path / ".maps.former-1").mkdir()
    (tmp_path / ".maps.building-dead").mkdir()
    with building_beside(output) as living:
        assert output.is_dir() and hidden(tmp_path) == {living.name}
        with pytest.raises(KeyError), building_beside(output) as second:
            assert hidden(tmp_path) == {living.name, second.name}
            raise KeyError
        assert hidden(tmp_path) == {living.name}
