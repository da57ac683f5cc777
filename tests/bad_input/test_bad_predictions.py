"""Predictions that do not belong to their data set, or are none, through what `eval.compare` reads."""

import copy
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.inputs.joining import read_joined
from tests.bad_input.outcomes import ODD, REFUSED, cases, check_number, outcome


N = 6
ROWS = [
    {
        "id": f"r{i}",
        "image_id": f"i{i // 2}",
        "participant": f"p{i % 2}",
        "conversations": [{"from": "human", "value": "<image>What?"}, {"from": "gpt", "value": f"caption {i}."}],
        "images": [f"i{i // 2}.png"],
        "saliencies": [None],
    }
    for i in range(N)
]
PREDICTIONS = [{"prompt": "What?", "predict": f"answer {i}.", "label": f"caption {i}."} for i in range(N)]
ANSWERS = [f"answer {i}." for i in range(N)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("predictions")


def lines(records) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def read(folder, predictions: bytes, rows: bytes | None = None, ending="jsonl"):
    (folder / "data.json").write_bytes(json.dumps(ROWS).encode() if rows is None else rows)
    (folder / f"p.{ending}").write_bytes(predictions)
    joined = read_joined(folder / "data.json", {"a": folder / f"p.{ending}"})
    return joined.systems["a"], [row.target for row in joined.rows]


def test_the_valid_ones(folder):
    assert read(folder, lines(PREDICTIONS))[0] == ANSWERS


@cases(200)
@given(
    st.integers(0, N - 1),
    st.sampled_from(("prompt", "predict", "label", "id", "caption")),
    st.sampled_from(("odd", "missing", "of another")),
    st.sampled_from(range(len(ODD))),
)
def test_a_record_is_refused_or_says_the_same(folder, number, field, way, i):
    """Harmless: a prompt, which is not used; a caption of any text; an id that is null."""
    records = copy.deepcopy(PREDICTIONS)
    if way == "odd":
        records[number][field] = ODD[i]
    elif way == "missing":
        records[number].pop(field, None)
    else:
        records[number][field] = PREDICTIONS[number - 1].get(field, "answer 0.")
    if records == PREDICTIONS:
        return
    try:
        content = lines(records)
    except TypeError:
        return  # bytes are nothing that JSON can say
    found = outcome("predictions", content, lambda: read(folder, content), "p.jsonl")
    harmless = field == "prompt" or (field == "predict" and isinstance(records[number].get(field), str))
    harmless |= field == "id" or (field == "caption" and "predict" not in records[number])
    if found is not REFUSED:
        assert harmless
        expected = [*ANSWERS]
        if field == "predict":
            expected[number] = records[number]["predict"].strip()
        assert found[0] == expected


WAYS = ("shuffled", "short", "long", "doubled", "one label", "empty lines", "cut", "inserted", "joined", "utf-16")


@cases(120)
@given(st.sampled_from(WAYS), st.booleans(), st.randoms(use_true_random=False))
def test_a_file_is_refused_or_says_the_same(folder, way, with_ids, random):
    """With ids, any order and a second prediction of a row, of which the first counts and which is counted."""
    records = [{**one, **({"id": f"r{i}"} if with_ids else {})} for i, one in enumerate(copy.deepcopy(PREDICTIONS))]
    if way == "shuffled":
        random.shuffle(records)
    elif way == "short":
        records = records[: random.randrange(1, N)]
    elif way == "long":
        records += [{**records[0], "predict": "more"}]
    elif way == "doubled":
        records.insert(random.randrange(1, N), {**records[0], "predict": "a second answer"})
    elif way == "one label":
        records[random.randrange(N)]["label"] = "caption of somebody else"
    content = lines(records)
    at = random.randrange(len(content))
    if way == "empty lines":
        content = content.replace(b"\n", b"\n \n")
    elif way == "cut":
        content = content[:at]
    elif way == "inserted":
        content = content[:at] + random.choice((b"\0", b'"', b"\xff", b"\n", b"}", b"{")) + content[at:]
    elif way == "joined":
        content = content.replace(b"\n", b" ")
    elif way == "utf-16":
        content = content.decode().encode("utf-16")
    if content == lines(records) and records == PREDICTIONS:
        return
    found = outcome("predictions", content, lambda: read(folder, content), "p.jsonl")
    if found is not REFUSED:
        if way == "inserted":  # within a text, it is a text
            assert len(found[0]) == N and sum(a == b for a, b in zip(found[0], ANSWERS, strict=True)) >= N - 1
        else:
            assert found[0] == ANSWERS
            assert with_ids or way in ("shuffled", "empty lines", "cut")


FILES = {
    "nested": b"[" * 100_000,
    "nested in a line": b'{"predict":' * 100_000,
    "a number of a million digits": b'{"predict": "a", "label": ' + b"9" * 10**6 + b"}",
    "a list with a number of a million digits": b"[" + b"9" * 10**6 + b"]",
    "the same name twice": lines(PREDICTIONS).replace(b'"predict": "answer 3."', b'"predict": "", "predict": "x"'),
    "a list with the same name twice": b'[{"predict": "a", "predict": "b", "label": "caption 0."}]',
    "nothing": b"",
    "zeros": bytes(100),
    "gzip": b"\x1f\x8b\x08\0" + bytes(50),
    "pickle": b"\x80\x04\x95" + bytes(50),
}
TABLES = {
    "semicolons": "id;predict\n" + "".join(f"r{i};a\n" for i in range(N)),
    "unbalanced": 'id,predict\nr0,"a\n',
    "a column twice": "id,predict,predict\n" + "".join(f"r{i},a,b\n" for i in range(N)),
    "utf-8 cut": "id,predict\nr0,a",
    "too many": "id,predict\nr0,a,b\n",
    "a field of 200000": "id,predict\nr0," + "a" * 200_000 + "\n",
    "NUL": "id,predict\nr0,\0\n",
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_kind_is_refused(folder, name):
    assert outcome("predictions", name, lambda: read(folder, FILES[name]), "p.jsonl") is REFUSED


@pytest.mark.parametrize("name", FILES)
def test_a_data_set_of_another_kind_is_refused(folder, name):
    case = ("data", name)
    assert outcome("predictions", case, lambda: read(folder, lines(PREDICTIONS), FILES[name]), "data.json") is REFUSED


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_is_none_is_refused(folder, name):
    found = outcome("predictions", name, lambda: read(folder, TABLES[name].encode(), ending="csv"), "p.csv")
    assert found is REFUSED


@pytest.mark.parametrize("way", ["pipe", "folder", "zero", "missing", "a\0"])
def test_pipes_devices_and_folders_are_refused(tmp_path, way):
    path = tmp_path / f"{way}.jsonl"
    if way == "pipe":
        os.mkfifo(path)
    elif way == "folder":
        path.mkdir()
    elif way == "zero":
        path.symlink_to("/dev/zero")
    (tmp_path / "data.json").write_text(json.dumps(ROWS))
    call = lambda: read_joined(tmp_path / "data.json", {"a": path})  # noqa: E731
    assert outcome("predictions", way, call, f"{way}.jsonl", "\\x00") is REFUSED


def test_there_were_as_many_cases_as_we_say():
    check_number("predictions")
