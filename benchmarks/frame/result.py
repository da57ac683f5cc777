"""One number of ours beside that of a peer, and the versions both were measured with."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llamafactory_gaze.data.provenance import installed_version


PACKAGES = ("torch", "transformers", "llamafactory", "llamafactory-gaze")


@dataclass(frozen=True)
class Result:
    """What a benchmark hands back for each thing that it measures.

    Attributes:
    what: what was measured, other than for any other result of the same benchmark.
    unit: of `ours` and `peer`.
    ours, peer: the numbers; lower is better.
    ours_is, peer_is: what they are numbers of, in some words.
    target: the largest `ours / peer` that will do; None where nobody set one.
    shape: sizes beyond the options of the run, which are noted without being named here.
    """

    what: str
    unit: str
    ours: float
    peer: float
    ours_is: str
    peer_is: str
    target: float | None = None
    shape: Mapping[str, Any] = field(default_factory=dict)

    def entry(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """As `results.json` holds it, of the benchmark `name` that was run with `options`."""
        ratio = self.ours / self.peer if self.peer else None
        known = ratio is not None and self.target is not None
        return {
            "name": name,
            "ours": _short(self.ours),
            "peer": _short(self.peer),
            "ratio": _short(ratio),
            "target": _short(self.target),
            "met": ratio <= self.target if known else None,
            "versions": versions(),
            "shape": {
                "what": self.what,
                "unit": self.unit,
                "ours": self.ours_is,
                "peer": self.peer_is,
                **self.shape,
                **options,
            },
        }


def versions() -> dict[str, Any]:
    """Of the packages and of the machine; None for a package that is not installed."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "python": platform.python_version(),
        **{package: installed_version(package) for package in PACKAGES},
        "cpu": _processor(),
        "threads": int(os.environ.get("OMP_NUM_THREADS") or cores),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _short(number: float | None) -> float | None:
    return None if number is None else float(f"{number:.6g}")
