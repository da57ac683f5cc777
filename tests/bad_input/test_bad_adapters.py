"""Adapters that are damaged, of another model, or that could hold code, through `load_model`."""

import json
import os
import pickle
import shutil
import struct

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from llamafactory_gaze.demo.run import BASE_MODEL
from llamafactory_gaze.inference import load_model
from llamafactory_gaze.integration.arguments import GazeArguments
from llamafactory_gaze.integration.settings import record_settings
from tests.bad_input.outcomes import ODD, REFUSED, cases, check_number, outcome
from tests.explain.conftest import LAST, fresh_model


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapters") / "stage1"
    block = f"model.visual.blocks.{LAST['gaze_layers'][0]}"
    targets = LoraConfig(
        r=2, target_modules=[f"{block}.mlp.up_proj"], modules_to_save=[f"{block}.calibrator"], task_type="CAUSAL_LM"
    )
    tuned = get_peft_model(fresh_model(**LAST), targets)
    record_settings(tuned, GazeArguments())
    tuned.save_pretrained(folder)
    return folder


@pytest.fixture
def adapter(trained, tmp_path):
    return copied(trained, tmp_path)


def copied(trained, parent):
    folder = parent / "bad_adapter"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(trained, folder)
    return folder


def load(adapter):
    model, _ = load_model(BASE_MODEL, [adapter], device="cpu")
    return {name: value for name, value in model.state_dict().items() if ".calibrator." in name or "up_proj" in name}


def refused(case, adapter):
    return outcome("adapters", case, lambda: load(adapter), "bad_adapter") is REFUSED


class Payload:
    """What a pickle can do: it makes a folder when it is read."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("name", ["adapter_model.bin", "adapter_model.pt", "adapter_model.pkl"])
def test_pickles_are_refused_unread(adapter, tmp_path, name):
    (adapter / "adapter_model.safetensors").unlink()
    (adapter / name).write_bytes(pickle.dumps({"a": Payload(tmp_path / "executed")}))
    assert refused(name, adapter) and not (tmp_path / "executed").exists()


def test_a_pickle_beside_the_weights_is_not_read(adapter, trained, tmp_path):
    (adapter / "adapter_model.bin").write_bytes(pickle.dumps({"a": Payload(tmp_path / "executed")}))
    expected, found = load(trained), load(adapter)
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert not (tmp_path / "executed").exists()


def header(text: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text


WEIGHTS = {
    "nothing": b"",
    "a length of 2**63": header(b"{}", 2**63),
    "a length of 2**40": header(b"{}", 2**40),
    "a length behind the end": header(b"{}", 99),
    "no tensors": header(b"{}"),
    "no JSON": header(b"{" * 50),
    "nested": header(b'{"a":' * 10_000),
    "huge shape": header(b'{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,16]}}') + bytes(16),
    "offsets behind the end": header(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,9999999999]}}'),
    "unknown type": header(b'{"a":{"dtype":"X9","shape":[4],"data_offsets":[0,16]}}') + bytes(16),
    "a pickle": pickle.dumps({"a": 1}),
    "text": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_are_none_are_refused(adapter, name):
    (adapter / "adapter_model.safetensors").write_bytes(WEIGHTS[name])
    assert refused(name, adapter)


@pytest.mark.parametrize("way", ["one missing", "NaN", "another shape", "other names"])
def test_weights_that_do_not_fit_are_refused(adapter, way):
    path = adapter / "adapter_model.safetensors"
    weights = load_file(path)
    name = next(name for name in weights if "lora_B" in name)
    if way == "one missing":
        del weights[name]
    elif way == "NaN":
        weights[name][0, 0] = float("nan")
    elif way == "another shape":
        weights[name] = torch.zeros(3, 3)
    else:
        weights = {f"x.{name}": value for name, value in weights.items()}
    save_file(weights, path)
    assert refused(way, adapter)


RECORD = ("auto_mapping", "llamafactory_gaze")
PLACES = (
    *(((*RECORD, "settings", name)) for name in ("gaze_fusion", "gaze_layers", "gaze_num_heads", "gaze_query",
      "gaze_norm", "gaze_rope")),
    (*RECORD, "settings"), RECORD, ("auto_mapping",), ("peft_type",), ("target_modules",), ("r",),
    ("modules_to_save",),
)  # fmt: skip


@cases(50)
@given(st.sampled_from(PLACES), st.sampled_from(range(len(ODD))))
def test_odd_settings_are_refused_or_mean_the_same(trained, tmp_path_factory, place, i):
    """Harmless: null for a setting that has its default, true for 1, and what peft does not look at."""
    if isinstance(ODD[i], bytes) or (isinstance(ODD[i], dict) and isinstance(ODD[i].get("bytes"), bytes)):
        return  # nothing that JSON can say
    adapter = copied(trained, tmp_path_factory.getbasetemp())
    path = adapter / "adapter_config.json"
    config = json.loads(path.read_text())
    parent = config
    for step in place[:-1]:
        parent = parent[step]
    if repr(parent[place[-1]]) == repr(ODD[i]):
        return
    parent[place[-1]] = ODD[i]
    path.write_text(json.dumps(config))
    found = outcome("adapters", (place, i), lambda: load(adapter), "bad_adapter")
    if found is not REFUSED:
        expected = load(trained)
        assert found.keys() == expected.keys(), place
        assert all(torch.equal(found[name], value) for name, value in expected.items()), place


CONFIGS = {
    "nothing": b"", "no JSON": b"{", "a list": b"[]", "null": b"null", "nested": b'{"a":' * 50_000,
    "a number of a million digits": b'{"r": ' + b"9" * 10**6 + b"}", "utf-16": '{"r": 2}'.encode("utf-16"),
    "an empty object": b"{}", "binary": bytes(range(256)),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_that_is_none_is_refused(adapter, name):
    (adapter / "adapter_config.json").write_bytes(CONFIGS[name])
    assert refused(("config", name), adapter)


@pytest.mark.parametrize("way", ["pipe", "folder", "missing", "file"])
def test_what_is_no_adapter_is_refused(adapter, way):
    config = adapter / "adapter_config.json"
    config.unlink()
    if way == "pipe":
        os.mkfifo(config)
    elif way == "folder":
        config.mkdir()
    elif way == "file":
        adapter = adapter / "adapter_model.safetensors"
    assert refused(way, adapter)


def test_code_in_the_settings_is_not_imported(adapter, trained, tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text(f"import os; os.mkdir({str(tmp_path / 'executed')!r})")
    monkeypatch.syspath_prepend(tmp_path)
    path = adapter / "adapter_config.json"
    config = json.loads(path.read_text())
    config["auto_mapping"] |= {"parent_library": "evil", "base_model_class": "Evil"}
    config["base_model_name_or_path"] = "somebody/elses"
    path.write_text(json.dumps(config))
    expected, found = load(trained), load(adapter)
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert not (tmp_path / "executed").exists()


def test_there_were_as_many_cases_as_we_say():
    check_number("adapters")
