"""The maps of a data set: made as `heatmaps` makes them, or ready-made; whose map a description gets, and what the card
says about it."""

import inspect
import json
import re
from dataclasses import replace
from typing import get_type_hints

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from llamafactory_gaze.cli import app
from llamafactory_gaze.cli.dataset import dataset
from llamafactory_gaze.cli.heatmaps import heatmaps
from llamafactory_gaze.data.maps.folder import HeatmapOptions, make_heatmaps
from llamafactory_gaze.data.maps.options import MapOptions
from llamafactory_gaze.data.provenance import file_sha256
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.data.triples.build import build_dataset
from llamafactory_gaze.data.triples.exclusions import NO_RULES as NO_RULES_AT_ALL
from llamafactory_gaze.saliency import read_saliency_map


SCREEN = "160x120,20,30"  # 4.19 pixels per degree


def rows_of(options):
    folder = options.dataset_dir / options.name
    return {
        row["id"]: row for split in ("stage2", "test") for row in json.loads((folder / f"{split}.json").read_text())
    }


def map_of(options, row):
    return read_saliency_map(options.dataset_dir / row["saliencies"][0])


def card_of(options):
    return (options.dataset_dir / options.name / "README.md").read_text()


def record_of(options):
    """What `splits.json` says about the maps."""
    return json.loads((options.dataset_dir / options.name / "splits.json").read_text())["maps"]


# The rules on exclusions, off, as options of the command.
NO_RULES = ["--min-fixations", "0", "--min-on-image", "0", "--max-one-fixation", "1", "--min-spread", "0"]
NO_RULES += ["--min-words", "0"]


def peak(saliency):
    return np.unravel_index(saliency.argmax(), saliency.shape)


def with_trials(recording):
    """Each fixation in the trial 1, and p1 once more on a1.png, in the trial 2, at (40, 5)."""
    recording.fixations[0] += ",trial"
    recording.fixations[1:] = [f"{line},1" for line in recording.fixations[1:]]
    recording.fixations.append("a1.png,p1,0,40,5,100,2")


def with_described_trials(recording):
    with_trials(recording)
    recording.descriptions[0] += ",trial"
    recording.descriptions[1:] = [f"{line},1" for line in recording.descriptions[1:]]
    recording.descriptions.append("a1.png,p1,Object,Again.,2")


@pytest.mark.parametrize("of", ["image", "participant", "leave-one-out", "trial"])
def test_both_commands_make_the_same_maps_of_the_same_options(recording, of):
    with_described_trials(recording)
    options = recording.options()
    table, photographs = str(options.fixations), str(options.images)
    shared = ["--screen", SCREEN, "--placement", "fill", "--sigma-deg", "1.5", "--weight", "count", "--drop-first"]
    shared += ["--participants", "equal", "--min-duration", "20", "--longest-side", "70", "--maps", of]
    shared += ["--off-image", "keep"]
    maps = recording.folder / "maps"
    described = ["--images", photographs, "--descriptions", str(options.descriptions), "--name", "small"]
    for command in (
        ["heatmaps", table, "--images", photographs, "--output", str(maps)],
        ["dataset", "--fixations", table, *described, "--dataset-dir", str(options.dataset_dir), *NO_RULES],
    ):
        result = CliRunner().invoke(app, [*command, *shared])
        assert result.exit_code == 0, result.output
    of_dataset = {
        path.relative_to(options.dataset_dir / "small/maps"): path.read_bytes()
        for path in (options.dataset_dir / "small/maps").rglob("*.png")
    }
    of_heatmaps = {path.relative_to(maps): path.read_bytes() for path in maps.rglob("*.png")}
    assert len(of_dataset) >= 3 and of_dataset.items() <= of_heatmaps.items()
    assert set(of_dataset) == {
        path.relative_to("small/maps")
        for row in rows_of(options).values()
        for path in map(type(maps), row["saliencies"])
    }


def test_the_shared_options_are_the_same_in_both_commands():
    shared = {*MapOptions.__dataclass_fields__, "columns", "jobs"}
    of_heatmaps, of_dataset = (
        {
            name: (hint, inspect.signature(command).parameters[name].default)
            for name, hint in get_type_hints(command, include_extras=True).items()
            if name in shared
        }
        for command in (heatmaps, dataset)
    )
    assert of_heatmaps == of_dataset and set(of_heatmaps) == shared


def test_a_participant_gets_the_map_of_all_others(recording):
    recording.fixations.append("a1.png,p3,0,5,50,100")  # who described nothing
    options = recording.options(maps="leave-one-out")
    build_dataset(options)
    rows = rows_of(options)
    assert rows["a1_p1"]["saliencies"] == ["small/maps/a1_without_p1.png"]
    without_p1, without_p2 = map_of(options, rows["a1_p1"]), map_of(options, rows["a1_p2"])
    assert peak(without_p1) == (48, 65) and without_p1[12, 17] < 1e-4 and without_p1[50, 5] > 0.2
    assert peak(without_p2) == (12, 17) and without_p2[48, 65] < 1e-4 and without_p2[50, 5] > 0.2
    # Of two participants, all others are one person, except on a1.png.
    assert "8 of 10 maps, which `splits.json` of the data set lists, are of a single person;" in card_of(options)
    assert record_of(options) == {
        "of": "leave-one-out",
        "fewest_people": 1,
        "of_one_person": [f"{image}_without_{who}.png" for image in ("a2", "a3", "b1", "b2") for who in ("p1", "p2")],
    }


def test_nobody_else(recording):
    recording.fixations = [line for line in recording.fixations if not line.startswith("b2.png,p2")]
    options = recording.options(maps="leave-one-out")
    built = build_dataset(options)
    assert [(row.image, row.participant, row.reason) for row in built.excluded] == [
        ("b2.png", "p1", "nobody else has a fixation left on this image"),
        ("b2.png", "p2", "the participant has no fixations on this image"),
    ]


def test_a_description_of_a_trial_gets_the_map_of_that_trial(recording):
    with_described_trials(recording)
    recording.descriptions.append("a1.png,p2,Object,Never.,2")
    options = recording.options(maps="trial")
    built = build_dataset(options)
    rows = rows_of(options)
    assert len(rows) == 11 and rows["a1_p1_2"]["trial"] == "2"
    assert rows["a1_p1_2"]["saliencies"] == ["small/maps/a1_p1_2.png"]
    assert peak(map_of(options, rows["a1_p1_1"])) == (12, 17) and peak(map_of(options, rows["a1_p1_2"])) == (5, 40)
    assert [row.reason for row in built.excluded] == ["the participant has no fixations on this image in trial 2"]
    whose = "- Whose: a map holds the fixations of 1 person; every map is of a single person; maps of single persons"
    assert whose in card_of(options)


def test_without_a_trial_the_only_one_is_described(recording):
    with_trials(recording)
    with pytest.raises(
        DataError, match=r"line 2: participant p1 saw image a1\.png in the trials 1, 2; say by a column"
    ):
        build_dataset(recording.options(maps="trial"))
    recording.fixations.pop()
    options = recording.options(maps="trial")
    build_dataset(options)
    assert rows_of(options)["a1_p1"]["saliencies"] == ["small/maps/a1_p1_1.png"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"min_duration": 200}, "2 shorter than 200 ms, 1 outside the image"),
        (
            {"min_duration": 200, "drop_first": True},
            "1 dropped as the first, 1 shorter than 200 ms, 1 outside the image",
        ),
        ({"drop_first": True}, "1 dropped as the first, 1 outside the image, 1 of 0 ms"),
        ({}, None),
    ],
)
def test_the_reason_says_what_became_of_each_fixation(recording, changes, reason):
    recording.fixations = [line for line in recording.fixations if not line.startswith("a1.png,p1")]
    recording.fixations += ["a1.png,p1,0,5,5,100", "a1.png,p1,1,90,5,300", "a1.png,p1,2,5,5,0"]
    built = build_dataset(recording.options(**changes))
    expected = [] if reason is None else [f"no fixation of the participant is left on this image: {reason}"]
    assert [row.reason for row in built.excluded] == expected


def test_the_card_gives_the_geometry(recording):
    recording.fixations += [
        f"{name},{who},9,80,60,100" for name in ("a1.png", "a3.jpg", "b2.png") for who in ("p1", "p2")
    ]
    options = recording.options()
    arguments = ["--fixations", options.fixations, "--images", options.images, "--descriptions", options.descriptions]
    arguments += ["--name", "small", "--dataset-dir", options.dataset_dir, "--screen", SCREEN, "--placement", "fill"]
    arguments += ["--maps", "participant"]
    result = CliRunner().invoke(app, ["dataset", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    # One degree is 4.189 pixels of the screen, which shows a1 at twice its size, b2 at 16/9 and a3 at 12/7 of it.
    for sentence in (
        "pixels of a screen of 160x120, 20 cm wide and 30 cm away: 4.189 pixels per degree",
        "the image stood in the middle, as large as its shape allows.",
        "1 degree of visual angle, 4.189 pixels of the screen and 2.094 to 2.444 pixels of the image;",
        "every map is of a single person;",
    ):
        assert sentence in card_of(options)


@pytest.fixture
def published(recording):
    """A folder of maps as CAT2000 has them: 8 bits, JPEG, half the size, in the folders of the images."""
    folder = recording.folder / "FIXATIONMAPS"
    folder.mkdir()
    for number, path in enumerate(sorted((recording.folder / "photographs").iterdir())):
        with Image.open(path) as image:
            size = image.width // 2, image.height // 2
        Image.new("L", size, 40 * number).save(folder / f"{path.stem}.jpg")
    return folder


def test_published_maps_are_copied_as_they_are(recording, published):
    for line in ("x/1.png,p1,Object,Nothing.", "y/1.png,p1,Object,No map."):
        recording.descriptions.append(line)
        path = recording.folder / "photographs" / line.split(",")[0]
        path.parent.mkdir()
        Image.new("RGB", (40, 30)).save(path)
    for unused in ("unused.jpg", "unused.png"):
        (published / unused).touch()
    (published / "x").mkdir()
    Image.new("L", (40, 30)).save(published / "x/1.png")
    options = recording.options(fixations=None, maps_from=published, making=MapOptions())
    built = build_dataset(options)
    rows = rows_of(options)
    assert rows["a1_p2"]["saliencies"] == ["small/maps/a1.jpg"] and rows["x/1_p1"]["saliencies"] == [
        "small/maps/x/1.png"
    ]
    copied = options.dataset_dir / "small/maps"
    assert {path.relative_to(copied): path.read_bytes() for path in copied.rglob("*.*")} == {
        path.relative_to(published): path.read_bytes() for path in published.rglob("*.*") if path.stem != "unused"
    }
    assert [(row.image, row.reason) for row in built.excluded] == [("y/1.png", "there is no map y/1 in FIXATIONMAPS")]
    card = card_of(options)
    assert "copied unchanged from the folder `FIXATIONMAPS`" in card and "it has no `maps.json`" in card
    assert record_of(options) == {"of": "image", "fewest_people": None, "of_one_person": []}
    assert "| maps/a1.jpg |" in card and "fixations.csv" not in card


def test_with_fixations_only_those_who_looked(recording, published):
    recording.fixations = [line for line in recording.fixations if not line.startswith("a1.png,p1")]
    options = recording.options(maps_from=published, making=MapOptions())
    built = build_dataset(options)
    assert [(row.image, row.participant, row.reason) for row in built.excluded] == [
        ("a1.png", "p1", "the participant has no fixations on this image")
    ]
    assert "descriptions of participants who have fixations on the image" in card_of(options)


@pytest.mark.parametrize("of", ["image", "leave-one-out", "trial"])
def test_a_folder_of_heatmaps_gives_the_maps_that_dataset_would_make(recording, of):
    with_described_trials(recording)
    making = MapOptions(sigma_px=4.0, maps=of)
    build_dataset(recording.options(name="made", making=making))
    options = recording.options(name="taken", maps_from=recording.folder / "maps", making=MapOptions(), fixations=None)
    make_heatmaps(
        HeatmapOptions(
            options.descriptions.with_name("fixations.csv"), options.maps_from, making, images=options.images
        )
    )
    build_dataset(options)
    made = recording.options(name="made")
    files = [
        {path.name: path.read_bytes() for path in (one.dataset_dir / one.name / "maps").iterdir()}
        for one in (made, options)
    ]
    assert files[0] == files[1] and len(files[0]) == {"image": 5, "leave-one-out": 10, "trial": 11}[of]
    names = [[row["saliencies"][0].rpartition("/")[2] for row in rows_of(one).values()] for one in (made, options)]
    assert names[0] == names[1]
    card = card_of(options)
    assert '"sigma_px": 4.0' in card and f'"maps": "{of}"' in card and "of `fixations.csv` (sha256 " in card
    whose = [next(line for line in card_of(one).splitlines() if line.startswith("- Whose:")) for one in (made, options)]
    assert ("every map is of a single person" in whose[0]) == (of != "image")
    assert ("every map is of a single person" in whose[1]) == (of != "image")
    assert record_of(made) == record_of(options) and record_of(made)["fewest_people"] == (2 if of == "image" else 1)


def test_a_map_that_maps_json_does_not_know(recording):
    """Of whom it is, nobody can say, whatever is known of the others."""
    recording.descriptions = [line for line in recording.descriptions if not line.startswith("a3")]
    options = recording.options(maps_from=recording.folder / "maps", making=MapOptions(), fixations=None)
    fixations, making = options.descriptions.with_name("fixations.csv"), MapOptions(sigma_px=4.0)
    make_heatmaps(HeatmapOptions(fixations, options.maps_from, making, images=options.images))
    (options.maps_from / "a1.png").rename(options.maps_from / "a1.tif")
    build_dataset(options)
    assert record_of(options) == {"of": "image", "fewest_people": None, "of_one_person": []}
    assert "- Whose: its `maps.json` does not name all of them." in card_of(options)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: Image.new("L", (40, 40)).save(f / "a1.jpg"), "a1.jpg, 40x40, does not have the aspect ratio of the"),
        (lambda f: Image.new("RGB", (40, 30)).save(f / "a1.jpg"), "a1.jpg is an RGB colour image; expected one greys"),
        (lambda f: (f / "a1.jpg").write_bytes((f / "a1.jpg").read_bytes()[:-40]), "a1.jpg cannot be decoded"),
        (lambda f: Image.new("L", (40, 30)).save(f / "a1.png"), "holds a1.jpg and a1.png; expected one map"),
        (lambda f: [path.unlink() for path in f.iterdir()], "excluded because there is no map a1 in FIXATIONMAPS"),
        (
            lambda f: (f / "maps.json").write_text('{"made_by": "me"}'),
            "maps.json cannot be used (ValueError: made by something else)",
        ),
    ],
)
def test_a_ready_made_map_that_cannot_be_used_is_named_and_nothing_is_written(recording, published, spoil, message):
    spoil(published)
    with pytest.raises(DataError) as error:
        build_dataset(recording.options(fixations=None, maps_from=published, making=MapOptions()))
    assert message in str(error.value)
    assert not list((recording.folder / "registry").glob("*"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fixations": None}, "Say where people looked: --fixations, of which maps are made, or --maps-from"),
        ({"maps_from": "maps", "weight": "count"}, "--sigma-px says how a map is made of fixations, but --maps-from"),
        (
            {"maps_from": "maps", "making": MapOptions(), "fixations": None, "columns": {"x": "X"}},
            "--columns names col",
        ),
        ({"maps_from": "maps", "making": MapOptions()}, "--maps-from maps is no folder"),
    ],
)
def test_options_that_do_not_go_together(recording, changes, message):
    if "maps_from" in changes:
        changes = changes | {"maps_from": type(recording.folder)(changes["maps_from"])}
    with pytest.raises(DataError, match=message):
        build_dataset(recording.options(**changes))
    assert not (recording.folder / "registry").exists()


def test_the_map_of_all_others_is_of_the_same_side(recording):
    """p3 and p4 look elsewhere; who is on the other side of a split of the participants is in no map of this side."""
    places = {"p1": (12, 17), "p2": (48, 65), "p3": (5, 46), "p4": (50, 10)}  # (row, column) on a1.png
    for one in ("p3", "p4"):
        row, column = places[one]
        recording.fixations += [f"a1.png,{one},{i},{column},{row},200" for i in range(2)]
        recording.descriptions.append(f'a1.png,{one},Object,"I see it, too."')
    options = recording.options(split="participant", test_fraction=0.5, maps="leave-one-out")
    recording.fixations = [line for line in recording.fixations if line.startswith(("image", "a1"))]
    recording.descriptions = [line for line in recording.descriptions if line.startswith(("image", "a1"))]
    build_dataset(recording.options(split="participant", test_fraction=0.5, maps="leave-one-out"))
    folder = options.dataset_dir / "small"
    for file, side in (("stage2", "train"), ("test", "test")):
        rows = json.loads((folder / f"{file}.json").read_text())
        people = {row["participant"] for row in rows}
        assert len(people) == 2
        for row in rows:
            assert row["saliencies"] == [f"small/maps/{side}/a1_without_{row['participant']}.png"]
            saliency = map_of(options, row)
            seen = {one for one, place in places.items() if saliency[place] > 0.5}
            assert seen == people - {row["participant"]}


def test_a_side_without_anybody_else_is_refused(recording):
    options = recording.options(split="participant", test_fraction=0.5, maps="leave-one-out")
    with pytest.raises(DataError, match=r"no map of the people of the training set alone \(nobody else .*\); choose"):
        build_dataset(options)
    assert not options.dataset_dir.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "participant"}, "hold the gaze of several people, so --split participant cannot keep"),
        ({"split": "both"}, "hold the gaze of several people, so --split both cannot keep"),
    ],
)
def test_ready_made_maps_of_several_people_cannot_be_divided(recording, published, changes, message):
    options = recording.options(fixations=None, maps_from=published, making=MapOptions(), **changes)
    with pytest.raises(DataError, match=message):
        build_dataset(options)


def test_ready_made_maps_that_are_named_after_people_cannot_be_coded(recording):
    recording.descriptions = [re.sub('"p[12] sees', '"I see', line) for line in recording.descriptions]
    maps = recording.folder / "maps"
    options = recording.options(maps="participant")
    make_heatmaps(HeatmapOptions(options.fixations, maps, options.making, images=options.images))
    changes = {"maps_from": maps, "making": MapOptions(), "pseudonyms": recording.folder / "salt.txt"}
    with pytest.raises(DataError, match="are named after participants, whose ids --pseudonyms takes away"):
        build_dataset(recording.options(**changes))


def test_the_table_behind_ready_made_maps_is_not_known_by_its_hash_under_codes(recording):
    recording.descriptions = [re.sub('"p[12] sees', '"I see', line) for line in recording.descriptions]
    plain = recording.options(maps_from=recording.folder / "maps", making=MapOptions())
    making = MapOptions(sigma_px=4.0)
    make_heatmaps(HeatmapOptions(plain.fixations, plain.maps_from, making, images=plain.images))
    digest = file_sha256(plain.fixations)
    for options in (plain, replace(plain, pseudonyms=recording.folder / "salt.txt")):
        build_dataset(options)
        assert (digest in card_of(options)) == (options.pseudonyms is None)


def test_durations_that_are_not_known(recording):
    """Maps by count need none; a rule on looking times does."""
    recording.fixations = [line.rpartition(",")[0] + "," if i else line for i, line in enumerate(recording.fixations)]
    with pytest.raises(DataError, match=r"how long 20 of its 20 fixations last.* use --weight count"):
        build_dataset(recording.options())
    built = build_dataset(recording.options(weight="count"))
    assert len(built.samples) == 10
    rules = replace(NO_RULES_AT_ALL, min_looking_ms=1.0)
    with pytest.raises(DataError, match="does not say how long"):
        build_dataset(recording.options(weight="count", rules=rules))
