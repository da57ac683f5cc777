"""dataset_info.json: other entries keep their place and content, and no failure leaves a broken file."""

import json
import os
from pathlib import Path

import pytest
from llamafactory.data.parser import get_dataset_list

from llamafactory_gaze.data.entries import files_read
from llamafactory_gaze.data.registry import foreign_entries, gaze_entry, register
from llamafactory_gaze.data.tables import DataError


OTHERS = {"zeta": {"file_name": "z.json", "note": "Überschrift"}, "mine": {"file_name": "m.json"}, "alpha": {"x": [1]}}


def test_entries_are_added_and_replaced_in_place(tmp_path):
    path = tmp_path / "dataset_info.json"
    path.write_text(json.dumps(OTHERS, ensure_ascii=False), encoding="utf-8")
    register(tmp_path, {"mine": gaze_entry("mine/a.json"), "new": gaze_entry("new/a.json")})
    registry = json.loads(path.read_text(encoding="utf-8"))
    assert list(registry) == ["zeta", "mine", "alpha", "new"]
    assert {name: registry[name] for name in ("zeta", "alpha")} == {name: OTHERS[name] for name in ("zeta", "alpha")}
    assert registry["mine"]["file_name"] == "mine/a.json"
    assert "Überschrift" in path.read_text(encoding="utf-8")
    assert [file.name for file in tmp_path.iterdir()] == ["dataset_info.json"]


def test_entries_of_others_are_known(tmp_path):
    (tmp_path / "dataset_info.json").write_text(json.dumps(OTHERS))
    register(tmp_path, {"ours": gaze_entry("ours/a.json")})
    assert foreign_entries(tmp_path, ["ours", "zeta", "nobody"]) == ["zeta"]


def test_what_a_training_reads(tmp_path):
    """Row files and media, in lists of any depth; neither embedded ones, nor what is no file, nor what is missing."""
    for name in ("a.png", "b.png", "f.png", "m.png", "n.png", "other.png"):
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "pipe")
    rows = [
        {"images": ["b.png", "gone.png", "pipe", "."], "maps": ["m.png", None], "text": "other.png"},
        {"images": [{"path": "a.png", "bytes": None}, {"path": "other.png", "bytes": "x"}], "maps": None},
        {"videos": [["f.png"]], "video_saliencies": [["n.png"], None]},
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    register(tmp_path, {"x": {"file_name": "rows.json", "columns": {"saliencies": "maps", "videos": "videos"}}})
    found = ["dataset_info.json", "rows.json", "a.png", "b.png", "f.png", "m.png", "n.png"]
    assert files_read(tmp_path, "x") == [tmp_path / name for name in found]
    assert files_read(tmp_path, "unknown") == [tmp_path / "dataset_info.json"]
    assert files_read(tmp_path, "x", tmp_path / "elsewhere") == [tmp_path / name for name in found[:2]]


def test_llamafactory_reads_the_entry(tmp_path):
    register(tmp_path, {"ours": gaze_entry("ours/a.json")})
    (attributes,) = get_dataset_list(["ours"], str(tmp_path))
    assert (attributes.load_from, attributes.dataset_name, attributes.formatting) == ("file", "ours/a.json", "gaze")
    assert (attributes.messages, attributes.images) == ("conversations", "images")


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "dataset_info.json"
    path.write_text(json.dumps(OTHERS))
    before = path.read_bytes()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        register(tmp_path, {"ours": gaze_entry("ours/a.json")})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["dataset_info.json"]


@pytest.mark.parametrize(("content", "message"), [("{broken", "not valid JSON"), ("[1]", "holds a JSON list")])
def test_a_broken_registry_is_refused_and_kept(tmp_path, content, message):
    path = tmp_path / "dataset_info.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        register(tmp_path, {"ours": gaze_entry("ours/a.json")})
    assert path.read_text() == content


def test_a_linked_registry_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "linked").mkdir()
    (tmp_path / "real" / "info.json").write_text("{}")
    (tmp_path / "linked" / "dataset_info.json").symlink_to(tmp_path / "real" / "info.json")
    register(tmp_path / "linked", {"ours": gaze_entry("ours/a.json")})
    assert (tmp_path / "linked" / "dataset_info.json").is_symlink()
    assert list(json.loads((tmp_path / "real" / "info.json").read_text())) == ["ours"]
