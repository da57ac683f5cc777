"""LLaMA-Factory's inference engines, asked in batches: Hugging Face, vLLM, SGLang.

Answers are greedy: the same batch, machine and versions give the same text.
"""

from llamafactory_gaze.normalize.engines.common import Engine, Question
from llamafactory_gaze.normalize.engines.load import Backend, check_backend, load_engine


__all__ = ["Backend", "Engine", "Question", "check_backend", "load_engine"]
