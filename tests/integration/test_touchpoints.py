"""When LLaMA-Factory or another package has changed under us: a sentence, and only for recipes with gaze."""

from types import ModuleType

import pytest

from llamafactory_gaze import versions
from llamafactory_gaze.integration import touchpoints
from tests.integration.conftest import parse


def test_every_touchpoint_fits_the_installed_llamafactory(registry):
    parse(registry)  # imports all that a training imports
    import llamafactory.api.app
    import llamafactory.chat.hf_engine
    import llamafactory.train.tuner
    import llamafactory.webui.interface  # noqa: F401

    assert touchpoints._pending == []
    assert {t.module for t in touchpoints.TOUCHPOINTS} == {
        "llamafactory.extras.constants",
        "llamafactory.model.model_utils.visual",
        "llamafactory.hparams.parser",
        "llamafactory.data.parser",
        "llamafactory.data.converter",
        "llamafactory.data.template",
        "llamafactory.data.loader",
        "llamafactory.model.loader",
        "llamafactory.train.tuner",
        "llamafactory.chat.hf_engine",
        "llamafactory.chat.chat_model",
        "llamafactory.api.chat",
        "llamafactory.api.app",
        "llamafactory.webui.components.chatbot",
        "llamafactory.webui.chatter",
    }


@pytest.mark.parametrize("touchpoint", touchpoints.TOUCHPOINTS, ids=lambda touchpoint: touchpoint.module)
def test_a_changed_llamafactory_is_named_when_a_recipe_asks_for_gaze(touchpoint, monkeypatch, registry):
    monkeypatch.setattr(touchpoints, "_pending", [])
    touchpoints._hook(touchpoint)(ModuleType(touchpoint.module))
    with pytest.raises(RuntimeError, match=r"expects .* as in version 0\.9\.5; version 0\.9\.5 does not") as error:
        parse(registry)
    assert f"{touchpoint.module}.{touchpoint.attributes[0]}" in str(error.value)
    parse(registry, template="qwen2_vl", lora_target="all")  # others do not care


def test_untested_versions_are_refused_or_warned_about(monkeypatch, registry):
    monkeypatch.setattr(versions, "version", lambda package: "99.1" if package == "peft" else "5.5.4")
    monkeypatch.setitem(versions.TESTED, "llamafactory", versions.SpecifierSet("==5.5.4"))
    monkeypatch.setitem(versions.TESTED, "torch", versions.SpecifierSet("==5.5.4"))
    with pytest.raises(RuntimeError, match=r"not tested with peft 99\.1 \(tested: .*0\.18"):
        parse(registry)
    parse(registry, template="qwen2_vl", lora_target="all")
    monkeypatch.setenv(versions.OVERRIDE, "1")
    with pytest.warns(UserWarning, match=r"peft 99\.1"):
        parse(registry)
