"""`llamafactory-cli export`, killed at random moments: what it leaves is no model until all of it is there."""

import shutil
from pathlib import Path

import pytest

from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.demo.run import BASE_MODEL
from llamafactory_gaze.export.whole import MARK, check_whole
from llamafactory_gaze.inference import InferenceError, load_model
from llamafactory_gaze.normalize.base_model import find_model
from llamafactory_gaze.playground.models import load_models
from tests.explain.conftest import awaken, exported, fresh_model, make_processor  # noqa: F401 - a fixture
from tests.integration.conftest import parse, registry  # noqa: F401 - a fixture
from tests.killing import content, kill_again_and_again


def test_killed_at_random_moments(llamafactory, exported, tmp_path):  # noqa: F811
    """Into a new folder, and over a former export of another model."""
    llamafactory.live(tmp_path / "former", exported("cross_attention", 5))

    def begin(folder: Path) -> None:
        if folder.name.endswith(tuple("02468")):
            shutil.copytree(tmp_path / "former", folder)
        else:
            folder.mkdir()

    def merged(folder: Path) -> dict[str, bytes]:
        check_whole(folder / "merged")
        return content(folder / "merged")

    def half(folder: Path) -> set[str]:
        """What would be loaded is the former model or the new one, and no mixture."""
        found = content(folder / "merged")
        try:
            check_whole(folder / "merged")
        except ValueError:
            return {"merged"}
        known = [content(tmp_path / name / "merged") for name in ("former", "undisturbed")]
        assert "config.json" not in found or found in known
        return set()

    new = exported("cross_attention", 6)
    done = kill_again_and_again(llamafactory, tmp_path, merged, half, begin, arguments=[new])
    assert done.while_writing
    assert len(list((tmp_path / "undisturbed/merged").glob("model-*.safetensors"))) > 1


def cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-10])


DAMAGES = {
    "its export was killed": (lambda folder: (folder / MARK).touch(), "its export began and has not ended"),
    "no weights": (lambda folder: [file.unlink() for file in folder.glob("model*")], "no model.safetensors"),
    "weights, but no index": (
        lambda folder: (folder / "model.safetensors.index.json").unlink(), "no model.safetensors"
    ),
    "a shard is missing": (lambda folder: (folder / "model-00002-of-00003.safetensors").unlink(), "is missing"),
    "a shard is cut off": (lambda folder: cut_off(folder / "model-00002-of-00003.safetensors"), "is not whole"),
    "an empty shard": (lambda folder: (folder / "model-00003-of-00003.safetensors").write_bytes(b""), "is not whole"),
    "the index is cut off": (lambda folder: cut_off(folder / "model.safetensors.index.json"), "is not valid JSON"),
    "an index of nothing": (lambda folder: (folder / "model.safetensors.index.json").write_text("{}"), "no weights"),
    "the configuration is cut off": (lambda folder: cut_off(folder / "config.json"), "is not valid JSON"),
}  # fmt: skip


@pytest.fixture(scope="module")
def sharded(tmp_path_factory) -> dict[str, Path]:
    """A gaze model and a stock one, each in three files of weights."""
    folder = tmp_path_factory.mktemp("sharded")
    model = awaken(fresh_model())
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    model.save_pretrained(folder / "gaze", max_shard_size=f"{size // 2500}KB")
    make_processor().save_pretrained(folder / "gaze")
    assert len(list((folder / "gaze").glob("model-*-of-00003.safetensors"))) == 3
    shutil.copytree(folder / "gaze", folder / "stock")
    shutil.copy(BASE_MODEL / "config.json", folder / "stock")
    return {"gaze": folder / "gaze", "stock": folder / "stock"}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_part_of_a_model_is_refused_in_a_sentence(damage, sharded, registry, tmp_path):  # noqa: F811
    """By whatever loads a model; vLLM's class calls the same function."""
    destroy, said = DAMAGES[damage]
    for kind, folder in sharded.items():
        shutil.copytree(folder, tmp_path / kind)
        check_whole(tmp_path / kind)
        destroy(tmp_path / kind)
    gaze, stock = tmp_path / "gaze", tmp_path / "stock"
    loads = {
        "explain": (InferenceError, lambda: load_model(gaze)),
        "playground": (InferenceError, lambda: load_models(gaze)),
        "playground's baseline": (InferenceError, lambda: load_models(sharded["gaze"], baseline=stock)),
        "a recipe": (ValueError, lambda: parse(registry, model_name_or_path=str(gaze))),
        "normalize": (DataError, lambda: find_model(str(stock))),
    }
    for by, (kind, load) in loads.items():
        with pytest.raises(kind) as error:
            load()
        assert said in str(error.value) and "\n" not in str(error.value), by
