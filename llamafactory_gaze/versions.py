"""Which versions of the packages that we build upon were tested, and which of their names we build upon.

Other versions are refused when a recipe asks for gaze. Names are looked up where they are used: those of transformers
before the model is imported (`modeling/expected.py`), those of LLaMA-Factory as it imports its modules
(`integration/touchpoints.py`).
"""

import inspect
import os
import warnings
from functools import reduce
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

from packaging.specifiers import SpecifierSet


TESTED = {
    "llamafactory": SpecifierSet("==0.9.5"),
    "transformers": SpecifierSet(">=5.5.4,<5.6"),
    "peft": SpecifierSet(">=0.18,<0.19"),
    "torch": SpecifierSet(">=2.6,!=2.9.*,<2.15"),
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


def has(module: ModuleType | str, name: str) -> bool:
    """Whether a module, or the module of that name, has what we build upon.

    Args:
        name: `name` or `Class.name`; with `(first, second)` behind it also the first parameters of a function, in this
            order (`self` is not named), where they are used by place.
    """
    name, _, parameters = name.partition("(")
    try:
        found: Any = reduce(getattr, name.split("."), import_module(module) if isinstance(module, str) else module)
    except (AttributeError, ImportError):
        return False
    if not parameters:
        return True
    expected = parameters.rstrip(")").split(", ")
    names = [each for each in inspect.signature(found).parameters if each != "self"]
    return names[: len(expected)] == expected
