"""Workers that Ray starts train gaze as one process does.

LLaMA-Factory's own group asks Ray for ten CPUs for each CPU there is and would wait for ever, so a group of two stands
in its place; what starts the workers and what these do is LLaMA-Factory's.
"""

import json
import subprocess
import sys

import pytest

from tests.distributed.test_engines import assert_equal_adapters, losses
from tests.integration.conftest import ROOT, cli_environment


pytestmark = pytest.mark.slow
TRAIN = """
import json, sys
from llamafactory.hparams.training_args import RayArguments
from llamafactory.train import tuner
from ray.util.placement_group import placement_group
two = [{"CPU": 10}] * 2  # what each worker asks for
tuner.get_placement_group = lambda devices: (placement_group(two, strategy="PACK"), two[0])
arguments = RayArguments(ray_num_workers=2, ray_init_kwargs={"num_cpus": 20, "object_store_memory": 2**27})
tuner._ray_training_function(arguments, config={"args": json.loads(sys.argv[1]), "callbacks": []})
"""


def test_two_workers_of_ray_train_as_one_process(trainer, alone):
    keys = trainer.keys("distributed/stage1_ddp", "ray")
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, json.dumps(keys)], cwd=ROOT, text=True, capture_output=True,
        env=cli_environment(
            USE_RAY="1", RAY_USAGE_STATS_ENABLED="0", PYTHONPATH=":".join(filter(None, sys.path)),
            RAY_worker_niceness="0",  # of 15, beside other tests the workers would not get a core for minutes
        ),
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert losses(trainer.folder / "ray") == pytest.approx(losses(alone), abs=1e-5)
    assert_equal_adapters(trainer.folder / "ray", alone, atol=1e-5)
