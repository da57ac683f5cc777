"""Which versions of the packages that we build upon were tested; others are refused when a recipe asks for gaze."""

import os
import warnings
from importlib.metadata import PackageNotFoundError, version

from packaging.specifiers import SpecifierSet


TESTED = {
    "llamafactory": SpecifierSet("==0.9.5"),
    "transformers": SpecifierSet(">=5.5,<5.6"),
    "peft": SpecifierSet(">=0.18,<0.19"),
    "torch": SpecifierSet(">=2.14,<2.15"),
}
OVERRIDE = "LLAMAFACTORY_GAZE_ALLOW_UNTESTED"


def check_versions() -> None:
    """Raises RuntimeError, naming what was found and what was tested, unless every package has a tested version.

    With the environment variable LLAMAFACTORY_GAZE_ALLOW_UNTESTED=1 the refusal becomes a warning.
    """
    problems = []
    for package, tested in TESTED.items():
        try:
            found = version(package)
        except PackageNotFoundError:
            found = "nothing"
        if found == "nothing" or not tested.contains(found.split("+")[0], prereleases=True):
            problems.append(f"{package} {found} (tested: {tested})")
    if not problems:
        return
    message = (
        f"llamafactory-gaze was not tested with {'; '.join(problems)}. Install the tested versions "
        f"(pip install llamafactory-gaze does), or set {OVERRIDE}=1 to go on at your own risk."
    )
    if os.environ.get(OVERRIDE) == "1":
        warnings.warn(message, stacklevel=2)
    else:
        raise RuntimeError(message)
