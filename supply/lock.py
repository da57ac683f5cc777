"""The locks: every package with its version and the SHA-256 of each of its files on PyPI.

    python -m supply.lock make    remakes both by uv, in seconds
    python -m supply.lock check   do they hold what setup.py asks for and no more, as docker/constraints.txt says?

docker/lock.txt holds what the image needs, docker/lock-dev.txt what the tests need on top. torch and what comes with
its builds stand in neither: its wheels for CPUs come from another index than those for GPUs, and have other hashes.
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from supply.closure import DEV_EXTRAS, IMAGE_EXTRAS, closure


ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "docker" / "constraints.txt"
LOCK = ROOT / "docker" / "lock.txt"
DEV_LOCK = ROOT / "docker" / "lock-dev.txt"
# By version alone, from docker/constraints.txt.
WITH_TORCH = re.compile(r"(torch|torchvision|torchaudio|triton|nvidia-.*|cuda-.*)")
HEADER = "# {0}. Made by `make lock`, not by hand: docs/container.md.\n"


@dataclass(frozen=True)
class Locked:
    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def name(self) -> str:
        return str(canonicalize_name(self.requirement.name))

    @property
    def version(self) -> str:
        return str(self.requirement.specifier).removeprefix("==")

    @property
    def wanted_here(self) -> bool:
        """Whether its marker says yes to this Python and platform."""
        return self.requirement.marker is None or self.requirement.marker.evaluate()


def read(path: Path) -> list[Locked]:
    """The packages of a lock.

    Raises:
        ValueError: a line is not `name==version`, perhaps with a marker, followed by hashes.
    """
    text = "\n".join(line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        match = re.fullmatch(r"([\w.-]+==[^\s;]+(?: ; [^#]*?)?)((?:\s+--hash=sha256:[0-9a-f]{64})+)\s*", line)
        if match is None:
            raise ValueError(f"{path.name}: the line {line[:80]!r} is not name==version with its hashes.")
        found.append(Locked(Requirement(match[1]), tuple(match[2].split())))
    return found


def constraints() -> dict[str, str]:
    """Version by canonical name."""
    lines = [line for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return {str(canonicalize_name(name)): version for name, _, version in (line.partition("==") for line in lines)}


def make() -> None:
    """Both locks, by one question to PyPI each; versions stay as they are where nothing else is asked."""
    with_torch = {name for name in constraints() if WITH_TORCH.fullmatch(name)}
    _compile(LOCK, "Everything in the image but torch", IMAGE_EXTRAS, with_torch)
    known = {each.name for each in read(LOCK)}
    _compile(DEV_LOCK, "What the tests need on top of lock.txt", DEV_EXTRAS, with_torch | known)


def _compile(path: Path, title: str, extras: frozenset[str], left_out: set[str]) -> None:
    options = [
        "--universal",
        "--python-version",
        "3.11",
        "--generate-hashes",
        "--no-annotate",
        "--no-header",
        "--quiet",
    ]
    options += ["--no-emit-index-url", "--no-emit-find-links", "--no-config", "--constraints", str(CONSTRAINTS)]
    options += [part for extra in sorted(extras) for part in ("--extra", extra)]
    options += [part for name in sorted(left_out) for part in ("--no-emit-package", name)]
    before = ["--constraints", str(LOCK)] if path == DEV_LOCK else []
    uv = [sys.executable, "-m", "uv", "pip", "compile", *options, *before, "setup.py", "--output-file", str(path)]
    subprocess.run(uv, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    path.write_text(HEADER.format(title) + path.read_text(encoding="utf-8"), encoding="utf-8")


def differences() -> list[str]:
    """A line for everything that is wrong with the locks, as seen from this machine."""
    image, dev = read(LOCK), read(DEV_LOCK)
    pinned = constraints()
    lines = [
        f"{each.name} {each.version}: docker/constraints.txt says {pinned[each.name]}"
        for each in [*image, *dev]
        if pinned.get(each.name, each.version) != each.version
    ]
    wanted = {LOCK.name: closure(IMAGE_EXTRAS)}
    wanted[DEV_LOCK.name] = closure(DEV_EXTRAS) - wanted[LOCK.name]
    for name, locked in ((LOCK.name, image), (DEV_LOCK.name, dev)):
        here = {each.name for each in locked if each.wanted_here}
        needed = {each for each in wanted[name] if not WITH_TORCH.fullmatch(each)}
        lines += [f"{each} is needed and not in {name}" for each in sorted(needed - here)]
        lines += [f"{each} is in {name} and not needed" for each in sorted(here - needed)]
    return lines


def main(mode: str = "") -> int:
    if mode not in ("make", "check"):
        print(__doc__, file=sys.stderr)
        return 2
    if mode == "make":
        make()
    lines = differences()
    print("\n".join(lines) if lines else f"{len(read(LOCK)) + len(read(DEV_LOCK))} packages locked, no more, no fewer.")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
