"""The table of participants: its columns go to the rows of each speaker, and its faults are named."""

import pytest

from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.data.triples.descriptions import read_descriptions
from llamafactory_gaze.data.triples.people import join_people, read_people


def write(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_are_joined(tmp_path):
    text = "image,participant,description,mic\n1.jpg,p1,A cup.,x\n2.jpg,p1,A pot.,y\n1.jpg,p2,A jug.,x\n"
    descriptions = read_descriptions(write(tmp_path, "d.csv", text))
    path = write(tmp_path, "people.csv", "age,participant,sex\n31,p1,f\n,p2,m\n50,p3,f\n")
    joined = join_people(descriptions, read_people(path), path)
    assert [one.extra for one in joined] == [
        {"mic": "x", "age": "31", "sex": "f"},
        {"mic": "y", "age": "31", "sex": "f"},
        {"mic": "x", "age": "", "sex": "m"},
    ]
    assert [one.text for one in joined] == ["A cup.", "A pot.", "A jug."]


@pytest.mark.parametrize(
    ("people", "message"),
    [
        ("person,age\np1,3\n", r"people\.csv lacks the column participant"),
        ("participant\np1\n", r"people\.csv has no other column"),
        ("participant,image\np1,3\n", r"people\.csv has a column 'image', which is not about people"),
        ("participant,id\np1,3\n", r"people\.csv has a column 'id'"),
        ("participant,age\np1,3\np1,4\n", r"people\.csv, line 3: a second row for participant p1"),
        ("participant,age\n,3\n", r"people\.csv, line 2: the column participant is empty"),
        ("participant,age\np2,3\n", r"has no row for participant p1 \(.*d\.csv, line 2\)"),
        ("participant,mic\np1,3\n", r"d\.csv, line 2 both have a column 'mic'"),
    ],
)
def test_faults_are_named(tmp_path, people, message):
    descriptions = read_descriptions(write(tmp_path, "d.csv", "image,participant,description,mic\n1.jpg,p1,A cup.,x\n"))
    path = write(tmp_path, "people.csv", people)
    with pytest.raises(DataError, match=message):
        join_people(descriptions, read_people(path), path)
