"""The builder: rows, maps and splits of a small recording; exclusions; a failure leaves everything as it was."""

import json

import numpy as np
import pytest
from PIL import ExifTags, Image

from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.data.triples import build as build_module
from llamafactory_gaze.data.triples.build import build_dataset
from llamafactory_gaze.saliency import check_aspect_ratio, read_saliency_map


def read_rows(dataset_dir, name="small"):
    return {split: json.loads((dataset_dir / name / f"{split}.json").read_text()) for split in build_module.SPLITS}


def snapshot(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_rows_point_at_files_beside_the_registry(recording):
    options = recording.options()
    build_dataset(options)
    rows = read_rows(options.dataset_dir)
    assert rows["stage1"] == rows["stage2"]  # there is no column `normalized`
    row = next(row for split in rows.values() for row in split if row["id"] == "a3_p2")
    assert row == {
        "id": "a3_p2",
        "image_id": "a3",
        "participant": "p2",
        "category": "Object",
        "conversations": [
            {"from": "human", "value": "<image>Describe the image."},
            {"from": "gpt", "value": "p2 sees a3.jpg, plainly."},
        ],
        "images": ["small/images/a3.jpg"],
        "saliencies": ["small/maps/a3.png"],
    }
    for row in rows["stage2"] + rows["test"]:
        image, saliency = options.dataset_dir / row["images"][0], options.dataset_dir / row["saliencies"][0]
        assert image.read_bytes() == (options.images / image.name).read_bytes() and not image.is_symlink()
        check_aspect_ratio(read_saliency_map(saliency).shape[::-1], Image.open(image).size)
    registry = json.loads((options.dataset_dir / "dataset_info.json").read_text())
    assert {name: entry["file_name"] for name, entry in registry.items()} == {
        f"small_{split}": f"small/{split}.json" for split in build_module.SPLITS
    }


def test_no_image_is_in_both_splits_and_no_row_is_lost(recording):
    options = recording.options()
    build_dataset(options)
    rows = read_rows(options.dataset_dir)
    training, test = ({row["image_id"] for row in rows[split]} for split in ("stage2", "test"))
    assert not training & test
    assert len(test) == 2 and {image[0] for image in test} == {"a", "b"}
    assert sorted(row["id"] for row in rows["stage2"] + rows["test"]) == sorted(
        f"{image}_{participant}" for image in ("a1", "a2", "a3", "b1", "b2") for participant in ("p1", "p2")
    )


def test_maps_of_all_and_of_each(recording):
    options = recording.options(maps="participant")
    build_dataset(options)
    build_dataset(recording.options(name="all"))
    maps = options.dataset_dir / "small" / "maps"
    own = {participant: read_saliency_map(maps / f"a1_{participant}.png") for participant in ("p1", "p2")}
    everyone = read_saliency_map(options.dataset_dir / "all" / "maps" / "a1.png")
    # p1 looks at (16, 12) and, three times as long, at (17, 12); p2 at (64, 48) and (65, 48).
    assert np.unravel_index(own["p1"].argmax(), own["p1"].shape) == (12, 17)
    assert np.unravel_index(own["p2"].argmax(), own["p2"].shape) == (48, 65)
    assert own["p1"][48, 65] < 1e-4 and everyone[48, 65] > 0.99 and everyone[12, 17] > 0.99


def test_weight_by_count(recording):
    recording.fixations.append("a1.png,p1,2,60,12,1")  # one long look of 400 ms at the left, one of 1 ms at the right
    for weight in ("duration", "count"):
        build_dataset(recording.options(name=weight, maps="participant", weight=weight))
    maps = {
        weight: read_saliency_map(recording.folder / "registry" / weight / "maps" / "a1_p1.png")
        for weight in ("duration", "count")
    }
    assert maps["duration"][12, 60] < 0.01 and 0.45 < maps["count"][12, 60] < 0.55


def test_durations_that_are_not_known_need_weight_by_count(recording):
    recording.fixations = [line.rpartition(",")[0] + "," * (i > 0) for i, line in enumerate(recording.fixations)]
    recording.fixations[0] += ",duration_ms"
    with pytest.raises(DataError, match=r"how long 20 of its 20 fixations last.* use --weight count"):
        build_dataset(recording.options())
    assert not (recording.folder / "registry").exists()
    build_dataset(recording.options(weight="count"))


def test_normalized_targets_go_to_stage_1_only(recording):
    recording.descriptions = [
        line + (",normalized,age" if i == 0 else f",Plain {i}.,3{i}") for i, line in enumerate(recording.descriptions)
    ]
    options = recording.options()
    built = build_dataset(options)
    rows = read_rows(options.dataset_dir)
    assert built.normalized
    assert all(row["conversations"][1]["value"].startswith("Plain ") for row in rows["stage1"])
    assert all(" sees " in row["conversations"][1]["value"] for row in rows["stage2"] + rows["test"])
    assert [row["id"] for row in rows["stage1"]] == [row["id"] for row in rows["stage2"]]
    assert all(row["age"].startswith("3") and "normalized" not in row for row in rows["test"])
    assert "not style-normalised" not in (options.dataset_dir / "small" / "README.md").read_text()


def test_exclusions_are_listed_and_fixations_add_up(recording):
    recording.fixations = [line for line in recording.fixations if not line.startswith(("a1.png,p1", "b2.png"))]
    recording.fixations += [
        "a1.png,p1,0,500,5,90",
        "unknown.png,p1,0,5,5,90",
        "a1.png,p9,0,5,5,90",
        "a2.png,p1,9,-4,1,1",
    ]
    recording.fixations = [
        line.rpartition(",")[0] + ",0" if line.startswith("b1.png,p2") else line for line in recording.fixations
    ]
    options = recording.options(maps="participant")
    built = build_dataset(options)
    assert [(row.where.rpartition(" ")[2], row.image, row.participant, row.reason) for row in built.excluded] == [
        ("2", "a1.png", "p1", "no fixation of the participant is left on this image: 1 outside the image"),
        ("9", "b1.png", "p2", "no fixation of the participant is left on this image: 2 of 0 ms"),
        ("10", "b2.png", "p1", "nobody has fixations on this image"),
        ("11", "b2.png", "p2", "nobody has fixations on this image"),
    ]
    # 20 are made up, 6 of them were taken away and 4 added; off the image: (500, 5) and (-4, 1)
    assert built.fixations == {
        "read": 18,
        "without_description": 1,
        "breaks_rule": 0,
        "first_dropped": 0,
        "too_short": 0,
        "off_image": 2,
        "no_duration": 2,
        "in_no_map": 1,
        "used": 12,
    }
    assert not (options.dataset_dir / "small" / "images" / "b2.png").exists()
    card = (options.dataset_dir / "small" / "README.md").read_text()
    assert "| in no map that a usable description needs | 1 |" in card
    for row in built.excluded:
        assert f"| {row.where} | {row.image} | {row.participant} | {row.reason} |" in card


def test_the_same_input_gives_the_same_bytes(recording):
    options = recording.options()
    build_dataset(options)
    first = snapshot(options.dataset_dir)
    build_dataset(options)
    assert snapshot(options.dataset_dir) == first
    assert {path.suffix for path in first} == {".json", ".png", ".jpg", ".md", ".csv"}


def test_images_in_folders_keep_their_folders(recording):
    for name in ("x", "y"):
        (recording.folder / "photographs" / name).mkdir()
        Image.new("RGB", (40, 30)).save(recording.folder / "photographs" / name / "001.png")
        recording.fixations.append(f"{name}/001.png,p1,0,5,5,100")
        recording.descriptions.append(f"{name}/001.png,p1,Object,Nothing.")
    options = recording.options(maps="participant")
    build_dataset(options)
    rows = {row["id"]: row for split in read_rows(options.dataset_dir).values() for row in split}
    assert rows["x/001_p1"]["images"] == ["small/images/x/001.png"]
    assert (options.dataset_dir / rows["y/001_p1"]["saliencies"][0]).is_file()


def break_image(path):
    path.write_bytes(path.read_bytes()[:100])


def turn_image(path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (80, 60)).save(path, exif=exif)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda r: (r.folder / "photographs/a1.png").unlink(),
            r"descriptions\.csv, line 2: the image a1\.png is not in",
        ),
        (lambda r: [p.unlink() for p in (r.folder / "photographs").iterdir()], r"line 2: the image a1\.png is not in"),
        (lambda r: break_image(r.folder / "photographs/a2.png"), r"line 4: the image .*a2\.png cannot be decoded"),
        (
            lambda r: turn_image(r.folder / "photographs/a2.png"),
            r"line 4: .*a2\.png is stored turned \(EXIF orientation 6\)",
        ),
        (
            lambda r: Image.new("I;16", (80, 60)).save(r.folder / "photographs/a2.png"),
            r"line 4: .*a2\.png has more than 8 bits \(mode I;16\)",
        ),
        (
            lambda r: r.fixations.__setitem__(slice(1, None), ["a1,p1,0,1,1,1"]),
            r"No row of .*line 2 is excluded because nobody has fixations on this image; do the names",
        ),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(recording, change, message):
    change(recording)
    with pytest.raises(DataError, match=message):
        build_dataset(recording.options())
    assert not (recording.folder / "registry").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "../x"}, r"The name is '\.\./x'"),
        ({"name": ""}, "The name is ''"),
        ({"sigma_px": 0.2}, "expected at least 1"),
        ({"sigma_px": float("nan")}, "expected at least 1"),
        ({"prompt": "<image>What is it?"}, "adds <image> itself"),
        ({"test_fraction": 2}, "between 0 and 1"),
    ],
)
def test_bad_settings(recording, changes, message):
    with pytest.raises(DataError, match=message):
        build_dataset(recording.options(**changes))
    assert not (recording.folder / "registry").exists()


def test_what_others_made_is_replaced_only_on_request(recording):
    options = recording.options()
    (options.dataset_dir / "small").mkdir(parents=True)
    (options.dataset_dir / "small" / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"small exists and holds notes\.txt"):
        build_dataset(options)
    (options.dataset_dir / "small" / "notes.txt").rename(options.dataset_dir / "notes.txt")
    with pytest.raises(DataError, match="small exists and is not in the registry"):
        build_dataset(options)
    (options.dataset_dir / "small").rmdir()
    (options.dataset_dir / "dataset_info.json").write_text('{"small_test": {"file_name": "s.json"}}')
    with pytest.raises(DataError, match="has an entry small_test that this command did not make"):
        build_dataset(options)
    build_dataset(recording.options(overwrite=True))
    assert len(read_rows(options.dataset_dir)["test"]) == 4

    # A data set of its own is replaced as it is, but not together with what somebody put into it.
    build_dataset(recording.options(test_fraction=0.2))
    assert len(read_rows(options.dataset_dir)["test"]) == 2
    (options.dataset_dir / "small" / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"holds notes\.txt"):
        build_dataset(options)


@pytest.mark.parametrize(
    "fails", ["triples.dataset_maps.file_of", "triples.build.contact_sheet", "triples.build.registry.register"]
)
@pytest.mark.parametrize("existing", [True, False])
def test_an_interruption_leaves_what_was_there(recording, monkeypatch, fails, existing):
    options = recording.options()
    options.dataset_dir.mkdir()
    if existing:
        build_dataset(options)
    before = snapshot(options.dataset_dir)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"llamafactory_gaze.data.{fails}", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_dataset(recording.options(seed=7, test_fraction=0.6))
    assert snapshot(options.dataset_dir) == before
    assert {path.name for path in options.dataset_dir.iterdir()} <= {"small", "dataset_info.json"}
