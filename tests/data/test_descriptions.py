"""Tables of descriptions: what is kept, and the row of every fault."""

import pytest

from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.data.triples.descriptions import read_descriptions


HEADER = "image,participant,category,description\n"


def write(tmp_path, text):
    path = tmp_path / "d.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_all_columns_are_kept(tmp_path):
    text = "image,participant,category,description,normalized,age\nAction/1.v2.jpg,p-1,Object, Ähm a cup. ,A cup.,31\n"
    (description,) = read_descriptions(write(tmp_path, text))
    assert (description.image, description.image_id, description.id) == (
        "Action/1.v2.jpg",
        "Action/1.v2",
        "Action/1.v2_p-1",
    )
    assert (description.text, description.normalized, description.category) == ("Ähm a cup.", "A cup.", "Object")
    assert description.extra == {"age": "31"}


def test_category_and_normalized_are_optional(tmp_path):
    (description,) = read_descriptions(write(tmp_path, "image,participant,description\n1.jpg,p1,A cup.\n"))
    assert description.category is None and description.normalized is None and description.extra == {}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1.jpg,p1,Object,Again.", r"line 3 describes image 1\.jpg by participant p1, but so does .*line 2"),
        ("1.jpg,p2,Social,A cup.", r"line 3 gives image 1\.jpg the category 'Social', but .*line 2 gives it 'Object'"),
        ("1.png,p2,Object,A cup.", r"line 3 names the image 1\.png, but .*line 2 names 1\.jpg"),
        ("2.jpg,p1,Object,", "line 3: the column description is empty"),
        ("2.jpg,p1,,A cup.", "line 3: the column category is empty"),
        (",p1,Object,A cup.", "line 3: the column image is empty"),
        ("../2.jpg,p1,Object,A cup.", r"line 3: the image is '\.\./2\.jpg'"),
        ("/2.jpg,p1,Object,A cup.", "line 3: the image is '/2.jpg'"),
        (".,p1,Object,A cup.", r"line 3: the image is '\.'"),
        ("2.jpg,p/1,Object,A cup.", "line 3: the participant is 'p/1'"),
        ("2.jpg,p1,Object,A <image> of a cup.", "line 3: the description contains <image>"),
    ],
)
def test_a_bad_row_is_named(tmp_path, row, message):
    with pytest.raises(DataError, match=rf"d\.csv, {message}"):
        read_descriptions(write(tmp_path, f"{HEADER}1.jpg,p1,Object,A cup.\n{row}\n"))


def test_two_samples_with_one_name_are_refused(tmp_path):
    """Both would have the id 1_a_b, and share a map in `--maps participant`."""
    with pytest.raises(DataError, match=r"line 3 describes image 1\.jpg by participant a_b, but so does .*1_a\.jpg"):
        read_descriptions(write(tmp_path, f"{HEADER}1_a.jpg,b,Object,A cup.\n1.jpg,a_b,Object,A cup.\n"))


def test_trials_tell_descriptions_of_one_image_apart(tmp_path):
    header = "image,participant,description,trial\n"
    two = read_descriptions(write(tmp_path, f"{header}1.jpg,p1,A cup.,1\n1.jpg,p1,A mug.,2\n"))
    assert [(one.id, one.trial, one.extra) for one in two] == [("1_p1_1", "1", {}), ("1_p1_2", "2", {})]
    for trial, message in (("1", "but so does"), ("", "the column trial is empty"), ("a/b", "the trial is 'a/b'")):
        with pytest.raises(DataError, match=f"line 3.*{message}"):
            read_descriptions(write(tmp_path, f"{header}1.jpg,p1,A cup.,1\n1.jpg,p1,A mug.,{trial}\n"))


@pytest.mark.parametrize("column", ["id", "image_id", "conversations", "images", "saliencies"])
def test_reserved_columns_are_refused(tmp_path, column):
    with pytest.raises(DataError, match=f"has a column '{column}'"):
        read_descriptions(write(tmp_path, f"image,participant,description,{column}\n1.jpg,p1,A cup.,x\n"))


def test_a_column_without_a_name_is_refused(tmp_path):
    with pytest.raises(DataError, match="a column without a name"):
        read_descriptions(write(tmp_path, ",image,participant,description\n0,1.jpg,p1,A cup.\n"))
