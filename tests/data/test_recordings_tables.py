"""Fixation reports, plain tables and OSIE: values, missing values, and the row of every fault.

The fixation report is written after the columns that Data Viewer's manual lists; no real report was at hand.
"""

import csv

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llamafactory_gaze.data.recordings import read_recording
from llamafactory_gaze.data.tables import DataError


REPORT = (
    "RECORDING_SESSION_LABEL\tTRIAL_INDEX\tCURRENT_FIX_INDEX\tCURRENT_FIX_X\tCURRENT_FIX_Y\tCURRENT_FIX_DURATION\t"
    "EYE_USED\tpicture\nsub1\t1\t1\t512.30\t384.00\t204\tRIGHT\tcat.png\nsub1\t1\t2\t-1.5\t90\t96\tRIGHT\tcat.png\n"
    "sub1\t2\t.\t.\t.\t.\tRIGHT\tdog.png\n"
)
HEADER = "image,participant,x,y,duration_ms\n"


def write(tmp_path, text, name="t.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("ending", ["txt", "xls", "csv"])
def test_a_fixation_report(tmp_path, ending):
    recording = read_recording(write(tmp_path, REPORT, f"report.{ending}"))
    found = [(f.image, f.participant, f.trial, f.index, f.x, f.y, f.duration_ms, f.eye) for f in recording.fixations]
    assert found == [
        ("cat.png", "sub1", "1", 0, 512.3, 384, 204, "right"),
        ("cat.png", "sub1", "1", 1, -1.5, 90, 96, "right"),
    ]
    assert (recording.format, recording.pixels_of) == ("data-viewer", "screen")
    assert recording.notes == ("1 rows hold a trial without fixations (x, y and duration are '.') and are left out.",)


def test_the_image_column_of_a_report(tmp_path):
    path = write(tmp_path, REPORT.replace("picture", "item"), "report.txt")
    with pytest.raises(DataError, match=r"no column that may name the image; .*--columns image=NAME"):
        read_recording(path)
    assert read_recording(path, columns={"image": "item"}).fixations[0].image == "cat.png"


def test_plain_tables_and_parquet_agree(tmp_path):
    text = "image,participant,FIX_X,y,duration_ms\ni.jpg,p1,1.5,2,100\ni.jpg,p1,5,6,7\ni.jpg,p2,-3,4e1,0\n"
    path = write(tmp_path, text)
    rows = list(csv.DictReader(text.splitlines()))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    columns = {"x": "FIX_X"}
    recording = read_recording(path, columns=columns)
    assert recording.fixations == read_recording(tmp_path / "t.parquet", columns=columns).fixations
    assert [(f.participant, f.index, f.x) for f in recording.fixations] == [("p1", 0, 1.5), ("p1", 1, 5), ("p2", 0, -3)]
    with pytest.raises(DataError, match=r"lacks the column x; .*--columns x=CURRENT_FIX_X"):
        read_recording(path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("i.jpg,p1,nan,2,3", "x is 'nan', expected a number"),
        ("i.jpg,p1,1,.,3", "y is '.', expected a number"),
        ("i.jpg,p1,1,2,-5", "duration_ms is -5, expected 0"),
        ("i.jpg,p1,1,1e300,5", "y is 1e300, expected"),
        ("1,2,i.jpg,p1,3", "x is 'i.jpg', expected a number"),
        (",p1,1,2,3", "the column image is empty"),
        ("i.jpg,p1,1", "it has 3 cells, but the header has 5"),
    ],
)
def test_a_bad_row_is_named_and_can_be_skipped(tmp_path, row, message):
    path = write(tmp_path, HEADER + "i.jpg,p1,1,2,3\n" + row + "\ni.jpg,p1,1,2,3\n")
    with pytest.raises(DataError, match="because of 1 line;") as error:
        read_recording(path)
    assert f"{path}, line 3: {message}" in str(error.value)
    recording = read_recording(path, skip_bad_lines=True)
    assert (len(recording.fixations), recording.skipped) == (2, 1)


def test_osie_equals_its_csv(osie):
    recording = read_recording(osie / "fixations.mat")
    with (osie / "fixations.csv").open() as file:
        rows = list(csv.DictReader(file))
    images = {row["image"] for row in rows}
    found = {(f.image, f.participant, f.index, f.x, f.y, f.duration_ms) for f in recording.fixations}
    sample = {entry for entry in found if entry[0] in images}
    expected = {
        (r["image"], r["participant"], int(r["index"]), float(r["x"]), float(r["y"]), float(r["duration_ms"]))
        for r in rows
    }
    assert sample == expected
    assert len({f.image for f in recording.fixations}) == 700
    assert recording.pixels_of == "image"


def test_a_damaged_mat_file_is_named(tmp_path, osie):
    whole = (osie / "fixations.mat").read_bytes()
    for cut in (10, 1000, len(whole) // 2):
        (tmp_path / "f.mat").write_bytes(whole[:cut])
        with pytest.raises(DataError, match=r"cannot be read as (OSIE's|a MATLAB file)"):
            read_recording(tmp_path / "f.mat")
