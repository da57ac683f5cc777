"""Fixations out of samples: those of a made recording that are known, and those that a tracker found itself.

The made recordings are simulated: fixations of known place and length, saccades between them after a minimum-jerk
course, and the noise of a tracker.
"""

import gzip
import math
import os
import sys
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from llamafactory_gaze.data.maps.geometry import PAPER_SCREEN, Screen
from llamafactory_gaze.data.recordings import choose_detection, read_recording
from llamafactory_gaze.data.recordings import detection as detection_module
from llamafactory_gaze.data.tables import DataError


IVT = choose_detection("ivt", screen=PAPER_SCREEN)
IDT = choose_detection("idt", screen=PAPER_SCREEN)
HEADER = "time,image,participant,trial,x,y\n"


def made(seed, count, hz=1000, noise=0.3):
    """Times in ms, places (n, 2) and the true fixations (first time, x, y, ms) of a simulated trial."""
    rng = np.random.default_rng(seed)
    step, places, truth = 1000 / hz, [], []
    targets = [rng.uniform((200, 200), (1700, 900))]
    while len(targets) < count:
        new = rng.uniform((200, 200), (1700, 900))
        if np.linalg.norm(new - targets[-1]) > 250:
            targets.append(new)
    for i, target in enumerate(targets):
        if i:
            share = np.linspace(0, 1, round(40 / step) + 2)[1:-1, None]
            places.append(targets[i - 1] + (target - targets[i - 1]) * (10 - 15 * share + 6 * share**2) * share**3)
        n = int(rng.integers(200, 500) / step)
        truth.append((sum(map(len, places)) * step, *target, n * step))
        places.append(np.tile(target, (n, 1)))
    track = np.concatenate(places)
    return np.arange(len(track)) * step, track + rng.normal(0, noise, track.shape), truth


def rows(times, places, image="i.png", participant="p1", trial="1"):
    return [
        f"{time:.10g},{image},{participant},{trial},{x:.2f},{y:.2f}\n"
        for time, (x, y) in zip(times.tolist(), places.tolist(), strict=True)
    ]


def write(tmp_path, lines, name="gaze.csv"):
    path = tmp_path / name
    text = HEADER + "".join(lines)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def differences(found, truth):
    assert len(found) == len(truth)
    places = [math.hypot(f.x - x, f.y - y) for f, (_, x, y, _) in zip(found, truth, strict=True)]
    lengths = [f.duration_ms - lasts for f, (*_, lasts) in zip(found, truth, strict=True)]
    return max(places), min(lengths), max(lengths)


@pytest.mark.parametrize("hz", [250, 500, 1000])
def test_ivt_finds_the_fixations_of_a_made_recording(tmp_path, hz):
    times, places, truth = made(hz, 12, hz)
    recording = read_recording(write(tmp_path, rows(times, places)), detection=IVT)
    place, shorter, longer = differences(recording.fixations, truth)
    # A saccade begins and ends slowly, below 30 degrees per second, so that a fixation is found a little longer.
    assert place < 1 and -3 * 1000 / hz <= shorter and longer <= 12
    assert (recording.format, recording.sampling_hz, recording.pixels_of) == ("samples", hz, "screen")
    assert [f.index for f in recording.fixations] == list(range(12))
    assert "pymovements" in recording.detection and "30 degrees per second for at least 60 ms" in recording.detection


def test_idt_finds_the_same_within_its_dispersion(tmp_path):
    times, places, truth = made(3, 12)
    recording = read_recording(write(tmp_path, rows(times, places)), detection=IDT)
    place, shorter, longer = differences(recording.fixations, truth)
    # It takes the parts of the saccades that lie within its one degree (57 pixels) to the fixation.
    assert place < 4 and shorter >= -3 and longer <= 30


def test_blinks_gaps_trials_and_rows_without_image(tmp_path):
    times, places, truth = made(1, 3)
    lost = places.copy()
    middle = round(truth[1][0] + truth[1][3] / 2)
    lines = rows(times, lost)
    for i, word in zip(range(middle, middle + 5), (".", "", "NaN", "n/a", "NA"), strict=True):
        lines[i] = f"{times[i]:g},i.png,p1,1,{word},5\n"
    lines += [f"{5000 + i},.,p1,1,5,5\n" for i in range(10)]
    lines += rows(times, places, image="j.png", trial="2")  # its clock begins again
    del lines[-20:-10]
    recording = read_recording(write(tmp_path, lines), detection=IVT)
    assert [(f.image, f.trial, f.index) for f in recording.fixations] == [
        *(("i.png", "1", i) for i in range(4)),
        *(("j.png", "2", i) for i in range(3)),
    ]
    text = " ".join(recording.notes)
    assert "5 of" in text and "1 gaps in the times, the first before" in text and "10 rows name no image" in text


@pytest.mark.parametrize("detection", [IVT, IDT], ids=["ivt", "idt"])
@pytest.mark.parametrize("block", [700, 1500])
def test_blocks_change_nothing(tmp_path, monkeypatch, detection, block):
    times, places, _ = made(7, 20)
    places[3000:3010] = np.nan
    path = write(tmp_path, [line.replace("nan", ".") for line in rows(times, places)])
    whole = read_recording(path, detection=detection)
    monkeypatch.setattr(detection_module, "BLOCK", block)
    parts = read_recording(path, detection=detection)
    assert parts.fixations == whole.fixations
    assert parts.notes == whole.notes


def test_a_fixation_longer_than_a_block_is_cut_and_said_so(tmp_path, monkeypatch):
    monkeypatch.setattr(detection_module, "BLOCK", 500)
    path = write(tmp_path, rows(np.arange(1200), np.full((1200, 2), 500.0)))
    for detection in (IVT, IDT):
        recording = read_recording(path, detection=detection)
        assert sum(f.duration_ms for f in recording.fixations) == 1200
        assert "fixations of more than 500 samples were cut in two" in recording.notes[0]


def test_memory_does_not_grow_with_the_recording(tmp_path, monkeypatch):
    """benchmarks/samples.py measures the whole process, with 10 and 60 minutes at 1000 Hz."""
    monkeypatch.setattr(detection_module, "BLOCK", 2000)
    times, places, _ = made(0, 16)
    peaks = []
    for repeats in (1, 1, 5):  # the first one pays for the imports
        many = np.arange(repeats * len(times))
        path = write(tmp_path, rows(many, np.tile(places, (repeats, 1)), trial=""))
        tracemalloc.start()
        assert len(read_recording(path, detection=IVT).fixations) >= 15 * repeats
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.2 * peaks[1]


def test_parquet_packed_and_renamed_tables_agree(tmp_path):
    times, places, _ = made(2, 4)
    lines = rows(times, places)
    expected = read_recording(write(tmp_path, lines), detection=IVT).fixations
    assert read_recording(write(tmp_path, lines, "gaze.csv.gz"), detection=IVT).fixations == expected
    frame = csv.read_csv(tmp_path / "gaze.csv")
    names = [{"x": "GAZE_X"}.get(name, name) for name in frame.column_names]
    pq.write_table(frame.rename_columns(names), tmp_path / "gaze.parquet")
    found = read_recording(tmp_path / "gaze.parquet", columns={"x": "GAZE_X"}, detection=IVT)
    assert found.fixations == expected


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1000,i.png,p1,1,5,5", "the time 1000 ms comes again"),
        ("7,i.png,p1,1,5,5", "the time 7 ms goes back from 1000 ms"),
        ("x,i.png,p1,1,5,5", "time is 'x', expected a number"),
        ("1e15,i.png,p1,1,5,5", "time is 1e15, expected -1e+13 to 1e+13"),
        ("1000.5,i.png,p1,1,5,inf", "y is 'inf', expected a number"),
        ("1000.5,i.png,p1,1,5", "it has 5 cells, but the header has 6"),
        ("1000.5,i.png,,1,5,5", "the column participant is empty"),
    ],
)
def test_a_bad_row_is_named_and_can_be_skipped(tmp_path, row, message):
    times, places, _ = made(5, 6)
    lines = rows(times, places)
    expected = read_recording(write(tmp_path, lines), detection=IVT).fixations
    lines.insert(1001, row + "\n")
    path = write(tmp_path, lines)
    with pytest.raises(DataError, match="because of 1 line;") as error:
        read_recording(path, detection=IVT)
    assert f"{path}, line 1003: {message}" in str(error.value)
    recording = read_recording(path, detection=IVT, skip_bad_lines=True)
    assert (recording.fixations, recording.skipped) == (expected, 1)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (0.001, r"line 2: a sample every 0\.001 ms is 1e\+06 Hz; expected times in milliseconds"),
        (1000, r"is 1 Hz; expected times in milliseconds"),
        (None, "steps in time from there on are far from the usual 1 ms; expected a constant sampling rate"),
    ],
)
def test_times_in_another_unit_or_irregular_are_refused(tmp_path, step, message):
    steps = np.tile([1, 1, 1, 7], 50) if step is None else np.full(200, step)
    path = write(tmp_path, rows(np.cumsum(steps), np.full((200, 2), 500.0)))
    with pytest.raises(DataError, match=message):
        read_recording(path, detection=IVT)


def test_what_detection_needs(tmp_path):
    path = write(tmp_path, rows(np.arange(100), np.full((100, 2), 500.0)))
    with pytest.raises(DataError, match="holds raw samples; say how to find fixations"):
        read_recording(path)
    with pytest.raises(DataError, match="needs the screen's geometry; give it by --screen"):
        read_recording(path, detection=choose_detection("ivt"))
    (tmp_path / "f.csv").write_text("image,participant,x,y,duration_ms\ni,p,1,2,3\n")
    with pytest.raises(DataError, match="holds fixations and no samples; leave out --detect"):
        read_recording(tmp_path / "f.csv", detection=IVT)
    for arguments, message in [
        ({"method": "ivt", "dispersion": 1.0}, "--dispersion belongs to --detect idt"),
        ({"method": None, "velocity": 30.0}, "--velocity belongs to --detect ivt"),
        ({"method": None, "screen": PAPER_SCREEN}, "--screen needs --detect"),
        ({"method": "ivt", "velocity": 0.0}, "--velocity is 0; expected a number above 0"),
        ({"method": "idt", "minimum_ms": math.nan}, "--min-fixation is nan; expected"),
    ]:
        with pytest.raises(DataError, match=message):
            choose_detection(**arguments)


def test_without_pymovements_its_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pymovements", None)
    with pytest.raises(DataError, match=r"needs pymovements: pip install 'llamafactory-gaze\[samples\]'"):
        read_recording(write(tmp_path, ["0,i.png,p1,1,5,5\n"]), detection=IVT)


def eyelink(name: str) -> Path:
    default = Path(__file__).resolve().parents[2] / "../shared/data"
    path = Path(os.environ.get("GAZE_SHARED_DATA", default)) / "eyelink" / name
    if not path.exists():
        pytest.skip(f"no EyeLink recording {path}; set GAZE_SHARED_DATA to the folder that holds eyelink/")
    return path


def test_samples_of_a_real_recording_give_the_trackers_own_fixations():
    """The screen's size in cm is not known: 38 cm at 60 cm are usual for its 1024 x 768 pixels."""
    path = eyelink("cili_mono1000.asc")
    own = read_recording(path).fixations
    found = read_recording(path, detection=choose_detection("ivt", screen=Screen((1024, 768), 38.0, 60.0)))
    assert len(found.fixations) == len(own) == 10
    for ours, theirs in zip(found.fixations, own, strict=True):
        assert math.hypot(ours.x - theirs.x, ours.y - theirs.y) < 5
        assert abs(ours.duration_ms - theirs.duration_ms) < 30
        assert (ours.eye, ours.trial, ours.index, ours.participant) == (
            theirs.eye,
            theirs.trial,
            theirs.index,
            theirs.participant,
        )
    with pytest.raises(DataError, match="names a screen of 1024x768 pixels, but --screen one of 1920x1080"):
        read_recording(path, detection=IVT)


def test_samples_of_both_eyes_and_of_a_file_without_efix(tmp_path):
    times, places, truth = made(11, 4)
    lines = ["MSG\t0 TRIALID A\n", "MSG\t0 !V IMGLOAD FILL i.png\n", "START\t0 \tLEFT\tRIGHT\tSAMPLES\tEVENTS\n"]
    for time, (x, y) in zip(times.tolist(), places.tolist(), strict=True):
        lines.append(f"{time:.0f}\t{x:.1f}\t{y:.1f}\t900.0\t   .\t   .\t0.0\t.....\n" if time < 300 else
                     f"{time:.0f}\t{x:.1f}\t{y:.1f}\t900.0\t{x + 10:.1f}\t{y:.1f}\t900.0\t.....\n")  # fmt: skip
    path = tmp_path / "p1.asc"
    path.write_text("".join([*lines, f"END\t{len(times)}\tSAMPLES\n"]))
    assert "--detect ivt" in read_recording(path).notes[0]
    recording = read_recording(path, detection=IVT)
    left = [f for f in recording.fixations if f.eye == "left"]
    right = [f for f in recording.fixations if f.eye == "right"]
    assert differences(left, truth)[0] < 1
    assert {(f.image, f.trial, f.participant) for f in recording.fixations} == {("i.png", "A", "p1")}
    assert [(b.x - a.x) for a, b in zip(left[-3:], right[-3:], strict=True)] == pytest.approx([10] * 3, abs=0.1)
    assert all(b.index == a.index + 1 for a, b in pairwise(left))
    path.write_text("".join([*lines, "12\t3\n"]))
    with pytest.raises(DataError, match="the sample has 2 values, expected 7 or more"):
        read_recording(path, detection=IVT)
