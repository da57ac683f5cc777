"""The frame of all benchmarks: what each hands back, the file that collects it, and how it is shown."""

from benchmarks.frame.processes import in_child, median_seconds, peak_mib, seconds
from benchmarks.frame.result import Result


__all__ = ["Result", "in_child", "median_seconds", "peak_mib", "seconds"]
