"""Rules on fixations, maps and descriptions: each at its limit, what it says, and what the defaults let pass."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.data.triples.exclusions import (
    NO_RULES,
    Excluded,
    Rules,
    count_words,
    excluded_table,
    judge_description,
    judge_fixations,
    judge_map,
)


SIZE = (800, 600)


@pytest.mark.parametrize(
    ("rules", "passes", "fails", "rule", "reason"),
    [
        (
            {"min_fixations": 3},
            ([1, 1, 1, 0], [9, 9, 9, 9]),
            ([1, 1, 0], [9, 9, 9]),
            "fixations",
            "2 fixations on the image; required: at least 3",
        ),
        (
            {"min_on_image": 0.5},
            ([1, 0], [9, 9]),
            ([0, 1, 0], [9, 9, 9]),
            "share on the image",
            "33% of the fixations (1 of 3) on the image; required: at least 50%",
        ),
        (
            {"min_looking_ms": 400},
            ([1, 1], [200, 200]),
            ([1, 1, 0], [200, 199, 900]),
            "looking time",
            "399 ms of looking; required: at least 400 ms",
        ),
    ],
)
def test_rules_on_fixations(rules, passes, fails, rule, reason):
    def judge(fixations, rules):
        return judge_fixations(np.array(fixations[0], dtype=bool), np.array(fixations[1], dtype=np.float64), rules)

    rules = replace(NO_RULES, **rules)
    assert judge(passes, rules) is None
    failure = judge(fails, rules)
    assert (failure.rule, failure.reason) == (rule, reason)
    assert f"{failure.found}; required: {failure.required}" == reason
    assert judge(fails, NO_RULES) is None


def test_a_map_in_one_fixation():
    x, y, duration = np.array([100, 700]), np.array([100, 500]), np.array([90, 10])
    assert judge_map(x, y, duration, SIZE, replace(NO_RULES, max_one_fixation=0.9)) is None
    failure = judge_map(x, y, duration, SIZE, replace(NO_RULES, max_one_fixation=0.899))
    assert (failure.rule, failure.reason) == (
        "map in one fixation",
        "90.0% of the map's weight in one fixation; required: at most 89.9%",
    )
    assert judge_map(x, y, np.ones(2), SIZE, replace(NO_RULES, max_one_fixation=0.899)) is None


def test_a_map_in_one_point():
    """Two fixations of equal weight, 60 and 80 pixels apart, are 50 from their centre: 0.05 of the diagonal of 1000."""
    x, y, weight = np.array([100, 160]), np.array([100, 180]), np.array([300, 300])
    assert judge_map(x, y, weight, SIZE, replace(NO_RULES, min_spread=0.0499)) is None
    failure = judge_map(x, y, weight, SIZE, replace(NO_RULES, min_spread=0.0501))
    assert (failure.rule, failure.found) == ("map in one point", "the map's fixations spread over 0.05 of the diagonal")
    stuck = np.full(9, 400.5), np.full(9, 300.2), np.full(9, 250.0)
    assert judge_map(*stuck, SIZE, Rules()).rule == "map in one point"
    assert judge_map(*stuck, SIZE, NO_RULES) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("A dog.", 2),
        ("  It's a T-shirt, isn't it? ", 5),
        ("...", 0),
        ("Ein Übergrößenhemd \u2013 2 Knöpfe", 4),
        ("一个男人", 4),
        ("犬がいる park", 5),
        ("Мальчик идёт", 2),
    ],
)
def test_words(text, number):
    assert count_words(text) == number


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Two words.", "words"),
        ("A dog and [inaudible] on a sofa.", "inaudible"),
        ("A dog and [Inaudible 00:12] here.", "inaudible"),
        ("Ein Hund und (unverständlich) da.", "inaudible"),
        ("Ein Hund und (unv.) da.", "inaudible"),
        ("A dog <unclear words> over here.", "inaudible"),
        ("A dog and xxx over there.", "inaudible"),
        ("A dog and ??? over there.", "inaudible"),
        ("There is a man who...", "incomplete"),
        ("There is a man who…  ", "incomplete"),
        ("There is a man who \u2013", "incomplete"),
        ("There is a man wh-", "incomplete"),
        ('He says "there is a man..."', "incomplete"),
        ("There is a man +/.", "incomplete"),
        ("There is a man [unfinished]", "incomplete"),
        ("A man... with a hat, I think.", None),
        ("An unclear shape, inaudible music (unclear which).", None),
        ("A sign says XXL, 18+.", None),
        ("A two-storey house - and a tree", None),
        ("Is it a dog??", None),
        ("这是一只狗。", None),
    ],
)
def test_descriptions_by_the_defaults(text, rule):
    failure = judge_description(text, text, Rules())
    assert (failure and failure.rule) == rule
    assert judge_description(text, text, NO_RULES) is None


def test_fillers_are_no_words_but_their_end_counts():
    assert judge_description("Um, uh, um, a dog.", "A dog.", Rules()).found == "2 words"
    failure = judge_description("A dog and a cat and um...", "A dog and a cat and", Rules())
    assert failure.reason == "'...' in the description; required: a complete description"


def test_patterns_of_ones_own():
    rules = replace(NO_RULES, inaudible="@@", incomplete=r"\bund$")
    assert judge_description("Ein @@ Hund", "", rules).reason == (
        "'@@' in the description; required: no mark of inaudible speech"
    )
    assert judge_description("Ein Hund und", "", rules).rule == "incomplete"
    assert judge_description("Ein Hund [inaudible] ...", "", rules) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_fixations": -1}, "--min-fixations is -1; expected 0 or more"),
        ({"min_looking_ms": float("nan")}, "--min-looking-ms is nan"),
        ({"min_on_image": 50}, "--min-on-image is 50; expected a number from 0 to 1"),
        ({"max_one_fixation": -0.1}, "--max-one-fixation"),
        ({"inaudible": "[x"}, r"--inaudible is no regular expression \(unterminated"),
    ],
)
def test_settings_that_make_no_sense(change, message):
    with pytest.raises(DataError, match=message):
        replace(NO_RULES, **change).check()


def test_the_table_can_be_read_back():
    row = Excluded(
        "a_p1", "d.csv, line 2", "a.png", "p1", "incomplete", "'\"...'\n", "x, y", "'\"...'\n; required: x, y"
    )
    (read,) = csv.DictReader(excluded_table([row]).splitlines(keepends=True))
    assert read == {
        "id": "a_p1",
        "image": "a.png",
        "participant": "p1",
        "rule": "incomplete",
        "found": row.found,
        "required": "x, y",
        "reason": row.reason,
        "row": "d.csv, line 2",
    }
