"""Memory that tensors take, as torch's own allocator counts it.

The memory of the whole process would count what libraries keep for themselves, which differs from run to run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.profiler import ProfilerActivity, profile


def peak_of_tensors(work: Callable[[], Any]) -> float:
    """The largest sum of what tensors took at once during a call beyond what they took before, in MiB."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    found = profiler.profiler
    assert found is not None and found.kineto_results is not None
    events = [(each.start_ns(), each.nbytes()) for each in found.kineto_results.events() if each.name() == "[memory]"]
    taken = most = 0
    for _, size in sorted(events, key=lambda event: event[0]):
        taken += size
        most = max(most, taken)
    return most / 2**20
