"""Start-up of `llamafactory-cli version` and of `import torch`, with the plug-in and without it.

    python -m benchmarks startup [--repeats 5]

The plug-in is loaded by torch in every process of its environment, and switched off by TORCH_DEVICE_BACKEND_AUTOLOAD=0.
Each command runs once before it counts; runs with and without alternate, and medians are taken.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from typing import Annotated

import typer

from benchmarks.frame import Result, median_seconds


TARGET = 1.05
COMMANDS = {
    "llamafactory-cli version": "from llamafactory.cli import main; main()",
    'python -c "import torch"': "import torch",
}


def start(code: str, autoload: bool) -> None:
    environment = {**os.environ, "TORCH_DEVICE_BACKEND_AUTOLOAD": str(int(autoload))}
    subprocess.run([sys.executable, "-c", code, "version"], check=True, env=environment, stdout=subprocess.DEVNULL)


def measure(
    repeats: Annotated[int, typer.Option(help="median of so many after the first")] = 5,
) -> Iterator[Result]:
    for command, code in COMMANDS.items():
        times = median_seconds({str(on): partial(start, code, on) for on in (False, True)}, repeats)
        yield Result(command, "s", times["True"], times["False"], "with the plug-in", "without it", TARGET)
