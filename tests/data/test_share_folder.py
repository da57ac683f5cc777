"""The Hub's layout on disk: bytes, fields, header, entries; personal maps; what is refused; pushing without network."""

import json
import re
from pathlib import Path
from unittest.mock import Mock, call, create_autospec

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from llamafactory_gaze.cli import app
from llamafactory_gaze.data import hub
from llamafactory_gaze.data.entries import read_rows
from llamafactory_gaze.data.hub import ShareOptions, share_dataset
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.data.triples.build import build_dataset
from llamafactory_gaze.data.validation.report import validate_dataset


@pytest.fixture
def registry(recording) -> Path:
    """The data set `small` with one map for each image."""
    recording.descriptions[0] += ",words"
    recording.descriptions[1:] = [f"{line},{i}" for i, line in enumerate(recording.descriptions[1:])]
    build_dataset(recording.options())
    return recording.folder / "registry"


@pytest.fixture
def own_maps(recording) -> Path:
    """The data set `own` with one map for each image and person."""
    build_dataset(recording.options(name="own", maps="participant"))
    return recording.folder / "registry"


def share(registry, name="small", **changes):
    options = ShareOptions(name, registry, registry.parent / "shared", **changes)
    return share_dataset(options), options.output


def images(recording):
    return sorted(path.name for path in (recording.folder / "photographs").iterdir())


def files_of(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def header(text):
    return yaml.safe_load(re.fullmatch(r"---\n(.*?)\n---\n.*", text, re.DOTALL)[1])


def test_rows_and_bytes_are_those_of_the_files(registry):
    shared, folder = share(registry)
    assert shared.rows == {"stage1": 6, "stage2": 6, "test": 4}
    assert files_of(folder) == [
        "README.md",
        "dataset_info.json",
        "preview.png",
        "splits.json",
        "stage1/train-00000-of-00001.parquet",
        "stage2/train-00000-of-00001.parquet",
        "test/test-00000-of-00001.parquet",
    ]
    for config, split in (("stage1", "train"), ("stage2", "train"), ("test", "test")):
        rows = json.loads((registry / f"small/{config}.json").read_text())
        for row in rows:
            for column in ("images", "saliencies"):
                row[column] = [
                    {"bytes": (registry / path).read_bytes(), "path": Path(path).name} for path in row[column]
                ]
        assert list(read_rows(folder / config / f"{split}-00000-of-00001.parquet")) == rows


def test_datasets_loads_every_configuration(registry, tmp_path):
    from datasets import get_dataset_config_names, load_dataset

    _, folder = share(registry)
    assert sorted(get_dataset_config_names(str(folder))) == ["stage1", "stage2", "test"]
    test = load_dataset(str(folder), "test", split="test", cache_dir=str(tmp_path / "cache"))
    ((saliency,), (image,)) = test[0]["saliencies"], test[0]["images"]
    expected = json.loads((registry / "small/test.json").read_text())[0]
    with Image.open(registry / expected["saliencies"][0]) as original:
        assert saliency.mode == original.mode == "I;16"
        assert np.array_equal(np.asarray(saliency), np.asarray(original)) and np.asarray(saliency).max() == 65535
    with Image.open(registry / expected["images"][0]) as original:
        assert np.array_equal(np.asarray(image), np.asarray(original))
    assert {key: test[0][key] for key in ("id", "participant", "words")} == {
        key: expected[key] for key in ("id", "participant", "words")
    }


def test_the_card_has_the_header_of_the_hub(registry):
    shared, folder = share(registry, licence="cc-by-4.0")
    text = (folder / "README.md").read_text()
    card = (registry / "small/README.md").read_text().split("\n---\n", 1)[1]
    assert card.strip() in text  # the data card, whole
    found = header(text)
    assert found["license"] == "cc-by-4.0" and {"gaze", "saliency"} <= set(found["tags"])
    assert found["configs"] == [
        {"config_name": config, "data_files": [{"split": split, "path": f"{config}/{split}-*"}]}
        for config, split in (("stage1", "train"), ("stage2", "train"), ("test", "test"))
    ]
    on_hub = hub.readme(shared, "me/small")
    assert header(on_hub) == found and '"hf_hub_url": "me/small"' in on_hub and "REMOTE:me/small" in on_hub


def test_entries_for_others(registry):
    shared, folder = share(registry)
    columns = {"messages": "conversations", "images": "images", "saliencies": "saliencies"}
    same = {"formatting": "gaze", "columns": columns, "made_by": "llamafactory-gaze share"}
    assert json.loads((folder / "dataset_info.json").read_text()) == {
        f"small_{config}": {"file_name": config, **same} for config in ("stage1", "stage2", "test")
    }
    assert shared.entries("me/small")["small_test"] == {
        "hf_hub_url": "me/small", "subset": "test", "split": "test", **same
    }  # fmt: skip


def test_what_is_shared_is_valid_and_can_be_shared_again(registry, tmp_path):
    _, folder = share(registry)
    assert validate_dataset("small", folder).problems == []
    share_dataset(ShareOptions("small", folder, tmp_path / "again"))
    assert files_of(tmp_path / "again") == files_of(folder)
    for name in files_of(folder):
        if name.endswith(".parquet"):
            assert list(read_rows(tmp_path / "again" / name)) == list(read_rows(folder / name))
    assert header((tmp_path / "again/README.md").read_text()) == header((folder / "README.md").read_text())


@pytest.mark.parametrize("fold", ["", "fold2"])
def test_the_records_of_normalised_targets_go_along(recording, the_hub, fold):
    build_dataset(recording.options(folds=2 if fold else None))
    registry = recording.folder / "registry"
    (registry / "small" / fold / "stage1.normalization.json").write_text("how")
    name = f"{fold}_stage1.normalization.json".removeprefix("_")
    for _ in range(2):  # the second time in place of the first
        shared, folder = share(registry)
        assert [one for one in files_of(folder) if "normalization" in one] == [name]
    hub.push(shared, "me/small", private=False)
    uploads = {one.kwargs["path_in_repo"]: one.kwargs for one in the_hub.api.upload_file.call_args_list}
    assert uploads[name]["path_or_fileobj"] == (folder / name).read_bytes() == b"how"
    again = share_dataset(ShareOptions("small", folder, recording.folder / "again")).options.output
    assert (again / name).read_text() == "how"


def test_large_data_sets_become_several_files(registry, monkeypatch, tmp_path):
    from datasets import load_dataset

    monkeypatch.setattr(hub, "_BATCH", 2)
    monkeypatch.setattr(hub, "MAX_SHARD_BYTES", 1)
    _, folder = share(registry)
    assert [path.name for path in sorted((folder / "stage1").iterdir())] == [
        f"train-0000{i}-of-00003.parquet" for i in range(3)
    ]
    rows = load_dataset(str(folder), "stage1", split="train", cache_dir=str(tmp_path / "cache"))
    assert rows["id"] == [row["id"] for row in json.loads((registry / "small/stage1.json").read_text())]


def test_pictures_do_not_pile_up_in_the_rows(registry, monkeypatch):
    """The rows of a JSON file are one list, which lives as long as its file is written."""
    read = {}
    monkeypatch.setattr(hub, "read_rows", lambda file: read.setdefault(file, list(read_rows(file))))
    share(registry)
    assert len(read) == 3
    assert {type(one) for rows in read.values() for row in rows for one in row["images"] + row["saliencies"]} == {str}


def test_maps_of_single_people_need_a_word(own_maps):
    with pytest.raises(DataError, match=r"has maps of single people: they were made by --maps participant\. Gaze is"):
        share(own_maps, "own")
    assert not (own_maps.parent / "shared").exists()
    _, folder = share(own_maps, "own", with_personal_maps=True)
    assert "own_test" in json.loads((folder / "dataset_info.json").read_text())


@pytest.mark.parametrize("is_recorded", [True, False])
def test_embedded_maps_of_single_people_are_known_too(own_maps, tmp_path, is_recorded):
    """Without a record by their content: two people's maps differ, a map for all is the same in each row."""
    _, folder = share(own_maps, "own", with_personal_maps=True)
    if not is_recorded:
        (folder / "splits.json").write_text('{"by": "image"}')
    why = "they were made by" if is_recorded else r"image \w+ has several, and splits.json does not say of how many"
    with pytest.raises(DataError, match=f"has maps of single people: {why}"):
        share_dataset(ShareOptions("own", folder, tmp_path / "again"))


@pytest.mark.parametrize("settings", [{"split": "participant"}, {"split": "both", "folds": 3}])
def test_maps_of_the_people_of_each_side_are_not_of_single_people(recording, settings):
    for image in images(recording):
        recording.fixations += [f"{image},q{who},0,{who},9,100" for who in range(9)]
        recording.descriptions += [f"{image},q{who},{image[0]},A thing." for who in range(9)]
    recording.descriptions = [line.replace("Object", "a").replace("Social", "b") for line in recording.descriptions]
    build_dataset(recording.options(**settings))
    shared, folder = share(recording.folder / "registry")
    assert len(files_of(folder / "test" if "test" in shared.rows else folder / "fold3_test")) == 1


@pytest.mark.parametrize(
    ("maps", "why"),
    [("participant", "they were made by --maps participant"), ("image", "1 of them hold one person's gaze, listed in")],
)
def test_one_person_for_an_image(recording, maps, why):
    """Who is the only one to describe, or to see, an image."""
    recording.descriptions = [line for line in recording.descriptions if ",p1," not in line]
    if maps == "image":
        recording.fixations = [line for line in recording.fixations if not line.startswith("a1.png,p1,")]
    build_dataset(recording.options(maps=maps))
    with pytest.raises(DataError, match=f"has maps of single people: {why}"):
        share(recording.folder / "registry")


def test_maps_of_all_others_show_what_one_adds(recording):
    for image in images(recording):
        recording.fixations += [f"{image},p3,0,9,9,100"]
    build_dataset(recording.options(maps="leave-one-out"))
    with pytest.raises(DataError, match="made by --maps leave-one-out, and what one person adds is seen"):
        share(recording.folder / "registry")


@pytest.mark.parametrize("content", ["{", "[]", '{"maps": {"of": "image"}}', '{"maps": 5}'])
def test_a_record_that_cannot_be_read(registry, content):
    (registry / "small/splits.json").write_text(content)
    with pytest.raises(DataError, match=r"small/splits\.json cannot be read .*make the data set again"):
        share(registry)


def test_simulated_data_without_a_card_is_called_so(registry):
    for split in ("stage1", "stage2", "test"):
        path = registry / f"small/{split}.json"
        path.write_text(json.dumps([{**row, "simulated": True} for row in json.loads(path.read_text())]))
    (registry / "small/README.md").unlink()
    _, folder = share(registry)
    assert "SIMULATED data: nothing here was recorded from people." in (folder / "README.md").read_text()


def outside(registry):
    (registry.parent / "secret.png").write_bytes(b"secret")
    return "../secret.png"


def linked(registry):
    outside(registry)
    (registry / "small/images/link.png").symlink_to(registry.parent / "secret.png")
    return "small/images/link.png"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (lambda registry: "small/images/none.png", r"row 1 \(id \w+\): image small/images/none.png does not exist"),
        (outside, r"row 1 \(id \w+\): image ../secret.png has '\.\.' in its path"),
        (linked, r"row 1 \(id \w+\): image small/images/link.png is a link to"),
        (lambda registry: 5, r"an entry of the images is a int"),
    ],
)
def test_only_files_of_the_media_folder_are_embedded(registry, path, message):
    rows = json.loads((registry / "small/test.json").read_text())
    rows[1]["images"] = [path(registry)]
    (registry / "small/test.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match=message):
        share(registry)
    assert [path.name for path in registry.parent.iterdir() if "shared" in path.name] == []


def test_an_interruption_leaves_what_was_there(registry, monkeypatch):
    _, folder = share(registry)
    before = {name: (folder / name).read_bytes() for name in files_of(folder)}

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(hub, "readme", interrupted)
    with pytest.raises(KeyboardInterrupt):
        share(registry)
    assert {name: (folder / name).read_bytes() for name in files_of(folder)} == before
    assert [path.name for path in folder.parent.iterdir() if ".shared" in path.name] == []


@pytest.mark.parametrize("name", ["notes.txt", "stage1/notes.txt", "stage3/x.parquet"])
def test_files_of_others_are_not_replaced(registry, name):
    _, folder = share(registry)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("mine")
    with pytest.raises(DataError, match=f"holds {name}, which this command did not make"):
        share(registry)
    assert (folder / name).read_text() == "mine"


def command(registry, *more):
    arguments = ["share", "small", "--dataset-dir", registry, "--output", registry.parent / "shared", *more]
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_prints_the_entries(registry):
    result = command(registry)
    assert result.exit_code == 0, result.output
    assert "stage1 (6 rows), stage2 (6 rows), test (4 rows)" in result.stdout
    assert json.loads(result.stdout[result.stdout.index("{") :]) == json.loads(
        (registry.parent / "shared/dataset_info.json").read_text()
    )


@pytest.mark.parametrize("content", ['{"by": "image"}', None])
def test_the_command_says_what_it_cannot_know(registry, content):
    assert "Note:" not in command(registry).output
    if content is None:
        (registry / "small/splits.json").unlink()
    else:
        (registry / "small/splits.json").write_text(content)
    said = "Note: splits.json does not say of how many people each map is; see that none is of one person alone."
    result = command(registry)
    assert result.exit_code == 0 and said in result.stdout
    assert "Note:" not in command(registry, "--with-personal-maps").output


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--private"], "give --push-to-hub OWNER/NAME, too"),
        (["--push-to-hub", "small"], "--push-to-hub small is no repository; expected OWNER/NAME"),
    ],
)
def test_wrong_options_are_explained_before_anything_is_written(registry, more, message):
    result = command(registry, *more)
    assert result.exit_code == 1 and message in result.stderr
    assert not (registry.parent / "shared").exists()


def test_without_network_pushing_is_one_sentence_and_the_folder_stays(registry):
    """HF_HUB_OFFLINE is set in all tests."""
    result = command(registry, "--push-to-hub", "me/small")
    assert result.exit_code == 1 and "Traceback" not in result.output
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("Error: Cannot push to me/small (OfflineModeIsEnabled: ") and "hf auth login" in line
    assert "me/small" not in (registry.parent / "shared/dataset_info.json").read_text()
    assert sorted(path.name for path in registry.parent.iterdir() if "shared" in path.name) == ["shared"]


@pytest.fixture
def the_hub(monkeypatch):
    """Stands in for the Hub; calls that the libraries would not take fail."""
    from datasets import Dataset
    from huggingface_hub import HfApi

    stand_in = Mock()
    stand_in.attach_mock(create_autospec(HfApi, instance=True), "api")
    stand_in.attach_mock(create_autospec(Dataset.push_to_hub), "push_to_hub")
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: stand_in.api)
    monkeypatch.setattr(Dataset, "push_to_hub", lambda self, *a, **k: stand_in.push_to_hub(self, *a, **k))
    return stand_in


def test_what_is_sent_to_the_hub(registry, the_hub):
    the_hub.api.dataset_info.return_value.private = True
    result = command(registry, "--push-to-hub", "me/small", "--private")
    assert result.exit_code == 0, result.output
    assert the_hub.api.create_repo.call_args == call("me/small", repo_type="dataset", private=True, exist_ok=True)
    pushed = the_hub.push_to_hub.call_args_list
    assert [(one.args[1], one.kwargs["config_name"], one.kwargs["split"], one.kwargs["private"]) for one in pushed] == [
        ("me/small", "stage1", "train", True), ("me/small", "stage2", "train", True), ("me/small", "test", "test", True)
    ]  # fmt: skip
    uploads = [one.kwargs for one in the_hub.api.upload_file.call_args_list]
    assert {(one["repo_id"], one["repo_type"]) for one in uploads} == {("me/small", "dataset")}
    files = {one["path_in_repo"]: one["path_or_fileobj"] for one in uploads}
    assert sorted(files) == ["README.md", "dataset_info.json", "preview.png", "splits.json"]
    assert json.loads(files["dataset_info.json"])["small_stage1"]["hf_hub_url"] == "me/small"
    assert header(files["README.md"].decode())["configs"][2]["config_name"] == "test"
    assert sorted(path.name for path in registry.parent.iterdir() if "shared" in path.name) == ["shared"]


def test_a_public_data_set_does_not_become_the_place_of_a_private_one(registry, the_hub):
    """`create_repo` leaves a repository that exists as it is, public."""
    the_hub.api.dataset_info.return_value.private = False
    result = command(registry, "--push-to-hub", "me/small", "--private")
    assert result.exit_code == 1 and "exists on the Hub and is public" in result.stderr
    assert not the_hub.push_to_hub.called and not the_hub.api.upload_file.called
