"""Recipes that cannot mean what they say, through LLaMA-Factory's own parser."""

import contextlib
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamafactory_gaze.integration.arguments import GazeArguments
from tests.bad_input.outcomes import ODD, REFUSED, SEEN, cases, check_number, limits, outcome
from tests.integration.conftest import parse


KEYS = sorted(GazeArguments.__dataclass_fields__)
VALUES = [*ODD, "cross_attention", "none", "shuffle", "paper", "patch", [28], [28, 28], [-1], [1.5], ["28"], [True], 4]


def harmless(key, value) -> bool:
    """Each key, and what may stand there."""
    whole = type(value) is int
    blocks = isinstance(value, list) and all(type(i) is int and i >= 0 for i in value)
    if key in ("gaze_layers", "gaze_llm_layers"):
        return value is None or blocks
    if key == "gaze_num_heads":
        return value is None or (whole and value >= 1)
    if key == "gaze_cached_images":
        return whole and value >= 0
    if key == "gaze_rope":
        return value is None or isinstance(value, bool)
    if key == "gaze_image_cache_gb":
        return type(value) in (int, float) and 0 < value < float("inf")
    if key in ("gaze_card_results", "gaze_card_data", "gaze_image_cache"):
        return value is None or (isinstance(value, str) and bool(value) and "\0" not in value)
    choices = {
        "gaze_preset": (None, "paper"), "gaze_fusion": (None, "cross_attention"), "gaze_query": (None, "patch"),
        "gaze_norm": (None,), "gaze_scope": (None,), "gaze_ablation": ("none", "off", "shuffle"),
        "gaze_train_calibrator": (),
    }  # fmt: skip
    if key == "gaze_ablation" and value is False:
        return True  # a bare `off` of YAML
    return isinstance(value, str | None) and value in choices.get(key, ())


@cases(260)
@given(st.sampled_from(KEYS), st.sampled_from(range(len(VALUES))))
def test_a_gaze_key_is_refused_by_name_or_allowed(key, i):
    value = VALUES[i]
    found = outcome("recipes", (key, i), lambda: GazeArguments(**{key: value}), f"`{key}: ")
    assert (found is not REFUSED) == harmless(key, value), (key, repr(value)[:80])


MISTAKES = {
    "trust_remote_code": ({"trust_remote_code": True}, "trust_remote_code"),
    "another stage": ({"stage": "pt"}, "stage"),
    "another template": ({"template": "qwen2_vl", "gaze_layers": [1], "lora_target": "all"}, "gaze_layers"),
    "the target alone": ({"template": "qwen2_vl"}, "lora_target"),
    "another target beside": ({"lora_target": "gaze,q_proj"}, "lora_target"),
    "streaming": ({"gaze_ablation": "shuffle", "streaming": True, "max_steps": 1}, "streaming"),
    "preset": ({"gaze_preset": "paper", "gaze_norm": "pre"}, "gaze_norm"),
    "backend": ({"infer_backend": "sglang"}, "infer_backend"),
    "layers": ({"gaze_layers": "28"}, "gaze_layers"),
    "number": ({"gaze_num_heads": "four"}, "gaze_num_heads"),
    "negative": ({"gaze_cached_images": -1}, "gaze_cached_images"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_contradiction_is_refused_by_the_parser(registry, name):
    keys, named = MISTAKES[name]
    assert outcome("recipes", name, lambda: parse(registry, **keys), f"`{named}") is REFUSED


MISSPELT = [key[:at] + key[at + 1 :] for key in KEYS for at in (len(key) // 2, len(key) - 1)]


@pytest.mark.parametrize("key", MISSPELT)
def test_a_misspelt_key_is_refused_in_the_words_of_llama_factory(registry, key):
    """It names the key; its parser knows ours, so ours cannot be given in silence either."""
    SEEN.setdefault("recipes", set()).add(key)
    said = io.StringIO()
    with limits(), contextlib.redirect_stdout(said), pytest.raises(ValueError) as error:
        parse(registry, **{key: "none"})
    assert re.search(rf"\b{key}\b", str(error.value) + said.getvalue())


def test_there_were_as_many_cases_as_we_say():
    check_number("recipes")
