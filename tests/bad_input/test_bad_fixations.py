"""Fixation tables that are none, through `read_fixations`."""

import csv
import io
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamafactory_gaze.data.fixations import read_fixations
from tests.bad_input.outcomes import REFUSED, cases, check_number, outcome


HEADER = "image,participant,trial,index,x,y,duration_ms"
ROWS = [f"i{k % 3}.png,p{k % 2},t1,{k},{10.5 * k},{7 * k},{200 + k}" for k in range(8)]
TEXT = "\n".join([HEADER, *ROWS]) + "\n"
NUMBERS = {"index": 3, "x": 4, "y": 5, "duration_ms": 6}
CELLS = (
    "", " ", "nan", "NaN", "inf", "-inf", "-1", "1e308", "1e309", "9" * 5000, "1,5", "1;5", "0x10", "1_000", "٣",
    "a" * 10**5, "a" * 200_000, "\0", "\u202e5", "é", '"', '"x', "\n", "\r", "1 2", "--5", "null", "=1+1", "\ufeff",
    "../../x.png", "/etc/passwd",
)  # fmt: skip


def read(path, content: bytes):
    path.write_bytes(content)
    return read_fixations(path)


def same(found, expected):
    for name in ("image", "participant", "x", "y", "duration_ms"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    return read(tmp_path_factory.mktemp("valid") / "f.csv", TEXT.encode())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fixations")


@cases(220)
@given(st.integers(0, 7), st.integers(0, 6), st.sampled_from(CELLS))
def test_a_cell_is_refused_or_means_what_it_says(folder, valid, row, column, cell):
    """Names may be any text, white space around a cell does not count, and an empty duration is one not known."""
    cells = [line.split(",") for line in ROWS]
    cells[row][column] = cell
    content = "\n".join([HEADER, *map(",".join, cells)]) + "\n"
    found = outcome("fixations", content, lambda: read(folder / "f.csv", content.encode()), "f.csv, line ", "f.csv ")
    if found is REFUSED:
        return
    (expected,) = list(csv.reader(io.StringIO(content, newline="")))[row + 1 : row + 2]
    assert len(found) == 8 and len(expected) == 7
    if column in NUMBERS.values():
        value = {3: found.index, 4: found.x, 5: found.y, 6: found.duration_ms}[column][row]
        if expected[column].strip() == "":
            assert column == 6 and np.isnan(value)
        else:
            assert value == float(expected[column]) and np.isfinite(value) and (value >= 0 or column != 6)
    else:
        value = {0: found.image, 1: found.participant, 2: found.trial}[column][row]
        assert value == expected[column].strip() and (value or column == 2)


WHOLE = {
    "nothing": b"",
    "a header": HEADER.encode(),
    "utf-16": TEXT.encode("utf-16"),
    "utf-32": TEXT.encode("utf-32"),
    "latin-1": TEXT.replace("p1", "é").encode("latin-1"),
    "semicolons": TEXT.replace(",", ";").encode(),
    "tabs": TEXT.replace(",", "\t").encode(),
    "mixed": TEXT.replace(",", ";", 9).encode(),
    "a column twice": TEXT.replace("trial", "x").encode(),
    "no column x": TEXT.replace(",x,", ",z,").encode(),
    "one cell more": TEXT.replace("t1", "t1,", 1).encode(),
    "one cell less": TEXT.replace(",t1", "", 1).encode(),
    "an open quote": TEXT.replace("i1", '"i1', 1).encode(),
    "a quote inside": TEXT.replace("i1", '"i1"x', 1).encode(),
    "zeros": bytes(1000),
    "a zip": b"PK\x03\x04" + bytes(50),
    "a line of 10 MB": HEADER.encode() + b"\n" + b"x" * 10**7,
    "columns without end": ",".join(f"c{i}" for i in range(10_000)).encode() + b"\n1\n",
}
HARMLESS = {
    "a byte order mark": TEXT.encode("utf-8-sig"),
    "lines of Windows": TEXT.replace("\n", "\r\n").encode(),
    "lines of old Macs": TEXT.replace("\n", "\r").encode(),
    "blank lines": TEXT.replace("\n", "\n\n").encode(),
    "no last line end": TEXT.rstrip().encode(),
    "quotes": TEXT.replace("p1", '"p1"').encode(),
    "spaces": TEXT.replace(",", " , ").encode(),
    "a column more": "\n".join(line + ",more" for line in TEXT.splitlines()).encode(),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_that_is_no_table_is_refused(folder, name):
    assert outcome("fixations", name, lambda: read(folder / "f.csv", WHOLE[name]), "f.csv") is REFUSED


@pytest.mark.parametrize("name", HARMLESS)
def test_another_file_of_the_same_table_is_read_alike(folder, valid, name):
    same(read(folder / "f.csv", HARMLESS[name]), valid)


@cases(90)
@given(st.data())
def test_a_damaged_parquet_file_is_refused_or_whole(folder, valid, data):
    path = folder / "f.parquet"
    names = HEADER.split(",")
    columns = dict(zip(names, zip(*(line.split(",") for line in ROWS), strict=True), strict=True))
    pq.write_table(pa.table(columns), path)
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:at]
    else:
        content[at : at + 4] = data.draw(st.binary(min_size=1, max_size=4))
    found = outcome("fixations", bytes(content), lambda: read(path, bytes(content)), "f.parquet")
    if found is not REFUSED:  # statistics or other names of the writer; a value that became another is a value
        assert len(found) <= 8 and np.isfinite(found.x).all() and not (found.duration_ms < 0).any()


def test_pipes_devices_and_folders_are_refused(folder):
    os.mkfifo(folder / "pipe.csv")
    (folder / "folder.csv").mkdir()
    (folder / "zero.csv").symlink_to("/dev/zero")
    for name in ("pipe.csv", "folder.csv", "zero.csv", "missing.csv", "f.xlsx", "f.pkl", "f.npy", "a\0.csv"):
        assert outcome("fixations", name, lambda name=name: read_fixations(folder / name), name, "\\x00") is REFUSED


def test_there_were_as_many_cases_as_we_say():
    check_number("fixations")
