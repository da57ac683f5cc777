"""Speech without fillers and restarts: what goes, what stays, and that the original always comes back."""

import random

import pytest

from llamafactory_gaze.data.speech.cleaning import FILLERS, clean_speech, read_fillers, restore
from llamafactory_gaze.data.tables import DataError


@pytest.mark.parametrize(
    ("spoken", "cleaned"),
    [
        ("Um, a dog and, uh, a cat.", "A dog and, a cat."),
        ("Ummm... uh, so a dog.", "So a dog."),
        ("A dog um on the left.", "A dog on the left."),
        ("A dog, um.", "A dog."),
        ("A dog, uh", "A dog"),
        ("A dog. Hmm. A cat. Er… a cow.", "A dog. A cat. A cow."),
        ("There is, you know, a tree.", "There is, a tree."),
        ("the the dog", "the dog"),
        ("The the the dog", "The dog"),
        ("There is, there is a dog", "There is, there is a dog"),
        ("there is there is a dog", "there is a dog"),
        ("a man uh a man wearing a hat", "a man wearing a hat"),
        ("I see the, the dog", "I see the dog"),
        ("the... the dog", "the dog"),
        ("a wo- a woman", "a woman"),
        ("a wo- woman", "a woman"),
        ("the big wo- the big woman", "the big woman"),
        ("um", ""),
    ],
)
def test_fillers_and_restarts_go(spoken, cleaned):
    assert clean_speech(spoken)[0] == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "A two- and three-storey house with a T-shirt shop.",
        "It is very very big, so so far away.",
        "A tree, a tree, and a tree.",
        "She said that that man had had enough.",
        "Drums, an umbrella, a hummingbird, the Erm-Building, uh-huh.",
        "I see it. It is red.",
        "Platform 2 2 and 3.",
        "The there is the theory.",
        "a wo- a man",
        "",
    ],
)
def test_what_is_meant_stays(text):
    assert clean_speech(text) == (text, [])


def test_the_original_always_comes_back():
    rng = random.Random(5)
    words = [
        *FILLERS,
        "Um",
        "UH",
        "the",
        "The",
        "a",
        "wo-",
        "woman",
        "dog",
        "very",
        "ß",
        "Über",
        "don't",
        "2",
        "ﬁn",
        "ŉ",
    ]
    marks = [" ", " ", " ", " ", ", ", ". ", "... ", "… ", " - ", "-", "\n", "  ", "? ", "\u00a0", " \u2013 ", ""]
    shortened = 0
    for _ in range(3000):
        text = "".join(rng.choice(words) + rng.choice(marks) for _ in range(rng.randint(0, 12)))
        cleaned, removed = clean_speech(text)
        assert restore(cleaned, removed) == text
        assert sum(len(piece["text"]) - piece["length"] for piece in removed) == len(text) - len(cleaned)
        shortened += cleaned != text
    assert shortened > 2000


def test_a_list_of_ones_own(tmp_path):
    path = tmp_path / "fillers.txt"
    path.write_text("# German\nähm\nsag  mal\n\n", encoding="utf-8")
    fillers = read_fillers(path)
    assert fillers == ("ähm", "sag mal")
    assert clean_speech("Ähmm, er sagt, sag mal, um die Ecke.", fillers)[0] == "Er sagt, um die Ecke."


@pytest.mark.parametrize("content", [b"# nothing\n\n", b"\xff\xfe", None])
def test_a_list_without_words_is_refused(tmp_path, content):
    path = tmp_path / "fillers.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"fillers\.txt"):
        read_fillers(path)
