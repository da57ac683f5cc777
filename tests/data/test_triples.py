"""Data sets of triples as a whole: exclusions, review, cleaned speech, splits and codes, in the files that are made."""

import csv
import json
import re
import shutil
import stat
from dataclasses import replace

import pytest
import yaml

from llamafactory_gaze.data.provenance import file_sha256
from llamafactory_gaze.data.speech.cleaning import restore
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.data.triples import build as build_module
from llamafactory_gaze.data.triples.build import build_dataset
from llamafactory_gaze.data.triples.dataset_maps import maps_of
from llamafactory_gaze.data.triples.exclusions import NO_RULES, Rules
from llamafactory_gaze.data.triples.inputs import read_inputs
from llamafactory_gaze.data.triples.options import Statements
from llamafactory_gaze.data.triples.samples import judge
from llamafactory_gaze.data.triples.split import check_split
from llamafactory_gaze.export.card import read_sources
from llamafactory_gaze.saliency import read_saliency_map


IMAGES = ("a1", "a2", "a3", "b1", "b2")
ALL = {f"{image}_{participant}" for image in IMAGES for participant in ("p1", "p2")}


def read(folder, name):
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def table(folder, name):
    with (folder / name).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def rows_of(folder):
    return read(folder, "stage2") + read(folder, "test")


def ids(folder):
    return {row["id"] for row in rows_of(folder)}


def write_review(folder, **changes):
    """Fill in `review.csv`: id -> (verdict, note)."""
    lines = table(folder, "review.csv")
    for line in lines:
        line["verdict"], line["note"] = changes.pop(line["id"], (line["verdict"], line["note"]))
    assert not changes
    with (folder / "review.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, lines[0])
        writer.writeheader()
        writer.writerows(lines)


def describe(recording, image, participant, text):
    """Change what somebody says."""
    (at,) = (i for i, line in enumerate(recording.descriptions) if line.startswith(f"{image},{participant},"))
    recording.descriptions[at] = ",".join(recording.descriptions[at].split(",")[:3]) + f',"{text}"'


def add_people(recording, *participants):
    """More participants, who look at the middle and talk alike."""
    for line in recording.descriptions[1:]:
        image, participant, category, _ = line.split(",", 3)
        for one in participants if participant == "p1" else ():
            recording.descriptions.append(f'{image},{one},{category},"{one} also sees it, plainly."')
            recording.fixations += [f"{image},{one},{i},{45 + i},5,200" for i in range(3)]


def test_every_exclusion_is_listed_with_its_rule(recording):
    recording.fixations = [line for line in recording.fixations if not line.startswith("a1.png,p1,1")]
    recording.fixations += [f"a2.png,p2,9,-{i}0,5,90" for i in range(1, 4)]
    describe(recording, "b1.png", "p1", "A dog [inaudible] here.")
    describe(recording, "b1.png", "p2", "There is a man who...")
    describe(recording, "b2.png", "p1", "Two words.")
    options = recording.options(rules=Rules())
    built = build_dataset(options)
    folder = built.folder
    assert [(line["id"], line["rule"], line["found"], line["required"]) for line in table(folder, "excluded.csv")] == [
        ("a1_p1", "fixations", "1 fixation on the image", "at least 2"),
        ("a2_p2", "share on the image", "40% of the fixations (2 of 5) on the image", "at least 50%"),
        ("b1_p1", "inaudible", "'[inaudible]' in the description", "no mark of inaudible speech"),
        ("b1_p2", "incomplete", "'...' in the description", "a complete description"),
        ("b2_p1", "words", "2 words", "at least 3"),
    ]
    assert table(folder, "excluded.csv")[0]["row"] == "descriptions.csv, line 2"
    assert ids(folder) == ALL - {line["id"] for line in table(folder, "excluded.csv")}
    card = (folder / "README.md").read_text()
    assert "| share on the image | 1 |" in card and "at least 2 fixations of the speaker on the image" in card

    # The bad recordings are in no map; those of a bad description are.
    maps = {name: read_saliency_map(folder / "maps" / f"{name}.png") for name in ("a1", "a2", "b2")}
    assert maps["a1"][12, 16] < 0.01 and maps["a2"][48, 64] < 0.01
    assert maps["b2"][6, 19] > 0.9
    counts = built.fixations
    assert (counts["read"], counts["off_image"], counts["breaks_rule"]) == (22, 3, 3)
    # b1 has no sample, so its 4 fixations are in no map either.
    assert (counts["used"], counts["in_no_map"]) == (12, 4)


def test_a_map_that_is_an_artefact(recording):
    recording.fixations += ["a1.png,p1,2,5,5,9000"]
    own = build_dataset(recording.options(maps="participant", rules=replace(NO_RULES, max_one_fixation=0.9)))
    assert [(row.id, row.rule) for row in own.excluded] == [("a1_p1", "map in one fixation")]
    of_all = build_dataset(recording.options(maps="image", rules=replace(NO_RULES, max_one_fixation=0.9)))
    assert [(row.id, row.rule) for row in of_all.excluded] == [
        ("a1_p1", "map in one fixation"),
        ("a1_p2", "map in one fixation"),
    ]
    assert not build_dataset(recording.options(maps="image", weight="count", rules=Rules(min_words=0))).excluded


def test_rules_that_leave_nothing(recording):
    with pytest.raises(DataError, match=r"line 2 is excluded because 2 fixations .*do the rules on exclusions fit"):
        build_dataset(recording.options(rules=Rules(min_fixations=3)))


def test_the_review_is_merged_back(recording):
    recording.fixations = [line for line in recording.fixations if not line.startswith(("a1.png,p1,1", "a2.png,p1"))]
    options = recording.options(rules=Rules())
    folder = build_dataset(options).folder
    reasons = {line["id"]: line["automatic_reason"] for line in table(folder, "review.csv")}
    assert set(reasons) == ALL
    assert {id: reason for id, reason in reasons.items() if reason} == {
        "a1_p1": "1 fixation on the image; required: at least 2",
        "a2_p1": "the participant has no fixations on this image",
    }
    one_map = read_saliency_map(folder / "maps" / "a1.png")
    write_review(
        folder,
        a1_p1=("accept", "one long look"),
        a2_p1=("accept", "please"),
        b1_p2=("reject", "coughs"),
        b2_p1=("", "hm"),
    )
    built = build_dataset(options)
    assert ids(folder) == ALL - {"a2_p1", "b1_p2"}
    assert [(row.id, row.rule, row.reason) for row in built.excluded] == [
        ("a2_p1", "no map", "the participant has no fixations on this image"),
        ("b1_p2", "review", "rejected in the review"),
    ]
    assert "2 accepted, 1 rejected, 7 without a verdict" in (folder / "README.md").read_text()
    # Notes may say what nobody else is to read, and everything but this file may be published.
    assert [path.name for path in folder.rglob("*") if path.is_file() and b"coughs" in path.read_bytes()] == [
        "review.csv"
    ]
    # What is accepted against a rule on fixations is in the map again.
    assert one_map[12, 16] < 0.01 < 0.2 < read_saliency_map(folder / "maps" / "a1.png")[12, 16]

    # Nothing is lost under --overwrite, or when the sample goes.
    recording.descriptions = [line for line in recording.descriptions if not line.startswith("b1.png,p2")]
    build_dataset(recording.options(rules=Rules(), overwrite=True))
    kept = {line["id"]: line for line in table(folder, "review.csv")}
    assert (kept["b1_p2"]["verdict"], kept["b1_p2"]["note"]) == ("reject", "coughs")
    assert kept["b1_p2"]["automatic_reason"] == "no longer among the descriptions"
    assert (kept["a1_p1"]["verdict"], kept["b2_p1"]["note"]) == ("accept", "hm")
    assert len(kept) == 10


def test_a_review_from_elsewhere(recording, tmp_path):
    folder = build_dataset(recording.options()).folder
    shutil.copy(folder / "review.csv", tmp_path / "of_anna.csv")
    write_review(folder, a1_p1=("reject", "mine"), a2_p1=("reject", "mine"))
    shutil.copytree(folder, tmp_path / "copy")
    write_review(tmp_path / "copy", a1_p1=("accept", "hers"), a2_p1=("", ""), b1_p1=("reject", "hers"))
    build_dataset(recording.options(review=tmp_path / "copy" / "review.csv"))
    assert ids(folder) == ALL - {"a2_p1", "b1_p1"}
    assert {line["id"]: line["note"] for line in table(folder, "review.csv") if line["note"]} == {
        "a1_p1": "hers",
        "a2_p1": "mine",
        "b1_p1": "hers",
    }


def test_a_review_survives_a_crash(recording):
    """Killed between setting the former folder aside and moving the new one in: the next run finds the former one."""
    options = recording.options()
    folder = build_dataset(options).folder
    write_review(folder, a1_p1=("reject", "mine"))
    folder.rename(folder.with_name(".small.former-0123abcd"))
    build_dataset(options)
    assert ids(folder) == ALL - {"a1_p1"}
    # Killed before the former folder was removed: the next run removes it.
    shutil.copytree(folder, folder.with_name(".small.former-4567cdef"))
    build_dataset(options)
    assert {path.name for path in options.dataset_dir.iterdir()} == {"small", "dataset_info.json"}
    assert ids(folder) == ALL - {"a1_p1"}


def test_a_review_that_is_saved_meanwhile_is_not_lost(recording, monkeypatch):
    options = recording.options()
    folder = build_dataset(options).folder
    contact_sheet = build_module.contact_sheet

    def slow(*arguments, **keywords):
        write_review(folder, a1_p1=("reject", "just now"))
        return contact_sheet(*arguments, **keywords)

    monkeypatch.setattr(build_module, "contact_sheet", slow)
    with pytest.raises(DataError, match=r"review\.csv was changed while the data set was made; run the command again"):
        build_dataset(options)
    assert table(folder, "review.csv")[0]["note"] == "just now"


def test_a_wrong_verdict_stops_before_anything_is_done(recording):
    folder = build_dataset(recording.options()).folder
    write_review(folder, a1_p2=("perhaps", ""))
    before = (folder / "review.csv").read_bytes()
    with pytest.raises(DataError, match=r"review\.csv, line 3: the verdict is 'perhaps'"):
        build_dataset(recording.options(overwrite=True))
    assert (folder / "review.csv").read_bytes() == before and ids(folder) == ALL


def test_cleaned_speech_can_be_undone(recording):
    describe(recording, "a1.png", "p1", "Um, there is the the dog.")
    describe(recording, "a2.png", "p1", "Um, uh.")
    folder = build_dataset(recording.options(clean_speech=True)).folder
    rows = {row["id"]: row for row in rows_of(folder)}
    assert set(rows) == ALL - {"a2_p1"}  # nothing is left of it, although no rule asks for words
    assert rows["a1_p1"]["conversations"][1]["value"] == "There is the dog."
    assert rows["a1_p1"]["spoken"] == "Um, there is the the dog."
    for row in rows.values():
        assert restore(row["conversations"][1]["value"], row["removed"]) == row["spoken"]
    assert "Fillers and restarts **were taken out**" in (folder / "README.md").read_text()

    (recording.folder / "fillers.txt").write_text("plainly\n")
    folder = build_dataset(recording.options(clean_speech=True, fillers=recording.folder / "fillers.txt")).folder
    assert {row["id"]: row for row in rows_of(folder)}["b1_p1"]["conversations"][1]["value"] == "p1 sees b1.png."
    folder = build_dataset(recording.options()).folder
    assert all("spoken" not in row for row in rows_of(folder))
    with pytest.raises(DataError, match="--fillers says what --clean-speech takes out"):
        build_dataset(recording.options(fillers=recording.folder / "fillers.txt"))


def test_timed_words_and_people_are_fields(recording):
    options = recording.options()
    transcripts = [
        {
            "image": f"{name}",
            "participant": one,
            "words": [{"word": "A", "start": 0, "end": 0.5}],
            "text": "A cup there.",
        }
        for name in ("a1.png", "b1.png")
        for one in ("p1", "p2")
    ]
    (recording.folder / "speech.json").write_text(json.dumps({"segments": transcripts}))
    (recording.folder / "people.csv").write_text("participant,age\np1,31\np2,47\n")
    changes = {"descriptions": recording.folder / "speech.json", "participants_table": recording.folder / "people.csv"}
    folder = build_dataset(replace(options, **changes)).folder
    assert {(row["id"], row["age"]) for row in rows_of(folder)} == {
        ("a1_p1", "31"),
        ("a1_p2", "47"),
        ("b1_p1", "31"),
        ("b1_p2", "47"),
    }
    assert all(row["words"] == [{"word": "A", "start": 0.0, "end": 0.5}] for row in rows_of(folder))
    card = (folder / "README.md").read_text()
    assert "Further fields of the rows: age, words." in card and "| people.csv | " in card


def test_a_split_by_participant_has_maps_of_each_side(recording):
    add_people(recording, "p3")
    folder = build_dataset(recording.options(split="participant", test_fraction=0.3, seed=1)).folder
    training, test = read(folder, "stage2"), read(folder, "test")
    check_split(training, test, "participant")
    (tested,) = {row["participant"] for row in test}
    assert {row["participant"] for row in training} == {"p1", "p2", "p3"} - {tested}
    assert len(training) == 10 and len(test) == 5
    places = {"p1": (12, 17), "p2": (48, 65), "p3": (5, 46)}  # (row, column) on a1
    for rows, side in ((training, "train"), (test, "test")):
        assert {row["saliencies"][0] for row in rows} == {f"small/maps/{side}/{image}.png" for image in IMAGES}
        saliency = read_saliency_map(folder / "maps" / side / "a1.png")
        seen = {participant for participant, place in places.items() if saliency[place] > 0.3}
        assert seen == {row["participant"] for row in rows}
        assert all(saliency[places[other]] < 1e-3 for other in set(places) - seen)
    record = read(folder, "splits")
    assert (record["by"], record["seed"], record["test_fraction"]) == ("participant", 1, 0.3)
    assert record["splits"][0]["test"] == {"rows": 5, "images": list(IMAGES), "participants": [tested]}


def test_own_maps_need_no_sides(recording):
    add_people(recording, "p3")
    folder = build_dataset(recording.options(split="participant", maps="participant")).folder
    assert {row["saliencies"][0] for row in rows_of(folder)} == {
        f"small/maps/{image}_{one}.png" for image in IMAGES for one in ("p1", "p2", "p3")
    }


def test_who_is_in_neither_set_has_no_map(recording):
    add_people(recording, "p3", "p4")
    folder = build_dataset(recording.options(split="both", test_fraction=0.5, maps="participant")).folder
    made = {f"small/maps/{path.relative_to(folder / 'maps')}" for path in (folder / "maps").rglob("*.png")}
    assert made == {row["saliencies"][0] for row in rows_of(folder)} and len(made) == 10


def test_a_split_by_both_leaves_mixed_pairs_out(recording):
    add_people(recording, "p3", "p4")
    built = build_dataset(recording.options(split="both", test_fraction=0.5))
    training, test = read(built.folder, "stage2"), read(built.folder, "test")
    check_split(training, test, "both")
    (record,) = read(built.folder, "splits")["splits"]
    assert len(training) == 3 * 2 and len(test) == 2 * 2 and len(record["in_neither"]) == 10
    assert ids(built.folder) | set(record["in_neither"]) == {
        f"{i}_{p}" for i in IMAGES for p in ("p1", "p2", "p3", "p4")
    }
    assert "or the reverse: 10." in (built.folder / "README.md").read_text()
    assert {path.relative_to(built.folder / "maps").as_posix() for path in (built.folder / "maps").rglob("*.png")} == {
        row["saliencies"][0].removeprefix("small/maps/") for row in training + test
    }


def test_an_empty_side_is_refused(recording):
    recording.descriptions = [
        line for line in recording.descriptions if not line.startswith(("a1.png,p2", "a2.png,p1"))
    ]
    recording.descriptions = [line for line in recording.descriptions if not line.startswith(("a3", "b"))]
    with pytest.raises(DataError, match="set would be empty: none of its participants described one of its images"):
        for seed in range(8):
            build_dataset(recording.options(split="both", test_fraction=0.5, seed=seed))


@pytest.mark.parametrize("by", ["image", "participant"])
def test_folds(recording, by):
    add_people(recording, "p3", "p4")
    built = build_dataset(recording.options(split=by, folds=2))
    folder, registry = built.folder, json.loads((built.options.dataset_dir / "dataset_info.json").read_text())
    assert {name: entry["file_name"] for name, entry in registry.items()} == {
        f"small_fold{k}_{name}": f"small/fold{k}/{name}.json" for k in (1, 2) for name in ("stage1", "stage2", "test")
    }
    everything = {f"{i}_{p}" for i in IMAGES for p in ("p1", "p2", "p3", "p4")}
    tests = []
    for k in (1, 2):
        training, test = read(folder, f"fold{k}/stage2"), read(folder, f"fold{k}/test")
        check_split(training, test, by)
        assert {row["id"] for row in training} | {row["id"] for row in test} == everything
        assert all((built.options.dataset_dir / row["saliencies"][0]).is_file() for row in training + test)
        tests += [row["id"] for row in test]
    assert sorted(tests) == sorted(everything)
    if by == "image":
        assert [{row["category"] for row in read(folder, f"fold{k}/test")} for k in (1, 2)] == [
            {"Object", "Social"}
        ] * 2
    assert built.fixations["in_no_map"] == 0
    assert read(folder, "splits")["folds"] == 2 and not (folder / "test.json").exists()

    # Back to one test set: the entries of the folds go, those of others stay.
    registry["other"] = {"file_name": "small/fold1/test.json"}
    (built.options.dataset_dir / "dataset_info.json").write_text(json.dumps(registry))
    build_dataset(recording.options())
    registry = json.loads((built.options.dataset_dir / "dataset_info.json").read_text())
    assert set(registry) == {"other", "small_stage1", "small_stage2", "small_test"}


def test_equal_files_are_on_the_same_side(recording):
    for line in [line for line in recording.descriptions if line.startswith("a1.png")]:
        recording.descriptions.append(line.replace("a1.png", "c1.png", 1))
    recording.fixations += [line.replace("a1", "c1", 1) for line in recording.fixations if line.startswith("a1")]
    shutil.copy(recording.folder / "photographs/a1.png", recording.folder / "photographs/c1.png")
    sides = set()
    for seed in range(6):
        folder = build_dataset(recording.options(seed=seed)).folder
        rows = {row["image_id"]: (side, row) for side in ("stage2", "test") for row in read(folder, side)}
        assert rows["a1"][0] == rows["c1"][0]
        assert rows["a1"][1]["same_image_as"] == rows["c1"][1]["same_image_as"] == "a1"
        assert "same_image_as" not in rows["a2"][1]
        sides.add(rows["a1"][0])
    assert sides == {"stage2", "test"}
    assert read(folder, "splits")["same_images"] == [["a1.png", "c1.png"]]
    assert "2 files hold 1 picture between them" in (folder / "README.md").read_text()


def coded(recording, **changes):
    """Options with codes, of descriptions that name nobody."""
    recording.descriptions = [
        line.replace('"p1 sees', '"I see').replace('"p2 sees', '"I see') for line in recording.descriptions
    ]
    return recording.options(**({"pseudonyms": recording.folder / "salt.txt"} | changes))


def test_no_id_is_in_the_folder(recording):
    ids = {"p1": "subject-7", "p2": "Änne_2"}
    (recording.folder / "people.csv").write_text("participant,age\n" + "".join(f"{one},31\n" for one in ids.values()))
    options = coded(recording, maps="participant", participants_table=recording.folder / "people.csv", rules=Rules())
    describe(recording, "a1.png", "p1", "Nothing.")
    for old, new in ids.items():
        recording.fixations = [line.replace(f",{old},", f",{new},") for line in recording.fixations]
        recording.descriptions = [line.replace(f",{old},", f",{new},") for line in recording.descriptions]
    folder = build_dataset(
        replace(
            recording.options(),
            **{name: getattr(options, name) for name in ("pseudonyms", "making", "participants_table", "rules")},
        )
    ).folder
    assert stat.S_IMODE(options.pseudonyms.stat().st_mode) == 0o600
    assert len(table(folder, "excluded.csv")) == 1 and len(list((folder / "maps").iterdir())) == 9
    for path in folder.rglob("*"):
        content = path.name.encode() + (path.read_bytes() if path.is_file() else b"")
        for one in ids.values():
            assert one.encode() not in content and one.encode("unicode_escape") not in content, path
    people = {row["participant"] for row in rows_of(folder)}
    assert len(people) == 2 and all(len(one) == 9 and one[0] == "p" for one in people)
    card = (folder / "README.md").read_text()
    assert "Participants **are codes**" in card and "people.csv" not in card  # its hash could be guessed


def test_names_of_recordings_are_left_out_under_codes(recording):
    """They tell ids in forms that nobody can search for: initials, dates of a session."""
    recording.descriptions[0] += ",audio,room"
    recording.descriptions[1:] = [f"{line},JD_{i}.wav,A" for i, line in enumerate(recording.descriptions[1:])]
    folder = build_dataset(coded(recording)).folder
    assert all(row["room"] == "A" and "audio" not in row for row in rows_of(folder) + read(folder, "stage1"))


def test_the_folder_does_not_tell_the_order_of_the_ids(recording, tmp_path):
    """Whoever knows that a table is sorted by ids such as s01, s02, ... could otherwise count the codes off."""
    (tmp_path / "people.csv").write_text("participant,age\n" + "".join(f"p{i},31\n" for i in range(1, 9)))
    recording.descriptions += [f"b1.png,p{i},Social,I see {i} cups." for i in range(3, 9)]
    recording.fixations += [f"b1.png,p{i},{j},{8 * i + j},9,100" for i in range(3, 9) for j in range(2)]
    describe(recording, "a1.png", "p1", "Nothing.")
    describe(recording, "a1.png", "p2", "Nothing.")
    gone = [f"b1.png,p{i}," for i in (7, 8)]
    found = []
    for step in (1, -1):
        options = coded(recording, rules=Rules(), participants_table=tmp_path / "people.csv")
        folder = build_dataset(replace(options, pseudonyms=None)).folder
        write_review(folder, b1_p7=("reject", ""), b1_p8=("reject", ""))
        kept = [line for line in recording.descriptions[1:] if not line.startswith(tuple(gone))]
        options.descriptions.write_text("\n".join([recording.descriptions[0], *kept[::step]]) + "\n")
        assert len(build_dataset(options).excluded) == 2
        found.append({path: path.read_bytes() for path in folder.rglob("*") if path.is_file()})
        shutil.rmtree(folder)
        recording.descriptions = [recording.descriptions[0], *recording.descriptions[:0:-1]]
    assert found[0] == found[1]
    hashes = {file_sha256(path) for path in (options.fixations, options.descriptions, options.participants_table)}
    card = found[0][folder / "README.md"].decode()
    assert not any(digest in card for digest in hashes) and ", line " not in card


def test_the_preview_shows_codes(recording, monkeypatch):
    shown = []
    contact_sheet = build_module.contact_sheet
    monkeypatch.setattr(
        build_module, "contact_sheet", lambda rows, *a, **k: shown.append(rows) or contact_sheet(rows, *a, **k)
    )
    folder = build_dataset(coded(recording)).folder
    (rows,) = shown
    assert {row["participant"] for row in rows["stage2"] + rows["test"]} == {
        row["participant"] for row in rows_of(folder)
    }
    assert not {"p1", "p2"} & {row["participant"] for row in rows_of(folder)}


def test_reviews_live_on_under_codes(recording):
    options = coded(recording)
    plain = replace(options, pseudonyms=None)
    folder = build_dataset(plain).folder
    write_review(folder, a1_p1=("reject", "cough"))
    build_dataset(options)
    (line,) = (line for line in table(folder, "review.csv") if line["verdict"])
    assert line["participant"] not in ("p1", "p2") and line["id"] == f"a1_{line['participant']}"
    assert len(rows_of(folder)) == 9
    write_review(folder, **{f"a2_{line['participant']}": ("reject", "laugh")})
    build_dataset(options)
    assert len(rows_of(folder)) == 8
    assert sum(bool(line["verdict"]) for line in table(folder, "review.csv")) == 2
    options.pseudonyms.unlink()
    with pytest.raises(DataError, match=r"is kept under codes, but the salt file .*salt\.txt does not exist"):
        build_dataset(options)
    assert not options.pseudonyms.exists()


@pytest.mark.parametrize("leak", ["note", "description", "column"])
def test_an_id_that_would_leak_is_refused(recording, leak):
    options = coded(recording)
    folder = build_dataset(options).folder
    if leak == "note":
        code = next(line["participant"] for line in table(folder, "review.csv") if line["image"] == "a1.png")
        write_review(folder, **{f"a1_{code}": ("", "ask p1 again")})
    elif leak == "description":
        describe(recording, "a1.png", "p2", "I am p2 and see a cup.")
    else:
        recording.descriptions = [f"{line},{'take' if i == 0 else i}" for i, line in enumerate(recording.descriptions)]
        recording.descriptions[1] = recording.descriptions[1].removesuffix(",1") + ",a1_p1.wav"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(DataError, match=r"would contain the participant's id p[12] .*so --pseudonyms would be in vain"):
        build_dataset(recording.options(pseudonyms=options.pseudonyms))
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_the_card_says_what_is_not_stated(recording):
    folder = build_dataset(recording.options()).folder
    card = (folder / "README.md").read_text()
    assert card.count("**not stated**") == 4 and "no map is of a single person." in card
    assert "10 samples: 5 images, 2 people." in card
    header = yaml.safe_load(card.split("---\n")[1])
    assert "license" not in header and header["task_categories"] == ["image-to-text"]
    assert {one["data_files"] for one in header["configs"]} == {"stage1.json", "stage2.json", "test.json"}

    said = Statements("for research: yes", "CC BY-SA 4.0", "Doe | Roe", "lab@example.org")
    card = (build_dataset(recording.options(statements=said, maps="participant")).folder / "README.md").read_text()
    assert "**not stated**" not in card and "every map is of a single person; maps of" in card
    assert "| consent of the participants | for research: yes |" in card and "Doe \\| Roe" in card
    assert yaml.safe_load(card.split("---\n")[1])["license"] == "cc-by-sa-4.0"
    own = Statements(licence="only: for # us")
    header = (build_dataset(recording.options(statements=own)).folder / "README.md").read_text().split("---\n")[1]
    assert yaml.safe_load(header)["license"] == "other" and yaml.safe_load(header)["license_name"] == "only: for # us"


@pytest.mark.parametrize("of", ["image", "participant", "leave-one-out"])
def test_what_model_cards_repeat_names_nobody(recording, of):
    """A model may be published where its data are not."""
    recording.fixations = [line for line in recording.fixations if not line.startswith("a1.png,p1,")]
    folder = build_dataset(recording.options(maps=of)).folder
    maps = read_sources("me/model", data=str(folder)).maps
    assert "of a single person; maps of single persons are personal data" in maps
    assert not {"p1", "p2"} & set(re.split(r"[^\w]|_", maps))


def test_osie_loses_nothing_by_the_defaults(osie, recording):
    files = {"fixations": osie / "fixations.csv", "descriptions": osie / "descriptions.csv", "rules": Rules()}
    options = replace(recording.options(maps="participant", sigma_px=24), **files)
    inputs = read_inputs(options)
    sizes = {one.image: (800, 600) for one in inputs.descriptions}
    judged = judge(inputs, maps_of(options, inputs.fixations, sizes), options)
    assert judged.excluded == [] and len(judged.samples) == 100
    counts = judged.maps.counts(judged.maps.plan.maps)
    assert counts["used"] == counts["read"] == 3460
