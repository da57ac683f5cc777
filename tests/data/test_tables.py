"""Tables: the line in a message is the line an editor shows, and a broken file is named."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llamafactory_gaze.data.tables import DataError, read_table


def test_lines_are_those_of_an_editor(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('\ufeffa,b\n1,"two\nlines"\n\n 3 ,4\n', encoding="utf-8")
    table = read_table(path)
    assert table.columns == {"a": ["1", "3"], "b": ["two\nlines", "4"]}
    assert [table.at(0), table.at(1)] == [f"{path}, line 2", f"{path}, line 5"]


def test_tab_separated_and_parquet_equal_csv(tmp_path):
    (tmp_path / "t.csv").write_text("name,x\nanna,1.5\n,2.25\n")
    (tmp_path / "t.tsv").write_text("name\tx\nanna\t1.5\n\t2.25\n")
    pq.write_table(pa.table({"name": ["anna", None], "x": [1.5, 2.25]}), tmp_path / "t.parquet")
    tables = [read_table(tmp_path / f"t.{ending}") for ending in ("csv", "tsv", "parquet")]
    assert tables[0].columns == tables[1].columns == tables[2].columns == {"name": ["anna", ""], "x": ["1.5", "2.25"]}
    assert tables[2].at(1).endswith("t.parquet, row 2")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "t.csv is empty"),
        ("t.csv", b"a,b\n", "t.csv has no rows"),
        ("t.csv", b"a,b\n1,2\n3,4,5\n", "line 3 has 3 cells, but the header has 2"),
        ("t.csv", b"a,a\n1,2\n", "several columns named 'a'"),
        ("t.csv", "a,b\nM\xfcller,2\n".encode("latin-1"), "not UTF-8"),
        ("t.csv", "a,b\n1,2\n".encode("utf-16"), "not UTF-8"),
        ("t.csv", b'a,b\n1,2\n3,"open\n', "line 3 cannot be read"),
        ("t.xlsx", b"PK", r"ends in '\.xlsx'; expected \.csv"),
        ("t.parquet", b"no parquet", "t.parquet cannot be read as a Parquet file"),
    ],
)
def test_broken_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / name)


def test_a_missing_file_and_missing_columns(tmp_path):
    with pytest.raises(DataError, match=r"no\.csv does not exist"):
        read_table(tmp_path / "no.csv")
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"t\.csv lacks the columns x, y; it has a, b"):
        read_table(tmp_path / "t.csv").require(("a", "x", "y"))
