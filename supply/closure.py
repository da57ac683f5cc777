"""What the project needs, with all that it brings, as the packages installed here say."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


PROJECT = "llamafactory-gaze"
IMAGE_EXTRAS = frozenset({"captioning", "samples"})  # as docker/install.sh installs it
DEV_EXTRAS = IMAGE_EXTRAS | {"dev", "java-meteor"}


def closure(extras: Iterable[str]) -> set[str]:
    """Canonical names of all packages that the project and these of its extras need on this machine, itself left out.

    Raises:
        PackageNotFoundError: one of them is not installed.
    """
    found: set[tuple[str, str]] = set()
    waiting = [(PROJECT, extra) for extra in ("", *extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in found:
            continue
        try:
            lines = requires(name) or []
        except PackageNotFoundError:
            raise PackageNotFoundError(f"{name}, which {PROJECT} needs, is not installed") from None
        found.add((name, extra))
        for line in lines:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                waiting += [(str(canonicalize_name(needed.name)), each) for each in ("", *needed.extras)]
    return {name for name, _ in found} - {PROJECT}
