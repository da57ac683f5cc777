"""Eye tracking in BIDS 1.11: samples, events, sidecars and what was on the screen.

No BIDS recording was at hand. These are simulated, in the layout of the specification's examples.
"""

import gzip
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from llamafactory_gaze.cli import app
from llamafactory_gaze.data.maps.geometry import PAPER_SCREEN
from llamafactory_gaze.data.recordings import choose_detection, read_recording
from llamafactory_gaze.data.tables import DataError


IVT = choose_detection("ivt")
NAME = "sub-07_ses-1_task-view"
PHYSIO = {
    "PhysioType": "eyetrack",
    "SamplingFrequency": 500,
    "StartTime": -0.5,
    "Columns": ["timestamp", "x_coordinate", "y_coordinate", "pupil_size"],
    "RecordedEye": "right",
    "SampleCoordinateSystem": "gaze-on-screen",
    "timestamp": {"Units": "ms"},
    "x_coordinate": {"Units": "pixel"},
    "y_coordinate": {"Units": "pixel"},
}
EVENTS = {"Columns": ["onset", "duration", "trial_type", "blink", "message"], "OnsetSource": "timestamp"}
SCREEN = {
    "ScreenDistance": 0.6,
    "ScreenOrigin": ["top", "left"],
    "ScreenResolution": [1024, 768],
    "ScreenSize": [0.386, 0.2895],
}
SHOWN = "onset\tduration\ttrial_type\tstim_file\n0\t1\tpicture\timages/a.png\n1\tn/a\tpicture\timages/b.png\n"


def gaze(first=7186800):
    """2.5 s at 500 Hz: 0.5 s before the first picture, then four fixations of 0.5 s; 40 ms of a blink in the third."""
    times = first + np.arange(0, 2500, 2)
    places = np.repeat([(900, 700), (100, 200), (800, 300), (500, 400), (200, 600)], 250, axis=0).astype(float)
    places += np.random.default_rng(0).normal(0, 0.3, places.shape)
    rows = [f"{t}\t{x:.2f}\t{y:.2f}\t4612.0\n" for t, (x, y) in zip(times.tolist(), places.tolist(), strict=True)]
    for i in range(850, 870):
        rows[i] = f"{times[i]}\tn/a\tn/a\t0\n"
    return rows


def write(folder, rows=None, shown=SHOWN, screen=SCREEN, tracker=None, name=NAME, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_recording-eye1_physio.tsv.gz"
    path.write_bytes(gzip.compress("".join(gaze() if rows is None else rows).encode()))
    (folder / f"{name}_recording-eye1_physio.json").write_text(json.dumps(PHYSIO | changes))
    if shown is not None:
        (folder / f"{name}_events.tsv").write_text(shown)
    (folder / f"{name}_events.json").write_text(json.dumps({"StimulusPresentation": screen} if screen else {}))
    if tracker is not None:
        (folder / f"{name}_recording-eye1_physioevents.tsv.gz").write_bytes(gzip.compress(tracker.encode()))
        (folder / f"{name}_recording-eye1_physioevents.json").write_text(json.dumps(EVENTS))
    return path


def found(recording):
    return [(f.image, f.participant, f.trial, f.index, f.eye) for f in recording.fixations]


TRIALS = [
    ("images/a.png", "07", "ses-1_task-view_1", 0, "right"),
    ("images/a.png", "07", "ses-1_task-view_1", 1, "right"),
    ("images/b.png", "07", "ses-1_task-view_2", 0, "right"),
    ("images/b.png", "07", "ses-1_task-view_2", 1, "right"),
    ("images/b.png", "07", "ses-1_task-view_2", 2, "right"),
]


def test_samples_with_their_images(tmp_path):
    recording = read_recording(write(tmp_path), detection=IVT)
    assert found(recording) == TRIALS
    places = [(100, 200), (800, 300), (500, 400), (500, 400), (200, 600)]
    for fixation, place in zip(recording.fixations, places, strict=True):
        assert np.hypot(fixation.x - place[0], fixation.y - place[1]) < 0.5
    assert [f.duration_ms for f in recording.fixations] == pytest.approx([500, 500, 200, 260, 500], abs=12)
    assert (recording.format, recording.display_px, recording.sampling_hz) == ("bids", (1024, 768), 500)
    assert "38.6 cm wide, 60 cm away" in recording.detection
    text = " ".join(recording.notes)
    assert "250 samples were taken while no image was shown" in text and "20 of 1000 samples are missing" in text


def test_the_clock_of_the_samples_is_that_of_the_sidecar(tmp_path):
    expected = read_recording(write(tmp_path), detection=IVT).fixations
    seconds = [f"{int(row.split()[0]) / 1000}\t" + row.split("\t", 1)[1] for row in gaze()]
    for units in ({"Units": "s"}, {}):
        found = read_recording(write(tmp_path, seconds, timestamp=units), detection=IVT).fixations
        assert [(f.image, f.x, f.duration_ms) for f in found] == [(f.image, f.x, f.duration_ms) for f in expected]
    with pytest.raises(DataError, match=r"the timestamps step by 0\.002 \(ms\), but its sidecar says Sampl.* 500 Hz"):
        read_recording(write(tmp_path, seconds), detection=IVT)


def test_events_of_the_tracker(tmp_path):
    first = 7186800
    tracker = (
        f"{first - 9}\tn/a\tn/a\tn/a\t\"RECCFG CR 1000\"\n{first + 10}\t300\tfixation\t0\tn/a\n"
        f"{first + 500}\t500\tfixation\t0\tn/a\n{first + 990}\t20\tsaccade\t0\tn/a\n"
        f"{first + 1500}\t500\tfixation\t1\tn/a\n"
    )  # fmt: skip
    write(tmp_path, tracker=tracker)
    path = tmp_path / f"{NAME}_recording-eye1_physioevents.tsv.gz"
    recording = read_recording(path)
    assert found(recording) == [TRIALS[0], TRIALS[2]]
    assert [f.duration_ms for f in recording.fixations] == [500, 500]
    means = [(100, 200), (500, 400)]
    assert [(f.x, f.y) for f in recording.fixations] == [pytest.approx(mean, abs=0.2) for mean in means]
    assert any("1 fixations began while no image was shown" in note for note in recording.notes)

    columns = ["onset", "duration", "trial_type", "gx", "gy"]
    path.write_bytes(gzip.compress(f"{first + 500}\t0.5\tFixation\t12.5\t-3\n".encode()))
    sidecar = path.with_name(path.name.replace(".tsv.gz", ".json"))
    sidecar.write_text(json.dumps(EVENTS | {"Columns": columns, "duration": {"Units": "s"}}))
    fixation = read_recording(path, columns={"x": "gx", "y": "gy"}).fixations[0]
    assert (fixation.x, fixation.y, fixation.duration_ms, fixation.image) == (12.5, -3, 500, "images/a.png")
    sidecar.write_text(json.dumps(EVENTS | {"Columns": columns}))
    with pytest.raises(DataError, match="no fixation lasts 5 ms; if its durations are in another unit"):
        read_recording(path)


def test_sidecars_are_inherited_and_images_are_optional(tmp_path):
    path = write(tmp_path / "sub-07" / "ses-1" / "beh", shown=None)
    own = path.with_name(path.name.replace(".tsv.gz", ".json"))
    own.write_text(json.dumps({"RecordedEye": "left"}))
    (tmp_path / "task-view_physio.json").write_text(json.dumps(PHYSIO))
    (tmp_path / "task-other_physio.json").write_text("{")  # not of this task
    with pytest.raises(DataError, match="needs the screen's geometry"):
        read_recording(path, detection=IVT)
    recording = read_recording(path, detection=choose_detection("ivt", screen=PAPER_SCREEN))
    assert {(f.image, f.trial, f.eye) for f in recording.fixations} == {("", "ses-1_task-view_1", "left")}
    assert "There is no sub-07_ses-1_task-view_events.tsv, so the column image is empty." in recording.notes


def test_the_column_of_the_images(tmp_path):
    shown = SHOWN.replace("stim_file", "picture")
    path = write(tmp_path, shown=shown)
    assert {f.image for f in read_recording(path, detection=IVT).fixations} == {"picture"}  # trial_type
    chosen = read_recording(path, detection=IVT, columns={"image": "picture"})
    assert found(chosen) == TRIALS
    with pytest.raises(DataError, match=r"lacks the column no; .*--columns image=NAME"):
        read_recording(path, detection=IVT, columns={"image": "no"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"PhysioType": "generic"}, 'says PhysioType "generic"; expected "eyetrack"'),
        ({"SampleCoordinateSystem": "eye-in-head"}, 'expected "gaze-on-screen"'),
        ({"x_coordinate": {"Units": "degree"}}, 'says Units "degree" of x_coordinate; expected "pixel"'),
        ({"Columns": ["timestamp", "x_coordinate"]}, "lacks the column y_coordinate"),
        ({"Columns": "timestamp"}, "has no list Columns"),
        ({"Columns": ["timestamp"] * 2 + ["x_coordinate", "y_coordinate"]}, "names the column timestamp twice"),
        ({"SamplingFrequency": 0}, "says SamplingFrequency 0; expected a number above 0"),
        ({"SamplingFrequency": 10**400}, "expected a number above 0"),
        ({"SamplingFrequency": None}, "says SamplingFrequency null"),
        ({"SamplingFrequency": 100}, "says SamplingFrequency 100 Hz; expected Units ms or s that agree"),
        ({"StartTime": "noon"}, "says StartTime noon; expected seconds"),
        ({"RecordedEye": "both"}, "says RecordedEye both; expected left, right or cyclopean"),
        ({"timestamp": {"Units": "parsec"}}, r"step by 2 \(parsec\)"),
        ({"screen": SCREEN | {"ScreenOrigin": ["center", "center"]}}, r"ScreenOrigin is .*expected \[.top., .left.\]"),
        ({"screen": SCREEN | {"ScreenSize": "n/a"}}, "needs ScreenResolution"),
        ({"screen": SCREEN | {"ScreenSize": [0.386, 0.1]}}, "differ in shape"),
        ({"shown": "onset\tduration\tstim_file\nx\t1\ta.png\n"}, "line 2: onset is 'x', expected a number"),
        ({"shown": "onset\tduration\tstim_file\n0\t-1\ta.png\n"}, "line 2: duration is -1, expected 0"),
        ({"shown": "onset\tduration\tstim_file\n0\t1\tn/a\n"}, "names no image in its column stim_file"),
        ({"rows": ["7\t1\t1\t1\n"]}, "holds no two rows with increasing timestamps"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(tmp_path, changes, message):
    with pytest.raises(DataError, match=message) as error:
        read_recording(write(tmp_path, **changes), detection=IVT)
    assert "\n" not in str(error.value)


def test_bad_rows_missing_sidecars_and_other_names(tmp_path):
    rows = gaze()
    rows[500] = "7187800\tx\t5\t5\n"
    rows[700] = "7188200\t5\t5\n"
    path = write(tmp_path, rows)
    with pytest.raises(
        DataError, match=r"because of 2 lines(?s:.*)line 501: x_coordinate is 'x'(?s:.*)line 701: it has 3"
    ):
        read_recording(path, detection=IVT)
    assert read_recording(path, detection=IVT, skip_bad_lines=True).skipped == 2
    with pytest.raises(DataError, match="holds raw samples; say how"):
        read_recording(path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataError, match=r"line \d+: the compressed file is cut off or damaged there"):
        read_recording(path, detection=IVT)
    path.with_name(path.name.replace(".tsv.gz", ".json")).unlink()
    with pytest.raises(DataError, match=r"has no sidecar; expected sub-07_.*_physio\.json beside it"):
        read_recording(path, detection=IVT)
    draft = tmp_path / "sub-07_task-view_eyetrack.tsv"
    draft.write_text("eye_timestamp\n1\n")
    with pytest.raises(DataError, match=r"of a draft: --format samples with --columns"):
        read_recording(draft)


def test_both_eyes_make_a_column(tmp_path):
    first = write(tmp_path)
    second = tmp_path / first.name.replace("eye1", "eye2")
    second.write_bytes(first.read_bytes())
    second.with_name(second.name.replace(".tsv.gz", ".json")).write_text(json.dumps(PHYSIO | {"RecordedEye": "left"}))
    arguments = ["fixations", str(first), str(second), "--output", str(tmp_path / "f.csv"), "--detect", "ivt"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    header, *lines = (tmp_path / "f.csv").read_text().splitlines()
    assert header.endswith(",eye") and [line.rsplit(",")[-1] for line in lines] == ["right"] * 5 + ["left"] * 5
    assert "pymovements" in result.output
