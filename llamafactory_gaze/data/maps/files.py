"""Maps as files: several at a time, and with the same bytes however many that is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from llamafactory_gaze.data.maps.heatmaps import encode_map
from llamafactory_gaze.data.maps.plan import Plan, PlannedMap
from llamafactory_gaze.saliency.opening import ENDINGS


Track = Callable[[Sequence[Any], str], Iterable[Any]]  # shows progress while a list is gone through: (list, what for)


def files_by_stem(folder: Path) -> dict[str, list[str]]:
    """The image files below a folder: path without its ending -> with each of its endings, relative to the folder."""
    files: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in ENDINGS and path.is_file():
            name = path.relative_to(folder)
            files.setdefault(name.with_suffix("").as_posix(), []).append(name.as_posix())
    return files


def write_maps(folder: Path, maps: Mapping[str, Callable[[], bytes]], jobs: int, track: Track) -> None:
    """Write files below `folder`, `jobs` at a time.

    Args:
        maps: relative path -> what makes the bytes of the file; threads call it.

    Raises:
        whatever making a map raises first; what is not begun by then is not made.
    """

    def write(name: str, content: Callable[[], bytes]) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content())

    # Threads are enough: the matrix product, the exponentials and the compression all release Python's lock. One core
    # for each product: BLAS sums in another order, so gives other last bits, where it shares one out among cores.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(jobs) as pool:
        try:
            for future in track([pool.submit(write, *one) for one in maps.items()], "Making maps"):
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def file_of(plan: Plan, planned: PlannedMap) -> bytes:
    """The PNG of a map; equal fixations and options give equal bytes."""
    return encode_map(plan.draw(planned))
