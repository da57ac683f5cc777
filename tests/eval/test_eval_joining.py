"""Which caption belongs to which row: by id, by order and label, with gaps only where they are allowed."""

from __future__ import annotations

import csv
import json

import pytest

from eval.errors import InputError
from eval.inputs.joining import read_joined


@pytest.fixture
def own_file(study):
    """Writes predictions of one's own: the caption of row i is "caption i"."""

    def write(name, records):
        path = study.folder / name
        if path.suffix == ".csv":
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(records[0]))
                writer.writeheader()
                writer.writerows(records)
        elif path.suffix == ".json":
            path.write_text(json.dumps(records))
        else:
            path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return path

    return write


def records(study, column="caption"):
    return [{"id": row["id"], column: f"caption {i}"} for i, row in enumerate(study.rows)]


def join(study, path, **options):
    return read_joined(study.dataset, {"baseline": study.file("baseline"), "own": path}, **options)


@pytest.mark.parametrize("name", ["own.jsonl", "own.json", "own.csv"])
@pytest.mark.parametrize("column", ["predict", "prediction", "caption"])
def test_captions_with_ids_find_their_rows_in_any_order(study, own_file, name, column):
    joined = join(study, own_file(name, records(study, column)[::-1]))
    assert joined.captions["own"] == [f"caption {i}" for i in range(24)]
    assert joined.counts["own"].joined_by == "id" and joined.counts["baseline"].joined_by == "order"
    assert (joined.reference, joined.compared) == ("baseline", ["own"])


def test_commas_quotes_and_line_breaks_in_csv(study, own_file):
    made = records(study)
    made[3]["caption"] = 'a "red" circle,\nleft\u2028of it'
    assert join(study, own_file("own.csv", made)).captions["own"][3] == 'a "red" circle,\nleft\u2028of it'


def test_ids_may_be_numbers_and_default_to_the_row(study, own_file):
    for row in study.rows:
        row.pop("id")
    study.write()
    made = [{"id": i, "predict": f"caption {i}"} for i in (*range(12, 24), *range(12))]
    assert join(study, own_file("own.jsonl", made)).captions["own"] == [f"caption {i}" for i in range(24)]


def test_missing_predictions_need_leave_and_go_for_all_systems(study, own_file):
    path = own_file("own.jsonl", [record for i, record in enumerate(records(study)) if i not in (2, 5)])
    with pytest.raises(
        InputError, match=r"own\.jsonl has no prediction for 2 of 24 rows of .*, the first of them row-2"
    ):
        join(study, path)
    joined = join(study, path, allow_partial=True)
    kept = [i for i in range(24) if i not in (2, 5)]
    assert [row.row for row in joined.rows] == kept and joined.n_dataset == 24 and len(joined.everyone) == 24
    assert joined.captions["own"] == [f"caption {i}" for i in kept]
    assert joined.captions["baseline"] == [study.predictions["baseline"][i]["predict"] for i in kept]
    assert (joined.counts["own"].missing, joined.counts["baseline"].missing) == (2, 0)


def test_a_run_that_was_cut_short_by_order(study):
    study.predictions["injected"] = study.predictions["injected"][:7]
    study.write()
    joined = join(study, study.file("injected"), allow_partial=True)
    assert [row.row for row in joined.rows] == list(range(7)) and joined.counts["own"].missing == 17


def test_gaps_by_label_where_each_label_is_one_row(study):
    for i, row in enumerate(study.rows):
        row["conversations"][1]["value"] += f" {i}"
        for of in study.predictions.values():
            of[i]["label"] += f" {i}"
    del study.predictions["injected"][3:5]
    study.write()
    joined = join(study, study.file("injected"), allow_partial=True)
    assert [row.row for row in joined.rows] == [i for i in range(24) if i not in (3, 4)]


def test_gaps_that_labels_cannot_place(study):
    for i in (0, 1, 2):
        study.rows[i]["conversations"][1]["value"] = "same"
        for of in study.predictions.values():
            of[i]["label"] = "same"
    del study.predictions["injected"][5:7]
    study.write()
    with pytest.raises(InputError, match=r'its label "same" belongs to 3 rows of .*give the predictions ids'):
        join(study, study.file("injected"), allow_partial=True)


def test_doubled_predictions_count_once_and_are_counted(study, own_file):
    made = records(study)
    made += [made[4], {"id": made[6]["id"], "caption": "something else"}]
    joined = join(study, own_file("own.jsonl", made))
    assert joined.captions["own"][6] == "caption 6"
    counts = joined.counts["own"]
    assert (counts.predictions, counts.doubled, counts.differing, counts.missing) == (26, 2, 1, 0)


def test_empty_predictions_stay(study, own_file):
    made = records(study)
    made[1]["caption"] = made[2]["caption"] = ""
    joined = join(study, own_file("own.csv", made))
    assert joined.captions["own"][1:3] == ["", ""] and len(joined.rows) == 24 and joined.counts["own"].empty == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda made: made[3].update(id="row-99"), r'line 4 has the id "row-99", which no row of .*test\.json has'),
        (lambda made: made[3].pop("id"), "line 4 has no id, and not all rows of the file have a label"),
        (lambda made: made[3].update(text=made[3].pop("caption")), "line 4 has no text in predict"),
        (lambda made: made[3].update(predict="twice"), "line 4 has captions in predict and caption"),
        (lambda made: made[3].update(label="not it"), r'line 4 does not belong to row 3 of .*"not it"'),
        (lambda made: made[3].update(label=5), "line 4 has a label that is no text"),
    ],
)
def test_faults_are_named(study, own_file, change, message):
    made = records(study)
    change(made)
    with pytest.raises(InputError, match=message):
        join(study, own_file("own.jsonl", made), allow_partial=True)


def test_csv_with_too_many_fields(study, own_file):
    path = own_file("own.csv", records(study))
    path.write_text(path.read_text().replace("caption 2\n", "caption, 2\n", 1))
    with pytest.raises(InputError, match=r"own\.csv, line 4 has not as many fields as the header"):
        join(study, path)


def test_an_id_that_several_rows_have(study, own_file):
    study.rows[5]["id"] = "row-4"
    study.write()
    with pytest.raises(InputError, match=r'test\.json has the id "row-4" in 2 rows'):
        join(study, own_file("own.jsonl", records(study)))


def test_nothing_in_common(study, own_file):
    made = records(study)
    paths = {name: own_file(f"{name}.jsonl", half) for name, half in (("a", made[:12]), ("b", made[12:]))}
    with pytest.raises(InputError, match=r"No row of .* has a prediction of every system"):
        read_joined(study.dataset, paths, allow_partial=True)


def test_half_a_character(study, own_file):
    path = own_file("own.jsonl", records(study))
    path.write_text(path.read_text().replace("caption 2", "caption \\ud83d", 1))
    with pytest.raises(InputError, match=r"own\.jsonl, line 3 holds half a character"):
        join(study, path)
