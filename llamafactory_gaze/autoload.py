"""How the stock `llamafactory-cli` finds the plug-in: torch calls `arm()` at the end of its import, in every process.

setup.py names `arm` as an entry point of the group `torch.backends`, which torch loads by itself (its documented
autoload mechanism). LLaMA-Factory has no plug-in hook of its own, and its torchrun workers start in LLaMA-Factory's own
file, so this is the one door that is open in all of them.

`arm()` is called in processes that have nothing to do with LLaMA-Factory. It costs about a millisecond: it only waits
for somebody to import `llamafactory`. TORCH_DEVICE_BACKEND_AUTOLOAD=0 switches it off.
"""

import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec


class _LlamaFactoryWatcher:
    """A meta path finder that finds nothing; when `llamafactory` is looked for, it arms the touchpoints and leaves."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        if name == "llamafactory":
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            _arm_touchpoints()
        return None


def arm() -> None:
    """Waits for LLaMA-Factory, or arms the touchpoints at once where its import is already under way.

    Safe to call twice. Never raises: an exception here would break `import torch` in the whole environment.
    """
    if any(isinstance(finder, _LlamaFactoryWatcher) for finder in sys.meta_path):
        return
    if "llamafactory" in sys.modules:
        _arm_touchpoints()
    else:
        sys.meta_path.insert(0, _LlamaFactoryWatcher())


def _arm_touchpoints() -> None:
    try:
        from llamafactory_gaze.integration.touchpoints import arm_touchpoints

        arm_touchpoints()
    except Exception as error:
        warnings.warn(
            f"llamafactory-gaze could not be loaded, recipes with gaze will not work: {error!r}", stacklevel=2
        )
