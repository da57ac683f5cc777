"""Runs jobs in forks of a process that has imported everything, and kills them: a kill costs no start of Python.

Each line of stdin is a job, {"work": name, "arguments": [...], "after": seconds or null, "log": file}; each line of
stdout says how it ended, "killed" or its exit status, and after how many seconds.
"""

import json
import os
import signal
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path


def command(arguments: list[str]) -> None:
    from llamafactory_gaze.cli import app

    app(arguments, standalone_mode=False)


def compare(arguments: list[str]) -> None:
    """With stand-ins for what takes seconds to start: Java and WordNet."""
    import eval.metrics.cider
    import eval.metrics.encoder
    import eval.metrics.meteor
    import eval.metrics.objects
    import eval.scoring.cache
    from eval.compare import app
    from eval.metrics import TokenCosine
    from tests.eval.comparing import Letters, unavailable

    eval.metrics.meteor.JavaMeteor = unavailable
    eval.metrics.meteor.NltkMeteor = lambda: Letters("meteor_nltk", 0.002)
    eval.metrics.cider.Cider = eval.metrics.objects.NamedObjects = unavailable
    encoder = TokenCosine().encoder
    eval.metrics.encoder.Encoder = lambda model, prefix_space: encoder
    cache, *arguments = arguments
    eval.scoring.cache.default_path = lambda: Path(cache)
    app(arguments, standalone_mode=False)


def train(arguments: list[str]) -> None:
    from llamafactory.train.tuner import run_exp

    run_exp(json.loads(arguments[0]))


WORKS = {"command": command, "compare": compare, "train": train}


def run(job: dict) -> str:
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        os.setsid()
        for stream in (1, 2):
            os.dup2(os.open(job["log"], os.O_CREAT | os.O_WRONLY | os.O_APPEND), stream)
        status = 1
        try:
            WORKS[job["work"]](job["arguments"])
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    limit = started + (job["after"] if job["after"] is not None else 120)
    while time.monotonic() < limit:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return f"{os.waitstatus_to_exitcode(status)} {time.monotonic() - started:.3f}"
        time.sleep(0.002)
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:  # it had no time to become the head of a group
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return f"killed {time.monotonic() - started:.3f}"


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the packages print is no answer
    for module in ("llamafactory.train.tuner", "llamafactory_gaze.cli.dataset", "eval.compare"):
        import_module(module)
    for line in sys.stdin:
        print(run(json.loads(line)), file=answers, flush=True)


if __name__ == "__main__":
    main()
