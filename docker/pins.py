"""Are the versions those of docker/constraints.txt?

python docker/pins.py installed               the packages of this environment that are named there
python docker/pins.py resolved REPORT.json …  the packages in reports of `pip install --dry-run --report`: all of them
"""

import json
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.utils import canonicalize_name


CONSTRAINTS = Path(__file__).with_name("constraints.txt")
OURS = "llamafactory-gaze"


def pins() -> dict[str, str]:
    """Version by canonical name.

    Raises:
        ValueError: a line that is neither a comment nor `name==version`.
    """
    found = {}
    for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        name, separator, pinned = line.partition("==")
        if not separator or not name or not pinned:
            raise ValueError(f"{CONSTRAINTS}: the line {line!r} is not of the form name==version.")
        found[str(canonicalize_name(name))] = pinned
    return found


def installed() -> dict[str, str]:
    """What this environment has of the pinned packages."""
    found = {}
    for name in pins():
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # packages for a GPU in an environment without
    return found


def resolved(reports: list[Path]) -> dict[str, str]:
    """What pip would install."""
    packages = [each["metadata"] for report in reports for each in json.loads(report.read_text())["install"]]
    return {str(canonicalize_name(each["name"])): each["version"] for each in packages}


def differences(found: dict[str, str]) -> list[str]:
    """A line for each package that has another version than the pinned one, or none that is pinned."""
    wanted = pins()
    return [
        f"{name} {number}: pinned is {wanted.get(name, 'nothing')}"
        for name, number in sorted(found.items())
        if name != OURS and number.partition("+")[0] != wanted.get(name)  # +cpu is the same version, built otherwise
    ]


def main(mode: str = "", *files: str) -> int:
    if mode not in ("installed", "resolved"):
        print(__doc__, file=sys.stderr)
        return 2
    found = installed() if mode == "installed" else resolved([Path(file) for file in files])
    lines = differences(found)
    print("\n".join(lines) if lines else f"{len(found)} packages {mode}, all of them as pinned.")
    return 1 if lines or not found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
