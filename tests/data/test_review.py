"""The review list: what people wrote stays, through new runs, other data and codes."""

import csv
import io

import pytest

from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.data.triples.descriptions import Description
from llamafactory_gaze.data.triples.pseudonyms import Pseudonyms
from llamafactory_gaze.data.triples.review import (
    COLUMNS,
    GONE,
    Line,
    merge,
    read_review,
    review_table,
    update,
    with_codes,
)


def description(image, participant, text="A dog."):
    return Description(f"{image}.png", participant, None, text, None, None, {}, "d.csv, line 2")


def write(path, *lines, more=""):
    path.write_text(",".join(COLUMNS) + more + "\n" + "".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def test_a_new_run_keeps_what_people_wrote(tmp_path):
    path = write(
        tmp_path / "review.csv",
        "a_p1,a.png,p1,Old text.,1 word,Accept,is enough,AB",
        "b_p1,b.png,p1,A cat.,,,,",
        "c_p1,c.png,p1,A cow.,,reject,,",
        "d_p1,d.png,p1,A pig.,,,only a note,",
        "e_p1,e.png,p1,An ox.,,,,CD",
        more=",by",
    )
    lines = update(
        read_review(path), [description("f", "p1"), description("a", "p1", 'New, "text"\n.')], {"f_p1": "why"}
    )
    path.write_bytes(review_table(lines))
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig")))) == [
        [*COLUMNS, "by"],
        ["f_p1", "f.png", "p1", "A dog.", "why", "", "", ""],
        ["a_p1", "a.png", "p1", 'New, "text"\n.', "", "accept", "is enough", "AB"],
        ["c_p1", "c.png", "p1", "A cow.", GONE, "reject", "", ""],
        ["d_p1", "d.png", "p1", "A pig.", GONE, "", "only a note", ""],
        ["e_p1", "e.png", "p1", "An ox.", GONE, "", "", "CD"],
    ]
    # And when the samples come back, the marks go.
    lines = update(read_review(path), [description("c", "p1"), description("d", "p1")], {})
    assert [(line.id, line.verdict, line.note, line.automatic_reason) for line in lines] == [
        ("c_p1", "reject", "", ""),
        ("d_p1", "", "only a note", ""),
        ("a_p1", "accept", "is enough", GONE),
        ("e_p1", "", "", GONE),
    ]


@pytest.mark.parametrize("note", ["a\rb", "a\nb", "a\r\nb", 'say "no", please', "=1+1; ä"])
def test_every_note_comes_back(tmp_path, note):
    path = tmp_path / "review.csv"
    line = Line("a_p1", "a.png", "p1", "A dog.", "", "reject", note)
    path.write_bytes(review_table([line]))
    assert read_review(path) == {"a_p1": line}


def test_the_newer_list_counts_where_it_says_something(tmp_path):
    former = write(tmp_path / "a.csv", "a_p1,a.png,p1,x,,accept,old", "b_p1,b.png,p1,x,,reject,", "c_p1,c.png,p1,x,,,")
    newer = write(tmp_path / "b.csv", "a_p1,a.png,p1,x,,reject,new", "b_p1,b.png,p1,x,,,", "d_p1,d.png,p1,x,,accept,")
    merged = merge(read_review(former), read_review(newer))
    assert {id: (line.verdict, line.note) for id, line in merged.items()} == {
        "a_p1": ("reject", "new"),
        "b_p1": ("reject", ""),
        "c_p1": ("", ""),
        "d_p1": ("accept", ""),
    }


def test_ids_become_codes_and_codes_stay(tmp_path):
    codes = Pseudonyms(b"salt")
    code, other = codes.code("p1"), codes.code("p00000001")  # the second id looks like a code and is none
    path = write(
        tmp_path / "review.csv",
        "x/a_p1,x/a.png,p1,x,,accept,",
        f"b_{code},b.png,{code},x,,reject,",
        "c_p00000001,c.png,p00000001,x,,reject,",
        "d_gone,d.png,gone,x,,accept,",
    )
    assert {id: line.participant for id, line in with_codes(read_review(path), codes).items()} == {
        f"x/a_{code}": code,
        f"b_{code}": code,
        f"c_{other}": other,
        f"d_{codes.code('gone')}": codes.code("gone"),
    }
    assert "gone" in codes.ids  # so that it is looked for


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "b_p1,b.png,p1,x,,maybe,",
            r"review\.csv, line 3: the verdict is 'maybe'; expected accept, reject, or nothing",
        ),
        ("a_p1,a.png,p1,x,,reject,", r"review\.csv, line 3: a second line for a_p1 that says something else"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, message):
    path = write(tmp_path / "review.csv", "a_p1,a.png,p1,x,,accept,", line)
    with pytest.raises(DataError, match=message):
        read_review(path)


def test_another_table_is_refused(tmp_path):
    path = tmp_path / "review.csv"
    path.write_text("id;verdict\na;accept\n")
    with pytest.raises(DataError, match=r"review\.csv lacks the columns id, image, .*this is not the review list"):
        read_review(path)
