"""`llamafactory-gaze predict-map`: the real command, its folder, what it keeps and refuses, and who says the source."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from llamafactory_gaze.cli import app
from llamafactory_gaze.data.triples.build import build_dataset
from llamafactory_gaze.data.validation.report import validate_dataset
from llamafactory_gaze.saliency import map_source, read_saliency_map


@pytest.fixture
def photos(tmp_path):
    """Three photographs in two folders, one of them without anything in it."""
    folder = tmp_path / "photos"
    (folder / "Action").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("a.png", "Action/001.jpg"):
        Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(folder / name)
    Image.new("RGB", (80, 60)).save(folder / "blank.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def run(*words):
    return CliRunner().invoke(app, ["predict-map", *map(str, words)])


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_a_folder_of_photographs_by_the_default(photos, tmp_path):
    out = tmp_path / "maps"
    result = run(photos, "--output", out, "--preview", tmp_path / "sheet.png")
    assert result.exit_code == 0, result.output
    assert "2 maps made" in result.output and "spectral-residual (opencv" in result.output
    assert "No map of blank.png: all its pixels are equal." in result.output
    first = files(out)
    assert set(first) == {"a.png", "Action/001.png", "sources.json"}
    for name in ("a.png", "Action/001.png"):
        assert map_source(out / name) == "saliency predictor, spectral-residual"
        saliency = read_saliency_map(out / name)
        assert saliency.shape == (60, 80) and saliency.max() == 1 and saliency.min() < 0.5
    manifest = json.loads(first["sources.json"])
    assert [one["map"] for one in manifest["maps"]] == ["Action/001.png", "a.png"]
    assert {one["source"] for one in manifest["maps"]} == {"saliency predictor"}
    assert manifest["without_map"] == {"blank.png": "all its pixels are equal"}
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (2 * 432 + 12, 315 + 24 + 24)

    again = run(photos, "--output", tmp_path / "again")
    assert again.exit_code == 0 and files(tmp_path / "again") == first


def test_what_is_there_is_kept_and_what_is_missing_is_made(photos, tmp_path):
    out = tmp_path / "maps"
    assert run(photos, "--output", out).exit_code == 0
    whole = files(out)
    (out / "a.png").unlink()
    (out / "sources.json").unlink()  # as a kill before the end leaves it
    kept = (out / "Action/001.png").stat().st_mtime_ns
    result = run(photos, "--output", out)
    assert result.exit_code == 0 and "1 map made and 1 kept" in result.output
    assert files(out) == whole and (out / "Action/001.png").stat().st_mtime_ns == kept

    Image.effect_noise((80, 60), 50).convert("RGB").save(photos / "a.png")  # another picture under the same name
    result = run(photos, "--output", out)
    assert result.exit_code == 1 and "says image_sha256" in result.stderr and files(out) == whole


def test_a_map_of_something_else_is_replaced_only_on_request(photos, tmp_path):
    out, photo = tmp_path / "maps", photos / "a.png"
    click = [photo, "--output", out, "--click", "10,10", "--sigma-px"]
    assert run(*click, 5).exit_code == 0
    before = files(out)
    for more, message in (
        ([*click, 6], "says sigma_px: 5.0, where this call makes 6.0"),
        ([photo, "--output", out], 'says source: "click", where this call makes "saliency predictor"'),
    ):
        result = run(*more)
        assert result.exit_code == 1 and message in result.stderr, result.stderr
        assert files(out) == before
    assert run(photos / "Action", "--output", out).exit_code == 0  # of another name: it joins them
    manifest = json.loads((out / "sources.json").read_text())
    assert {one["map"]: one["source"] for one in manifest["maps"]} == {
        "a.png": "click",
        "001.png": "saliency predictor",
    }
    assert run(*click, 6, "--overwrite").exit_code == 0
    assert json.loads((out / "sources.json").read_text())["maps"][1]["sigma_px"] == 6


def test_human_maps_are_never_touched_or_mixed(photos, tmp_path):
    (tmp_path / "f.csv").write_text("image,participant,x,y,duration_ms\na.png,p1,10,10,100\n")
    human = tmp_path / "human"
    command = ["heatmaps", tmp_path / "f.csv", "--images", photos, "--sigma-px", "5", "--output", human]
    assert CliRunner().invoke(app, [*map(str, command)]).exit_code == 0
    before = files(human)
    for more, message in (
        ([photos, "--output", human, "--overwrite"], "holds maps of fixations (maps.json)"),
        ([photos, "--output", tmp_path / "maps", "--maps", human], "holds maps of fixations (its maps.json says so)"),
    ):
        result = run(*more)
        assert result.exit_code == 1 and message in result.stderr
    (human / "maps.json").unlink()
    result = run(photos, "--output", human)
    assert result.exit_code == 1 and "so that it may be of an eye tracker" in result.stderr
    assert files(human) == {name: content for name, content in before.items() if name != "maps.json"}
    assert not (tmp_path / "maps").exists()


def test_a_predictor_that_fails_halfway_leaves_whole_maps_and_goes_on(photos, tmp_path):
    model = tmp_path / "half.py"
    model.write_text(
        "import os\nimport numpy as np\n\ndef predict(picture):\n"
        "    if picture.getpixel((0, 0)) == (0, 0, 0) and not os.environ.get('HALF_MENDED'):\n"
        "        raise RuntimeError('black')\n    return np.arange(4800.0).reshape(60, 80)\n"
    )
    out = tmp_path / "maps"
    arguments = [photos, "--output", out, "--predictor", f"{model}:predict"]
    result = run(*arguments)
    assert result.exit_code == 1 and "RuntimeError: black in half.py, line 6" in result.stderr
    assert set(files(out)) == {"a.png", "Action/001.png"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HALF_MENDED", "1")
        result = run(*arguments)
    assert result.exit_code == 0 and "1 map made and 2 kept" in result.output
    model.write_text(model.read_text() + "# changed\n")
    result = run(*arguments)
    assert result.exit_code == 1 and "says predictor_sha256" in result.stderr


def test_boxes_and_traces_reach_the_files(photos, tmp_path):
    (tmp_path / "mouse.tsv").write_text("image\tx\ty\ttime_ms\nAction/001.jpg\t70\t50\t0\nAction/001.jpg\t1\t1\t500\n")
    assert run(photos, "--output", tmp_path / "t", "--trace", tmp_path / "mouse.tsv", "--sigma-px", 3).exit_code == 0
    assert np.unravel_index(read_saliency_map(tmp_path / "t/Action/001.png").argmax(), (60, 80)) == (50, 70)
    assert sorted(files(tmp_path / "t")) == ["Action/001.png", "sources.json"]
    result = run(photos / "a.png", "--output", tmp_path / "b", "--box", "0,0,20,20", "--sigma-px", 3)
    assert result.exit_code == 0
    saliency = read_saliency_map(tmp_path / "b/a.png")
    assert saliency[10, 10] > 0.99 and saliency[10, 19:21].mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--click", "1,1", "--method", "fine-grained", "--sigma-px", "3"], "--method and --click each say"),
        (["--click", "1,1"], "--click needs the Gaussian's width"),
        (["--click", "1;1", "--sigma-px", "3"], "expected X,Y"),
        (["--click", "90,1", "--sigma-px", "3"], "--click 90,1 lies beside the image"),
        (["--click", "1,1", "--sigma-px", "0.5"], "expected at least 1"),
        (["--sigma-px", "-1"], "--sigma-px is -1"),
        (["--box", "1,1,5", "--sigma-px", "3"], "expected LEFT,TOP,RIGHT,BOTTOM"),
        (["--columns", "x=X"], "give --trace as well"),
        (["--maps", "gone"], "--maps gone is no folder"),
        (["--trace", "gone.csv", "--sigma-px", "3"], "gone.csv does not exist"),
        (["--predictor", "gone.py:predict"], "gone.py does not exist"),
        (["--preview", "sheet.jpg"], "ends in .png"),
        (["gone.jpg"], "gone.jpg does not exist"),
    ],
)
def test_a_refusal_is_one_sentence_and_leaves_nothing(photos, tmp_path, more, message):
    before = files(tmp_path)
    result = run(photos / "a.png", "--output", tmp_path / "maps", *more)
    assert result.exit_code == 1
    assert message in result.stderr and "Traceback" not in result.output
    assert files(tmp_path) == before


def test_images_that_cannot_have_their_own_map(photos, tmp_path):
    Image.new("RGB", (8, 8)).save(photos / "A.jpg")
    result = run(photos, "--output", tmp_path / "maps")
    assert result.exit_code == 1 and "would both be named" in result.stderr
    (photos / "A.jpg").unlink()
    result = run(photos, "--output", photos, "--overwrite")
    assert result.exit_code == 1 and "would replace it" in result.stderr
    assert run(photos / "blank.png", "--output", tmp_path / "maps").exit_code == 1
    (photos / "notes.png").write_text("no image")
    result = run(photos / "notes.png", "--output", tmp_path / "maps")
    assert result.exit_code == 1 and "cannot be decoded" in result.stderr
    assert not (tmp_path / "maps").exists()


def test_a_preview_replaces_nothing_but_a_preview(photos, tmp_path):
    arguments = [photos, "--output", tmp_path / "maps", "--preview"]
    for _ in range(2):
        assert run(*arguments, tmp_path / "sheet.png").exit_code == 0
    for target in (photos / "a.png", tmp_path / "maps/sheet.png"):
        before = files(tmp_path)
        assert run(*arguments, target).exit_code == 1 and files(tmp_path) == before


def test_the_data_card_the_checks_and_the_maps_of_a_data_set_say_the_source(recording):
    maps = recording.folder / "maps"
    one, others = recording.folder / "photographs/a1.png", recording.folder / "photographs"
    assert run(one, "--output", maps, "--click", "30,30", "--sigma-px", "4").exit_code == 0
    rest = [path for path in sorted(others.iterdir()) if path != one]
    assert run(*rest, "--output", maps).exit_code == 0
    options = recording.options(fixations=None, sigma_px=None, maps_from=maps)
    build_dataset(options)
    folder = options.dataset_dir / "small"
    card = (folder / "README.md").read_text()
    assert "Images, maps that are **not, or not all, of an eye tracker** (see Maps), and what people said" in card
    assert (
        "- **Not recorded by an eye tracker**: 5 of 5 maps say in their files that they were made of another source: "
        "4 of saliency predictor, spectral-residual; 1 of click." in card
    )
    assert "maps.json" not in card and "eye-tracking" not in card
    assert map_source(folder / "maps/a1.png") == "click"
    warned = [str(one) for one in validate_dataset("small", options.dataset_dir).warnings if one.kind == "map-source"]
    splits = {name: json.loads((folder / f"{name}.json").read_text()) for name in ("stage1", "stage2", "test")}
    clicked = sum(any(row["saliencies"] == ["small/maps/a1.png"] for row in rows) for rows in splits.values())
    assert sum("tracker: click;" in line for line in warned) == clicked > 0
    assert sum("tracker: saliency predictor, spectral-residual;" in line for line in warned) == 3


def test_a_data_set_of_gaze_is_called_one(recording):
    options = recording.options()
    build_dataset(options)
    assert (
        "Images, maps of where people looked, and what people said"
        in (options.dataset_dir / "small/README.md").read_text()
    )
    assert "eye-tracking" in (options.dataset_dir / "small/README.md").read_text()
    assert "map-source" not in {one.kind for one in validate_dataset("small", options.dataset_dir).problems}


def test_predicted_maps_of_osie_agree_with_its_people_above_chance(osie, tmp_path):
    """A floor that a map of the wrong image, mirrored or shifted, does not reach: the area under the ROC curve of
    fixated pixels against those fixated on the other images, so that looking at the middle gains nothing."""
    import csv

    fixated = {}
    with (osie / "fixations.csv").open() as file:
        for row in csv.DictReader(file):
            x, y = round(float(row["x"])), round(float(row["y"]))
            if 0 <= x < 800 and 0 <= y < 600:
                fixated.setdefault(row["image"], []).append((y, x))
    assert run(osie / "stimuli", "--output", tmp_path / "maps").exit_code == 0
    areas, mirrored = [], []
    for image, own in fixated.items():
        saliency = read_saliency_map((tmp_path / "maps" / image).with_suffix(".png"))
        other = [place for name, places in fixated.items() if name != image for place in places]
        for values, kept in ((saliency, areas), (saliency[:, ::-1], mirrored)):
            chance = np.sort(values[tuple(np.array(other).T)])
            kept.append(np.searchsorted(chance, values[tuple(np.array(own).T)]).mean() / len(chance))
    assert np.mean(areas) > 0.65 > 0.6 > np.mean(mirrored)
