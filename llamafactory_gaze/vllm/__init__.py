"""Exported gaze models in vLLM, by its own plug-in entry point (`vllm.general_plugins`).

processing.py  from an image whose alpha channel is the map to the tower's input
model.py       vLLM's Qwen2.5-VL with the gaze tower

vLLM calls `register` in each of its processes, before anything else. What it calls beyond that is vLLM's inside, which
changes from version to version; so other versions than the tested one are refused, when a gaze model is loaded.
"""

import os
import warnings

from packaging.specifiers import SpecifierSet

from llamafactory_gaze.versions import OVERRIDE


ARCHITECTURE = "Qwen2_5_VLGazeForConditionalGeneration"
TESTED = SpecifierSet(">=0.28,<0.29")


def register() -> None:
    """Tells vLLM of the model, and transformers of its configuration and processor. May be called more than once."""
    from vllm import ModelRegistry

    import llamafactory_gaze.modeling  # noqa: F401 - registers the Auto classes

    if ARCHITECTURE not in ModelRegistry.get_supported_archs():
        ModelRegistry.register_model(ARCHITECTURE, f"llamafactory_gaze.vllm.model:{ARCHITECTURE}")


def check_vllm(version: str) -> None:
    """Refuses a version of vLLM that was not tested.

    With the environment variable LLAMAFACTORY_GAZE_ALLOW_UNTESTED=1 the refusal becomes a warning.

    Raises:
        RuntimeError: says what was found and what was tested.
    """
    if TESTED.contains(version.partition("+")[0], prereleases=True):
        return
    message = (
        f"llamafactory-gaze was not tested with vLLM {version} (tested: {TESTED}). Install vllm==0.28.0, or set "
        f"{OVERRIDE}=1 to go on at your own risk."
    )
    if os.environ.get(OVERRIDE) != "1":
        raise RuntimeError(message)
    warnings.warn(message, stacklevel=2)
