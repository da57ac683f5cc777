"""Rows that are none: through the converter of the training, and as files through `validate`."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from llamafactory_gaze.cli import app
from tests.bad_input.outcomes import ODD, REFUSED, SEEN, cases, check_number, limits, outcome
from tests.bad_input.rows import converter, valid_row


PLACES = (
    ("conversations",), ("conversations", 0), ("conversations", 1), ("conversations", 0, "from"),
    ("conversations", 0, "value"), ("conversations", 1, "from"), ("conversations", 1, "value"), ("images",),
    ("images", 0), ("saliencies",), ("saliencies", 0), ("id",),
)  # fmt: skip
WAYS = ("odd", "missing", "twice", "swapped", "wrapped", "mark")


def change(row, place, way, odd):
    *path, last = place
    parent = row
    for step in path:
        parent = parent[step]
    value = parent[last]
    if way == "missing":
        del parent[last]
    elif way == "odd":
        parent[last] = odd
    elif way == "twice":
        parent[last] = value + value if isinstance(value, str | list) else [value, value]
    elif way == "swapped":
        parent[last] = value[::-1] if isinstance(value, str | list) else [value]
    elif way == "wrapped":
        parent[last] = [value]
    else:
        parent[last] = f"{value}#saliency=map.png" if isinstance(value, str) else {"value": value}
    return row


def harmless(row) -> bool:
    """What docs/data.md names: any text and any id; no maps, or one image without a list."""
    usual = valid_row()
    turns, images, maps = row.get("conversations"), row.get("images"), row.get("saliencies")
    texts = (
        isinstance(turns, list)
        and len(turns) == 2
        and all(isinstance(turn, dict) and isinstance(turn.get("value"), str) for turn in turns)
        and [turn.get("from") for turn in turns] == ["human", "gpt"]
        and sum(turn["value"].count("<image>") for turn in turns) == 1
    )
    without = "saliencies" in row and maps in (None, [None], [])
    return texts and images in (usual["images"], "image.png") and (without or maps == usual["saliencies"])


@cases(330)
@given(st.sampled_from(PLACES), st.sampled_from(WAYS), st.sampled_from(range(len(ODD))))
def test_a_row_is_refused_or_harmless(media, place, way, i):
    row = change(valid_row(), place, way, copy.deepcopy(ODD[i]))
    if repr(row) == repr(valid_row()):
        return
    found = outcome("rows", row, lambda: converter(media)(row), "row 3")
    assert (found is not REFUSED) == harmless(row), (place, way, row)
    if found is not REFUSED:
        maps = row["saliencies"]
        assert found["_images"] == [f"{media}/image.png" + (f"#saliency={media}/map.png" if maps and maps[0] else "")]
        assert found["_prompt"][0]["content"] == row["conversations"][0]["value"]
        assert found["_response"][0]["content"] == row["conversations"][1]["value"]


ROWS = [{name: value for name, value in valid_row().items() if name != "_gaze_row"}]
TEXT = json.dumps(ROWS)
FILES = {
    "nested deeply": "[" * 100_000,
    "objects nested deeply": '[{"a":' * 50_000,
    "a number of a million digits": TEXT.replace('"r3"', "9" * 10**6),
    "the same name twice": TEXT.replace('"id"', '"id": "a", "id"'),
    "utf-16": TEXT.encode("utf-16"),
    "latin-1": TEXT.replace("circle", "é").encode("latin-1"),
    "nothing": "",
    "no rows": "[]",
    "null": "null",
    "a number": "[1]",
    "lists": "[[]]",
    "cut": TEXT[:-9],
    "NUL": TEXT.replace("red", "\0"),
    "single quotes": TEXT.replace('"', "'"),
    "a lone surrogate": TEXT.replace("red", "\\ud800"),
    "a path with NUL": TEXT.replace("image.png", "\\u0000"),
    "a path with a surrogate": TEXT.replace("image.png", "\\udc80"),
    "the map outside": TEXT.replace("map.png", "../map.png"),
}


@pytest.fixture(scope="module")
def registry(media):
    (media / "dataset_info.json").write_text(
        json.dumps(
            {
                "bad": {
                    "file_name": "bad.json",
                    "formatting": "gaze",
                    "columns": {"messages": "conversations", "images": "images", "saliencies": "saliencies"},
                }
            }
        )
    )
    return media


def validate(folder, case):
    SEEN.setdefault("rows", set()).add(repr(case))
    with limits():
        result = CliRunner().invoke(app, ["validate", "bad", "--dataset-dir", str(folder), "--jobs", "1"])
    assert isinstance(result.exception, SystemExit | None), (case, result.exception)
    return result


def test_valid_rows_have_no_problem(registry):
    (registry / "bad.json").write_text(TEXT)
    result = validate(registry, "valid")
    SEEN["rows"].discard(repr("valid"))
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_holds_no_rows_is_named(registry, name):
    content = FILES[name]
    (registry / "bad.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    result = validate(registry, name)
    assert result.exit_code in (1, 2) and "bad.json" in result.output, result.output
    assert max(map(len, result.output.splitlines())) < 1500


@cases(60)
@given(st.integers(0, len(TEXT) - 1), st.sampled_from(['"', "\0", "]", "\ud7ff", "}", ",", "9" * 5000, None]))
def test_a_damaged_file_is_named_or_has_other_text(registry, at, inserted):
    content = TEXT[:at] + (inserted + TEXT[at + 1 :] if inserted else "")
    (registry / "bad.json").write_text(content)
    result = validate(registry, content)
    if result.exit_code == 0:  # a letter of a text, or of a field that nobody reads, became another
        (row,) = json.loads(content)
        assert harmless(row) and row["conversations"][1]["value"]
    else:
        assert result.exit_code in (1, 2) and "bad.json" in result.output


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"bad": 1}', '{"bad": {}, "bad": {}}', '{"bad": {"file_name": 5}}', "[" * 10**5,
             '{"bad": {"file_name": "../x.json"}}', '{"bad": {"file_name": "/dev/zero"}}', '{"bad": {"columns": []}}'],
)  # fmt: skip
def test_a_registry_that_is_none_is_named(tmp_path, text):
    (tmp_path / "dataset_info.json").write_text(text)
    result = validate(tmp_path, text)
    assert result.exit_code in (1, 2) and ("bad" in result.output or "dataset_info.json" in result.stderr)


def test_there_were_as_many_cases_as_we_say():
    check_number("rows")
