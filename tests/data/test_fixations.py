"""Fixation tables: values, names of columns, and the row of every fault."""

import numpy as np
import pytest

from llamafactory_gaze.data.fixations import read_fixations, require_durations
from llamafactory_gaze.data.tables import DataError


HEADER = "image,participant,x,y,duration_ms\n"


def write(tmp_path, text, name="f.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_values_by_image_in_the_order_of_the_file(tmp_path):
    rows = "i.jpg,p1,1.5,2,100\nj.jpg,p1,5,6,7\ni.jpg,p2,-3,4e1,0\n"
    fixations = read_fixations(write(tmp_path, HEADER + rows))
    assert list(fixations) == ["i.jpg", "j.jpg"]
    on_i = fixations["i.jpg"]
    assert on_i.participant.tolist() == ["p1", "p2"]
    np.testing.assert_array_equal([on_i.x, on_i.y, on_i.duration_ms], [[1.5, -3], [2, 40], [100, 0]])


def test_an_empty_duration_is_one_that_is_not_known(tmp_path):
    path = write(tmp_path, HEADER + "i.jpg,p1,1,2,\ni.jpg,p1,1,2,7\n")
    durations = read_fixations(path)["i.jpg"].duration_ms
    np.testing.assert_array_equal(durations, [np.nan, 7])
    require_durations(path, durations[1:])
    with pytest.raises(DataError, match=r"how long 1 of its 3 fixations last.* use --weight count"):
        require_durations(path, durations, durations[1:])


def test_names_of_a_fixation_report(tmp_path):
    text = "IMAGE\tRECORDING\tCURRENT_FIX_X\tCURRENT_FIX_Y\tCURRENT_FIX_DURATION\textra\ni.jpg\tp1\t1\t2\t3\tz\n"
    names = {
        "image": "IMAGE",
        "participant": "RECORDING",
        "x": "CURRENT_FIX_X",
        "y": "CURRENT_FIX_Y",
        "duration_ms": "CURRENT_FIX_DURATION",
    }
    fixations = read_fixations(write(tmp_path, text, "f.tsv"), names)["i.jpg"]
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


def test_the_border_pixels_belong_to_the_image(tmp_path):
    points = [(-0.5, 0), (-0.6, 0), (79.5, 59.5), (79.6, 0), (0, 59.6), (0, -0.5), (0, -0.6)]
    rows = "".join(f"i.jpg,p1,{x},{y},1\n" for x, y in points)
    fixations = read_fixations(write(tmp_path, HEADER + rows))["i.jpg"]
    assert fixations.on_image((80, 60)).tolist() == [True, False, True, False, False, True, False]
    assert len(fixations.where(fixations.on_image((80, 60)))) == 3
