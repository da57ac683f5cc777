"""How the stock `llamafactory-cli` finds the plug-in: torch calls `arm()` at the end of its import, in every process.

setup.py names `arm` as an entry point of the group `torch.backends`, which torch loads by itself (its documented
autoload mechanism). LLaMA-Factory has no plug-in hook of its own, and its torchrun workers start in LLaMA-Factory's own
file, so this is the one door that is open in all of them.

`arm()` is called in processes that have nothing to do with LLaMA-Factory. It costs about a millisecond: it only waits
for somebody to import `llamafactory`, or transformers' Auto classes. TORCH_DEVICE_BACKEND_AUTOLOAD=0 switches it off.
"""

import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec


class _Watcher:
    """A meta path finder that finds nothing; when `package` is looked for, it calls `action` and leaves."""

    def __init__(self, package: str, action: Callable[[], None]) -> None:
        self.package = package
        self.action = action

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        if name == self.package:
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            self.action()
        return None


def arm() -> None:
    """Waits for LLaMA-Factory and for transformers, or acts at once where their import is already under way.

    Safe to call twice. Never raises: an exception here would break `import torch` in the whole environment.
    """
    _await("llamafactory", _arm_touchpoints)
    await_transformers()


def await_transformers() -> None:
    """Lets transformers' Auto classes find the gaze model as soon as they are imported. Safe to call twice."""
    _await("transformers.models.auto", _arm_auto_classes)


def _await(package: str, action: Callable[[], None]) -> None:
    if package in sys.modules:
        action()
    elif not any(isinstance(finder, _Watcher) and finder.package == package for finder in sys.meta_path):
        sys.meta_path.insert(0, _Watcher(package, action))


def _arm_touchpoints() -> None:
    try:
        from llamafactory_gaze.integration.touchpoints import arm_touchpoints

        arm_touchpoints()
    except Exception as error:
        warnings.warn(
            f"llamafactory-gaze could not be loaded, recipes with gaze will not work: {error!r}", stacklevel=2
        )


def _arm_auto_classes() -> None:
    try:
        from llamafactory_gaze.auto_classes import await_auto_classes

        await_auto_classes()
    except Exception as error:
        warnings.warn(
            f"llamafactory-gaze could not be loaded, transformers' Auto classes will not know its models: {error!r}",
            stacklevel=2,
        )
