"""Runs recipes in one or several processes, which are forks of one that has imported everything: no start costs twice.

Each line of stdin is a job, {"keys": recipe, "processes": 2, "log": file, "timeout": seconds}; each line of stdout its
exit status, or "hangs". The processes get from the environment what torchrun would give them.
"""

import contextlib
import json
import os
import signal
import sys
import time
import traceback

from tests.ports import free_port


def work(job: dict, rank: int, port: int) -> None:
    log = os.open(f"{job['log']}.{rank}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)
    if job["processes"] > 1:
        world = str(job["processes"])
        os.environ |= {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world,
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        }  # fmt: skip
    status = 1
    try:
        from llamafactory.train.tuner import run_exp

        run_exp(job["keys"])
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def run(job: dict) -> str:
    port = free_port()
    workers = []
    for rank in range(job["processes"]):
        worker = os.fork()
        if worker == 0:
            work(job, rank, port)
        workers.append(worker)
    deadline = time.monotonic() + job["timeout"]
    statuses: dict[int, int] = {}
    while len(statuses) < len(workers) and not any(statuses.values()) and time.monotonic() < deadline:
        for worker in set(workers) - set(statuses):
            ended, status = os.waitpid(worker, os.WNOHANG)
            if ended:
                statuses[worker] = os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    for worker in set(workers) - set(statuses):  # the others of one that failed wait for it for ever
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
    failed = [status for status in statuses.values() if status]
    return str(failed[0]) if failed else "0" if len(statuses) == len(workers) else "hangs"


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the packages print is no answer
    import llamafactory.train.tuner  # noqa: F401

    with contextlib.suppress(ImportError):
        import deepspeed  # noqa: F401
    for line in sys.stdin:
        print(run(json.loads(line)), file=answers, flush=True)


if __name__ == "__main__":
    main()
