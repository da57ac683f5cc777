"""`llamafactory-gaze explain`, killed at random moments, over an explanation of another map."""

import shutil
from functools import partial
from pathlib import Path

from llamafactory_gaze.explain.report import NUMBERS
from tests.explain.conftest import exported, make_image, random_map, save_map  # noqa: F401 - a fixture
from tests.killing import Job, content, hidden, kill_again_and_again, whole


CODE = """
from pathlib import Path
import torch
from llamafactory_gaze.explain import measure
from llamafactory_gaze.explain.report import explain_files
import transformers.models.qwen2_5_vl.modeling_qwen2_5_vl

torch.set_num_threads(1)
caption = measure.caption
measure.caption = lambda *arguments: caption(*arguments, max_new_tokens=4)  # the rest of a caption is more of the same

def job(folder, saliency="new.png"):
    data = Path({data!r})
    image, output = data / "image.png", Path(folder) / "explained"
    explain_files(data / "model", image, data / saliency, output, max_pixels=28 * 28 * 12)
"""


def test_killed_at_random_moments(exported, tmp_path):  # noqa: F811
    data = tmp_path / "data"
    shutil.copytree(exported(), data / "model")
    make_image().save(data / "image.png")
    for seed, name in enumerate(("former.png", "new.png")):
        save_map(data / name, random_map(seed))
    with Job(CODE.format(data=str(data)), tmp_path / "log") as job:
        job.live(tmp_path / "former", "former.png")

        def half(folder: Path) -> set[str]:
            """One that says that all is there is the former one or the new one, and no mixture."""
            found = content(folder / "explained")
            if NUMBERS in found:
                assert found in (content(tmp_path / "former/explained"), content(tmp_path / "undisturbed/explained"))
            return hidden(folder)

        done = kill_again_and_again(job, tmp_path, whole, half, partial(shutil.copytree, tmp_path / "former"))
        assert done.while_writing
