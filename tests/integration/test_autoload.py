"""The plug-in's one door: what `import torch` does, and what it does not."""

import json
import os
import subprocess
import sys

import pytest


def python(code: str, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, text=True, capture_output=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip().splitlines()[-1]


def test_importing_torch_imports_nothing_heavy():
    code = "import sys, torch, json; print(json.dumps(sorted(m.split('.')[0] for m in sys.modules)))"
    loaded = set(json.loads(python(code)))
    assert "llamafactory_gaze" in loaded  # the entry point was called
    assert not loaded & {"transformers", "llamafactory", "wrapt", "peft", "datasets", "PIL"}


@pytest.mark.parametrize(
    "order", ["import torch, llamafactory.hparams", "import llamafactory.hparams, torch", "import llamafactory.hparams"]
)
def test_llamafactory_finds_the_plugin_in_whatever_order_it_is_imported(order):
    code = f"{order}; from llamafactory.hparams import parser; print([c.__name__ for c in parser._TRAIN_ARGS][-1])"
    assert python(code) == "GazeArguments"


def test_a_module_that_is_met_half_imported_is_touched_later():
    """The workers of torchrun begin with `llamafactory.train.tuner`, which imports torch on its first lines."""
    code = (
        "from llamafactory.train import tuner; from llamafactory_gaze.integration import touchpoints as t;"
        "before = {p.module for p, _ in t._pending}; t.check_touchpoints(); t.check_touchpoints();"
        "touched = [hasattr(f, '__wrapped__') for f in (tuner.export_model, tuner.run_sft)];"
        "twice = [hasattr(f.__wrapped__, '__wrapped__') for f in (tuner.export_model, tuner.run_sft)];"
        "print(before, touched, twice, t._pending)"
    )
    assert python(code) == "{'llamafactory.train.tuner'} [True, True] [False, False] []"


def test_arming_twice_is_harmless():
    code = (
        "from llamafactory_gaze.autoload import arm; import torch; arm(); arm();"
        "from llamafactory.hparams import parser; arm(); import llamafactory.data.template as t; arm();"
        "print([c.__name__ for c in parser._TRAIN_ARGS].count('GazeArguments'), 'qwen2_5_vl_gaze' in t.TEMPLATES)"
    )
    assert python(code) == "1 True"


def test_torchs_own_switch_turns_it_off():
    code = "from llamafactory.hparams import parser; print([c.__name__ for c in parser._TRAIN_ARGS][-1])"
    assert python(code, TORCH_DEVICE_BACKEND_AUTOLOAD="0") == "GeneratingArguments"


def test_a_failure_inside_warns_and_never_breaks_importing_torch():
    code = (
        "import sys, warnings; sys.modules['wrapt'] = None\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always'); import torch, llamafactory\n"
        "print(*(str(w.message) for w in caught))"
    )
    assert "llamafactory-gaze could not be loaded, recipes with gaze will not work" in python(code)


def test_the_auto_classes_know_the_model_and_load_it_on_first_use():
    code = (
        "import sys, llamafactory_gaze, transformers; from transformers import AutoConfig, AutoTokenizer, AutoModel\n"
        "assert 'llamafactory_gaze.modeling' not in sys.modules\n"
        "print(type(AutoConfig.for_model('qwen2_5_vl_gaze')).__name__, 'llamafactory_gaze.modeling' in sys.modules)"
    )
    for switch in ("0", "1"):
        assert python(code, TORCH_DEVICE_BACKEND_AUTOLOAD=switch) == "Qwen2_5_VLGazeConfig True"


def test_changed_auto_classes_are_named(tmp_path):
    code = (
        "import warnings, llamafactory_gaze; from types import ModuleType; from llamafactory_gaze import auto_classes\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always'); auto_classes._configuration(ModuleType('other'))\n"
        "    auto_classes._processor(ModuleType('other'))\n"
        "print(*(str(w.message) for w in caught))"
    )
    message = python(code)
    assert message.count("expects the Auto classes of transformers 5.5; those of version 5.") == 2
