"""A valid file of every format, damaged in many ways: one sentence or a whole table, and nothing else.

What may be accepted: damage that leaves a file of the format, as a number that became another one within its range, a
text table cut after a row or within its last number, lines in another order, or a whole trial that is missing. What
such a file gives must still be a table of plausible fixations.
"""

import csv
import gzip
import json
import random
import re

import numpy as np
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from scipy.io import savemat
from typer.testing import CliRunner

from llamafactory_gaze.cli import app
from llamafactory_gaze.data.recordings import FORMATS


CASES = 32  # of each file
DETECT = ("--detect", "ivt", "--screen", "paper")


def track():
    """(x, y) of 240 samples at 500 Hz: three fixations."""
    return np.repeat([(300.0, 300.0), (900.0, 500.0), (1500.0, 200.0)], 80, axis=0).tolist()


def asc(samples):
    head = (
        "MSG\t1 DISPLAY_COORDS 0 0 1919 1079\nMSG\t2 TRIALID 1\nMSG\t3 !V IMGLOAD FILL i.png\nSTART\t4\tLEFT\tSAMPLES\n"
    )
    if samples:
        body = "".join(f"{10 + 2 * i}\t{x}\t{y}\t900.0\t...\n" for i, (x, y) in enumerate(track()))
    else:
        body = "".join(f"EFIX L   {100 * i}\t{100 * i + 90}\t92\t{50.5 * i}\t{9 * i}\t900\n" for i in range(1, 9))
    return head + body + "END\t900\n"


def table(samples):
    if samples:
        rows = [f"{2 * i},i.png,p1,{i // 120},{x},{y}" for i, (x, y) in enumerate(track())]
        return "\n".join(["time,image,participant,trial,x,y", *rows]) + "\n"
    rows = [f"i.png,p{i % 3},{i},{20.5 * i},{9 * i},{100 + i}" for i in range(20)]
    return "\n".join(["image,participant,index,x,y,duration_ms", *rows]) + "\n"


def report():
    names = (
        "RECORDING_SESSION_LABEL\tTRIAL_INDEX\tCURRENT_FIX_INDEX\tCURRENT_FIX_X\tCURRENT_FIX_Y\tCURRENT_FIX_DURATION"
    )
    return f"{names}\timage\n" + "".join(f"s1\t{i // 5}\t{i % 5}\t{10.5 * i}\t{i}\t200\tcat.png\n" for i in range(15))


def parquet(samples):
    def make(folder):
        (folder / "t.csv").write_text(table(samples))
        pq.write_table(pacsv.read_csv(folder / "t.csv"), folder / "t.parquet", compression="none")
        (folder / "t.csv").unlink()
        return folder / "t.parquet"

    return make


def text(name, content):
    def make(folder):
        (folder / name).write_text(content)
        return folder / name

    return make


def bids(suffix):
    def make(folder):
        columns = ["timestamp", "x_coordinate", "y_coordinate"]
        sidecar = {
            "PhysioType": "eyetrack",
            "SampleCoordinateSystem": "gaze-on-screen",
            "SamplingFrequency": 500,
            "StartTime": 0,
            "RecordedEye": "left",
            "Columns": columns,
            **{name: {"Units": unit} for name, unit in zip(columns, ("ms", "pixel", "pixel"), strict=True)},
        }
        start = folder / "sub-1_task-a_recording-eye1_physio"
        rows = "".join(f"{1000 + 2 * i}\t{x}\t{y}\n" for i, (x, y) in enumerate(track()))
        start.with_suffix(".json").write_text(json.dumps(sidecar))
        start.with_suffix(".tsv.gz").write_bytes(gzip.compress(rows.encode()))
        (folder / "sub-1_task-a_events.tsv").write_text("onset\tduration\tstim_file\n0\t0.3\ta.png\n0.3\tn/a\tb.png\n")
        events = start.with_name(start.name + "events")
        events.with_suffix(".json").write_text(
            json.dumps({"Columns": ["onset", "duration", "trial_type"], "OnsetSource": "timestamp"})
        )
        rows = "".join(f"{1000 + 160 * i}\t150\tfixation\n" for i in range(3))
        events.with_suffix(".tsv.gz").write_bytes(gzip.compress(rows.encode()))
        return folder / f"sub-1_task-a_recording-eye1_{suffix}.tsv.gz"

    return make


def osie(folder):
    subject = {"fix_x": np.array([1.0, 2.5]), "fix_y": np.array([3.0, 4.0]), "fix_duration": np.array([200.0, 90])}
    entry = {"img": "1001.jpg", "subjects": np.array([subject, subject], dtype=object)}
    savemat(folder / "fixations.mat", {"fixations": np.array([entry, entry], dtype=object)})
    return folder / "fixations.mat"


def cat2000(folder):
    place = folder / "trainSet" / "FIXATIONLOCS" / "Action"
    place.mkdir(parents=True)
    for name in ("001", "002"):
        savemat(place / f"{name}.mat", {"fixLocs": np.eye(6, 9, dtype=np.uint8)}, do_compression=name == "002")
    return folder / "trainSet"


def salicon_json(folder):
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 640, "height": 480} for i in (1, 2)]
    viewings = [
        {"id": i, "image_id": 1 + i % 2, "worker_id": i, "fixations": [[5 + i, 9], [100, 200 + i]]} for i in range(5)
    ]
    (folder / "fixations.json").write_text(json.dumps({"images": images, "annotations": viewings}))
    return folder / "fixations.json"


def salicon_mat(folder):
    gaze = np.zeros((2, 1), dtype=[(name, object) for name in ("location", "timestamp", "fixations")])
    for j in range(2):
        gaze[j, 0] = (np.ones((3, 2)), np.ones((3, 1)), np.array([[5.0, 9], [j + 1, 4]]))
    savemat(folder / "a.mat", {"image": "COCO_1", "resolution": np.array([[480, 640]]), "gaze": gaze})
    return folder / "a.mat"


FILES = {
    "eyelink": (text("p.asc", asc(False)), ()),
    "eyelink samples": (text("p.asc", asc(True)), DETECT),
    "data-viewer": (text("report.txt", report()), ()),
    "table": (text("t.csv", table(False)), ()),
    "table parquet": (parquet(False), ()),
    "samples": (text("t.csv", table(True)), DETECT),
    "samples parquet": (parquet(True), DETECT),
    "bids samples": (bids("physio"), DETECT),
    "bids events": (bids("physioevents"), ()),
    "osie": (osie, ()),
    "cat2000": (cat2000, ()),
    "salicon json": (salicon_json, ()),
    "salicon mat": (salicon_mat, ()),
}
WORDS = ("NaN", "-5", "1e300", "", ".", "-", "inf", "9" * 400, "1,5", "٣", '"', "[[", "null", "\0", "1e-320")


def damage(content: bytes, rng: random.Random) -> bytes:
    """One of the ways in which files break."""
    at, size = rng.randrange(len(content) + 1), len(content)
    way = rng.randrange(8)
    if way == 0:
        return content[:at]
    if way == 1:  # flipped bytes
        flipped = bytearray(content)
        for _ in range(rng.randint(1, 8)):
            flipped[rng.randrange(size)] = rng.randrange(256)
        return bytes(flipped)
    if way == 2:  # another encoding
        return rng.choice((content.decode("latin-1").encode("utf-16"), content + "Müller\n".encode("latin-1")))
    if way == 3:
        return rng.choice(
            (b"", b"\n", b"\0" * 50, content + content, content[at:], content[:at] + b"\0" + content[at:])
        )
    if way in (4, 5):  # a value
        words = list(re.finditer(rb"-?\d+(\.\d+)?", content))
        word = rng.choice(words) if words else re.match(b"", content)
        return content[: word.start()] + rng.choice(WORDS).encode() + content[word.end() :]
    lines = content.splitlines(keepends=True)
    if way == 6:  # lines
        i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
        lines[i], lines[j] = rng.choice(((lines[j], lines[i]), (b"", lines[j]), (lines[j], lines[j]), (b"x\n", b"y\n")))
        return b"".join(lines)
    separator = b"\t" if content.count(b"\t") > content.count(b",") else b","
    cells = [line.rstrip(b"\n").split(separator) for line in lines]  # columns, but not their header
    i, j = rng.randrange(max(map(len, cells))), rng.randrange(max(map(len, cells)))
    for row in cells[1:]:
        if max(i, j) < len(row):
            row[i], row[j] = row[j], row[i]
    return b"\n".join(separator.join(row) for row in cells) + b"\n"


def damage_one_of(folder, rng):
    path = rng.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    content = path.read_bytes()
    if path.suffix == ".gz" and rng.random() < 0.6:
        path.write_bytes(gzip.compress(damage(gzip.decompress(content), rng)))
    else:
        path.write_bytes(damage(content, rng))


def test_every_format_is_here():
    assert {name.split()[0] for name in FILES} == set(FORMATS)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", FILES)
def test_damage_ends_in_a_sentence_or_a_whole_table(tmp_path, name):
    make, arguments = FILES[name]
    rng = random.Random(name)
    outcomes = {0: 0, 1: 0}
    for case in range(CASES + 1):
        folder, out = tmp_path / str(case), tmp_path / f"out{case}"
        folder.mkdir()
        recording = make(folder)
        if case:  # the first one is whole
            damage_one_of(folder, rng)
        skip = ("--skip-bad-lines",) * rng.randrange(2)
        command = ["fixations", str(recording), "--output", str(out / "f.csv"), *arguments, *skip]
        result = CliRunner().invoke(app, command)
        assert isinstance(result.exception, SystemExit | None), (case, result.exception)
        assert result.exit_code == 0 or case, result.output
        outcomes[result.exit_code] += 1
        if result.exit_code:
            assert "Error: " in result.stderr and str(folder) in result.stderr, (case, result.stderr)
            assert not out.exists() or not list(out.iterdir()), case
            continue
        assert [path.name for path in out.iterdir()] == ["f.csv"]
        with (out / "f.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
        assert f"Wrote {len(rows)} fixations" in result.output
        for row in rows:
            assert None not in row and None not in row.values() and row["participant"], (case, row)
            assert abs(float(row["x"])) <= 1e5 and abs(float(row["y"])) <= 1e5
            assert row["duration_ms"] == "" or 0 <= float(row["duration_ms"]) <= 3_600_000
    assert min(outcomes.values()) > 0, outcomes  # damage of both kinds was among the cases
