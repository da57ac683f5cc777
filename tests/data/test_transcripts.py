"""Descriptions in JSON: the shapes that recognisers of speech write, and the fault of every other one."""

import json

import pytest

from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.data.triples.descriptions import read_descriptions


WORDS = [{"word": " A", "start": 0.0, "end": 0.2, "probability": 0.9}, {"word": " dog.", "start": 0.2, "end": 1}]
FIRST = {"image": "a.png", "participant": 7, "text": " A dog. ", "category": "Object", "words": WORDS, "device": "left"}
SECOND = {"image": "b.png", "participant": "s2", "description": "A cat.", "category": "Object", "device": None}


def write(tmp_path, content, name="speech.json"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def read(tmp_path, content, name="speech.json"):
    return read_descriptions(write(tmp_path, content, name))


@pytest.mark.parametrize(
    ("content", "name", "places"),
    [
        ([FIRST, SECOND], "speech.json", ["transcript 1", "transcript 2"]),
        ({"a_7": FIRST, "b_s2": SECOND}, "speech.json", ["transcript 1", "transcript 2"]),
        ({"language": "en", "segments": [FIRST, SECOND]}, "speech.json", ["transcript 1", "transcript 2"]),
        (f"\ufeff{json.dumps(FIRST)}\n\n{json.dumps(SECOND)}\n", "speech.jsonl", ["line 1", "line 3"]),
    ],
)
def test_the_shapes(tmp_path, content, name, places):
    first, second = read(tmp_path, content, name)
    assert (first.image, first.participant, first.text, first.category) == ("a.png", "7", "A dog.", "Object")
    times = [{"word": "A", "start": 0.0, "end": 0.2}, {"word": "dog.", "start": 0.2, "end": 1.0}]
    assert first.extra == {"device": "left", "words": times}
    assert (second.text, second.extra) == ("A cat.", {"device": "", "words": []})
    assert [one.where.rpartition(", ")[2] for one in (first, second)] == places


@pytest.mark.parametrize(
    ("said", "text", "words"),
    [
        ({"words": WORDS}, "A dog.", ["A", "dog."]),
        ({"words": [{**word, "word": word["word"].strip()} for word in WORDS]}, "A dog.", ["A", "dog."]),
        ({"segments": [{"text": " A dog."}, {"text": " It barks."}]}, "A dog. It barks.", None),
        (
            {"segments": [{"words": WORDS}, {"words": [{"word": " Big.", "start": 2, "end": 3}]}]},
            "A dog. Big.",
            ["A", "dog.", "Big."],
        ),
        ({"text": "A fox.", "segments": [{"words": WORDS, "text": "A dog."}]}, "A fox.", ["A", "dog."]),
    ],
)
def test_a_text_is_put_together_where_there_is_none(tmp_path, said, text, words):
    (one,) = read(tmp_path, {"image": "a.png", "participant": "s1", **said})
    assert one.text == text
    assert one.extra.get("words") == words if words is None else [word["word"] for word in one.extra["words"]] == words


def test_numbers_and_truth_become_texts(tmp_path):
    (one,) = read(tmp_path, [{"image": "a.png", "participant": "s1", "text": "A dog.", "age": 31, "native": True}])
    assert one.extra == {"age": "31", "native": "true"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[{", r"speech\.json is not valid JSON"),
        ("[" * 100000, r"speech\.json is not valid JSON"),
        ('{"a": {"image": "a.png"}, "a": {}}', r"speech\.json: an object has the key 'a' twice"),
        ("7", "holds a JSON int; expected a list of transcripts"),
        ([], "holds no transcripts"),
        ({"text": "A dog."}, "transcript 1: found str; expected a list"),
        ([{"image": "a.png", "text": "A dog."}], "transcript 1: found image, text; expected"),
        ([FIRST, {**SECOND, "description": None}], "transcript 2: the column description is empty"),
        ([FIRST | {"text": ["A dog."]}], "transcript 1: the description is list; expected a text or a number"),
        ([FIRST | {"device": {"a": 1}}], "transcript 1: device is dict; expected a text"),
        ([FIRST | {"words": "A dog."}], "transcript 1: words is str; expected a list"),
        ([FIRST | {"words": ["A"]}], 'word 0 is "A"; expected an object with word, start, end'),
        ([FIRST | {"words": [{"word": "A", "start": 1, "end": 0.5}]}], "'A', ends at 0.5 s, before it starts at 1 s"),
        ([FIRST | {"words": [{"word": "A", "start": 1}]}], "'A', has the end None; expected seconds"),
        ('[{"image": "a", "participant": "p", "words": [{"word": "A", "start": NaN, "end": 1}]}]', "has the start nan"),
        ([FIRST | {"segments": ["A dog."]}], "segment 0 is str; expected an object"),
        ([FIRST, FIRST], r"transcript 2 describes image a\.png by participant 7, but so does .*transcript 1"),
    ],
)
def test_a_fault_is_named(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, content)


def test_a_broken_line_is_named(tmp_path):
    with pytest.raises(DataError, match=r"speech\.ndjson, line 2 is not valid JSON"):
        read(tmp_path, json.dumps(FIRST) + "\n{]\n", "speech.ndjson")
    with pytest.raises(DataError, match=r"nothing\.json does not exist"):
        read_descriptions(tmp_path / "nothing.json")
