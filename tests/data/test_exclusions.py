"""Rules on fixations, maps and descriptions: each at its limit, what it says, and what the defaults let pass."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from llamafactory_gaze.data.exclusions import (
    NO_RULES,
    Excluded,
    Rules,
    count_words,
    excluded_table,
    judge_description,
    judge_fixations,
    judge_map,
)
from llamafactory_gaze.data.fixations import Fixations
from llamafactory_gaze.data.tables import DataError


SIZE = (800, 600)


def fixations(*points):
    """Of (x, y, duration) each."""
    x, y, duration = np.array(points, dtype=np.float64).reshape(-1, 3).T
    return Fixations(np.full(len(points), "p1"), x, y, duration)


INSIDE, OUTSIDE = (10, 10, 200), (-50, 10, 200)


@pytest.mark.parametrize(
    ("rules", "passes", "fails", "rule", "reason"),
    [
        (
            {"min_fixations": 3},
            [INSIDE] * 3 + [OUTSIDE],
            [INSIDE] * 2 + [OUTSIDE],
            "fixations",
            "2 fixations on the image; required: at least 3",
        ),
        (
            {"min_on_image": 0.5},
            [INSIDE, OUTSIDE],
            [INSIDE, OUTSIDE, OUTSIDE],
            "share on the image",
            "33% of the fixations (1 of 3) on the image; required: at least 50%",
        ),
        (
            {"min_looking_ms": 400},
            [INSIDE] * 2,
            [INSIDE, (5, 5, 199), (-9, 5, 900)],
            "looking time",
            "399 ms of looking; required: at least 400 ms",
        ),
    ],
)
def test_rules_on_fixations(rules, passes, fails, rule, reason):
    rules = replace(NO_RULES, **rules)
    assert judge_fixations(fixations(*passes), SIZE, rules) is None
    failure = judge_fixations(fixations(*fails), SIZE, rules)
    assert (failure.rule, failure.reason) == (rule, reason)
    assert judge_fixations(fixations(*fails), SIZE, NO_RULES) is None
    assert f"{failure.found}; required: {failure.required}" == reason


def test_a_map_in_one_fixation():
    of = fixations((100, 100, 90), (700, 500, 10))
    assert judge_map(of, of.duration_ms, SIZE, replace(NO_RULES, max_one_fixation=0.9)) is None
    failure = judge_map(of, of.duration_ms, SIZE, replace(NO_RULES, max_one_fixation=0.899))
    assert (failure.rule, failure.reason) == (
        "map in one fixation",
        "90.0% of the map's weight in one fixation; required: at most 89.9%",
    )
    assert judge_map(of, np.ones(2), SIZE, replace(NO_RULES, max_one_fixation=0.899)) is None


def test_a_map_in_one_point():
    """Two fixations of equal weight, 60 and 80 pixels apart, are 50 from their centre: 0.05 of the diagonal of 1000."""
    of = fixations((100, 100, 300), (160, 180, 300))
    assert judge_map(of, of.duration_ms, SIZE, replace(NO_RULES, min_spread=0.0499)) is None
    failure = judge_map(of, of.duration_ms, SIZE, replace(NO_RULES, min_spread=0.0501))
    assert (failure.rule, failure.found) == ("map in one point", "the map's fixations spread over 0.05 of the diagonal")
    stuck = fixations(*((400.5, 300.2, 250),) * 9)
    assert judge_map(stuck, stuck.duration_ms, SIZE, Rules()).rule == "map in one point"
    assert judge_map(stuck, stuck.duration_ms, SIZE, NO_RULES) is None


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
