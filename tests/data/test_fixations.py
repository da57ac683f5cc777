"""Fixation tables: values, names of columns, and the row of every fault."""

import numpy as np
import pytest

from llamafactory_gaze.data.fixations import read_fixations
from llamafactory_gaze.data.tables import DataError


HEADER = "image,participant,x,y,duration_ms\n"


def write(tmp_path, text, name="f.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_values_in_the_order_of_the_file(tmp_path):
    rows = "i.jpg,p1,1.5,2,100\nj.jpg,p1,5,6,7\ni.jpg,p2,-3,4e1,0\n"
    fixations = read_fixations(write(tmp_path, HEADER + rows))
    assert fixations.trial is None and fixations.index is None
    on_i = fixations.where(fixations.image == "i.jpg")
    assert on_i.participant.tolist() == ["p1", "p2"]
    np.testing.assert_array_equal([on_i.x, on_i.y, on_i.duration_ms], [[1.5, -3], [2, 40], [100, 0]])
    assert [on_i.at(i).rpartition(" ")[2] for i in range(2)] == ["2", "4"]


def test_trial_and_index_are_read_where_they_are_and_required_where_they_are_named(tmp_path):
    path = write(tmp_path, "image,participant,x,y,duration_ms,index,block\ni.jpg,p1,1,2,3,7,b\n")
    fixations = read_fixations(path, {"trial": "block"})
    assert fixations.trial.tolist() == ["b"] and fixations.index.tolist() == [7]
    with pytest.raises(DataError, match="lacks the column t;"):
        read_fixations(path, {"trial": "t"})


def test_the_first_fixation_is_told_by_index_or_else_by_row(tmp_path):
    rows = (
        "i.jpg,p1,1,2,3,5,a",
        "i.jpg,p1,1,2,3,2,a",
        "i.jpg,p2,1,2,3,0,a",
        "i.jpg,p1,1,2,3,4,b",
        "j.jpg,p1,1,2,3,9,a",
    )
    indexed = write(tmp_path, "\n".join(("image,participant,x,y,duration_ms,index,trial", *rows)))
    assert read_fixations(indexed).first().tolist() == [False, True, True, True, True]
    in_order = write(tmp_path, HEADER + "".join(row[: -len(",5,a")] + "\n" for row in rows))
    assert read_fixations(in_order).first().tolist() == [True, False, True, False, True]


def test_an_empty_duration_is_one_that_is_not_known(tmp_path):
    path = write(tmp_path, HEADER + "i.jpg,p1,1,2,\ni.jpg,p1,1,2,7\n")
    fixations = read_fixations(path)
    np.testing.assert_array_equal(fixations.duration_ms, [np.nan, 7])
    fixations.where(np.array([False, True])).require_durations()
    with pytest.raises(DataError, match=r"how long 1 of its 2 fixations last.* use --weight count"):
        fixations.require_durations()


def test_a_trial_column_that_is_empty_throughout_is_none(tmp_path):
    header = HEADER.strip() + ",trial\n"
    assert read_fixations(write(tmp_path, header + "i.jpg,p1,1,2,3,\n")).trial is None
    assert read_fixations(write(tmp_path, header + "i.jpg,p1,1,2,3,\ni.jpg,p1,1,2,3,x\n")).trial.tolist() == ["", "x"]


def test_names_of_a_fixation_report(tmp_path):
    text = "IMAGE\tRECORDING\tCURRENT_FIX_X\tCURRENT_FIX_Y\tCURRENT_FIX_DURATION\textra\ni.jpg\tp1\t1\t2\t3\tz\n"
    names = {
        "image": "IMAGE",
        "participant": "RECORDING",
        "x": "CURRENT_FIX_X",
        "y": "CURRENT_FIX_Y",
        "duration_ms": "CURRENT_FIX_DURATION",
    }
    fixations = read_fixations(write(tmp_path, text, "f.tsv"), names)
    assert (fixations.x[0], fixations.y[0], fixations.duration_ms[0]) == (1, 2, 3)
    with pytest.raises(DataError, match=r"lacks the columns x, y, duration_ms; .*CURRENT_FIX_X.*--columns"):
        read_fixations(tmp_path / "f.tsv", {"image": "IMAGE", "participant": "RECORDING"})
    with pytest.raises(DataError, match="unknown column 'z'"):
        read_fixations(tmp_path / "f.tsv", {"z": "extra"})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("i.jpg,p1,.,2,3", r"line 3: x is '\.', expected a number"),
        ("i.jpg,p1,1,nan,3", "line 3: y is 'nan', expected a finite number"),
        ("i.jpg,p1,1,-inf,3", "line 3: y is '-inf', expected a finite number"),
        ("i.jpg,p1,1,2,.", "line 3: duration_ms is '.', expected a number"),
        ("i.jpg,p1,,2,3", "line 3: x is '', expected a number"),
        ("i.jpg,p1,1,2,-5", "line 3: duration_ms is -5, expected a duration of 0 ms or more"),
        (",p1,1,2,3", "line 3: the column image is empty"),
        ("i.jpg, ,1,2,3", "line 3: the column participant is empty"),
        ('i.jpg,p1,"1,5",2,3', "line 3: x is '1,5', expected a number"),
    ],
)
def test_a_bad_row_is_named(tmp_path, row, message):
    good = "i.jpg,p1,1,2,3\n"
    with pytest.raises(DataError, match=rf"f\.csv, {message}\.$"):
        read_fixations(write(tmp_path, HEADER + good + row + "\n"))
    with pytest.raises(DataError, match=rf"f\.csv, {message} \(2 more bad rows follow\)\.$"):
        read_fixations(write(tmp_path, HEADER + good + (row + "\n") * 3 + good))
