"""Exported gaze models in vLLM, by its own plug-in entry point (`vllm.general_plugins`).

processing.py  from an image whose alpha channel is the map to the tower's input
model.py       vLLM's Qwen2.5-VL with the gaze tower

vLLM calls `register` in each of its processes, before anything else.
"""

ARCHITECTURE = "Qwen2_5_VLGazeForConditionalGeneration"


def register() -> None:
    """Tells vLLM of the model, and transformers of its configuration and processor. May be called more than once."""
    from vllm import ModelRegistry

    import llamafactory_gaze.modeling  # noqa: F401 - registers the Auto classes

    if ARCHITECTURE not in ModelRegistry.get_supported_archs():
        ModelRegistry.register_model(ARCHITECTURE, f"llamafactory_gaze.vllm.model:{ARCHITECTURE}")
