"""Each fault of a row is found, once, at its row, and nothing else is."""

import pytest


def human(text):
    return {"from": "human", "value": text}


def gpt(text):
    return {"from": "gpt", "value": text}


QUESTION = human("<image>Describe it.")


def turns(*of):
    return lambda row: row.update(conversations=list(of))


def test_a_valid_data_set_has_no_problem(valid):
    report = valid.validate()
    assert report.problems == []
    assert [(line.rows, line.images, line.maps, line.people, line.categories) for line in report.summary] == [
        (8, 4, 4, 2, 1), (8, 4, 4, 2, 1), (4, 2, 2, 2, 1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("damage", "kind", "message"),
    [
        (turns(), "turns", "'conversations' is missing or empty"),
        (turns(human("<image>Hi."), human("Hi again, what do you see?")), "turns", "turn 1 is from 'human'"),
        (turns(gpt("A thing of some sort."), QUESTION), "turns", "turn 0 is from 'gpt'"),
        (turns(QUESTION), "turns", "the last turn is not from 'gpt'"),
        (turns(QUESTION, {"from": "gpt"}), "turns", "turn 1 of 'conversations' has no text"),
        (turns(QUESTION, {"role": "gpt", "value": "A thing."}), "turns", "turn 1 is from 'None'"),
        (turns(QUESTION, gpt(" \n")), "empty-text", "turn 1 ('gpt') is empty"),
        (turns(QUESTION, gpt("One thing <image> to see here.")), "stray-mark", "the answer in turn 1 contains <image>"),
        (turns(QUESTION, gpt("One thing <video> to see here.")), "stray-mark", "contains <video>"),
        (turns(QUESTION, gpt("One thing to see here.<|im_end|>")), "special-token", "<|im_end|>"),
        (turns(human("Describe it."), gpt("One thing to see here.")), "placeholders", "1 images and 0 <image>"),
        (turns(human("<image><image>It?"), gpt("One thing to see.")), "placeholders", "1 images and 2 <image>"),
        (turns(human("<image><video>It?"), gpt("One thing to see.")), "placeholders", "0 videos and 1 <video>"),
        (turns(QUESTION, gpt("One thing\x07 to see here.")), "control-character", "U+0007"),
        (turns(QUESTION, gpt("Ein gr\ufffd\ufffdnes Ding zu sehen.")), "lost-character", "U+FFFD"),
        (turns(QUESTION, gpt("Ein grÃ¼nes Ding ist hier.")), "mojibake", "'grÃ¼nes'"),
        (turns(QUESTION, gpt("Thing.")), "length", "1 word ('Thing.'), the median is 11"),
        (turns(QUESTION, gpt("word " * 56)), "length", "56 words"),
        (lambda row: row.update(saliencies=["small/maps/i1.png"] * 2), "map-count", "1 images and 2 maps"),
        (lambda row: row.update(saliencies="small/maps/i1.png"), "map-count", "a str instead of a list"),
        (lambda row: row.pop("saliencies"), "map-count", "no field 'saliencies'"),
        (lambda row: row.update(images=[None]), "path", "an entry of the images is null"),
        (lambda row: row.update(saliencies=[7]), "path", "an entry of the maps is a int"),
        (lambda row: row.pop("participant"), "no-participant", "'participant' is missing"),
        (lambda row: row.update(image_id=""), "no-image-id", "'image_id' is missing"),
        (lambda row: row.update(category=5), "mixed-types", "'category' is a number, but a text in an earlier row"),
    ],
)
def test_a_fault_of_one_row(valid, damage, kind, message):
    name = valid.rows["stage2"][2]["id"]
    damage(valid.rows["stage2"][2])
    of_type = ["mixed-types"] if kind in ("map-count", "path") else []  # a value of another type is that, too
    (problem,) = [p for p in valid.validate().problems if p.kind not in of_type]
    assert (problem.kind, problem.row, problem.id) == (kind, 2, name)
    assert problem.file == str(valid.file("stage2")) and message in problem.message


@pytest.mark.parametrize(
    "change",
    [
        turns({"from": "system", "value": "Be brief."}, QUESTION, gpt("Ünïcode — “quotes”, naïve 東京 and\ttab.")),
        turns(QUESTION, gpt("One thing to see here."), human("And now?"), gpt("Another one to see.")),
        lambda row: row.update(saliencies=[None]),
        lambda row: row.update(saliencies=None),
        lambda row: row.pop("category"),
    ],
)
def test_what_is_allowed(valid, change):
    change(valid.rows["stage2"][2])
    assert valid.found() == []


def test_several_images_need_as_many_marks_and_maps(valid):
    both = {"images": ["small/images/i0.png", "small/images/i1.png"], "saliencies": ["small/maps/i0.png", None]}
    valid.rows["stage2"][0].update(both, conversations=[human("<image> and <image>?"), gpt("Two things to see.")])
    assert valid.found() == []


def test_a_row_that_is_no_object(valid):
    valid.rows["test"].append(["not", "a", "row"])
    assert valid.found() == [("row", "test.json", 4, None)]


def test_columns_and_tags_of_the_entry_hold(valid):
    for row in valid.rows["test"]:
        row["messages"] = [{"role": f"{t['from']}!", "content": t["value"]} for t in row.pop("conversations")]
        row["heat"] = row.pop("saliencies")
    columns = {"messages": "messages", "images": "images", "saliencies": "heat"}
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "human!", "assistant_tag": "gpt!"}
    valid.entry("test", columns=columns, tags=tags)
    assert valid.found() == []
    valid.rows["test"][1]["messages"][1]["content"] = ""
    assert valid.found() == [("empty-text", "test.json", 1, "i4_p2")]


def test_rows_that_stand_twice(valid):
    """The same content, id, or viewing; a row that is wholly the same counts once."""
    rows = valid.rows["stage2"]
    rows.append({**rows[0], "id": "another"})
    valid.rows["stage1"].append({**valid.rows["stage1"][0], "id": "another"})
    assert valid.found() == [
        ("duplicate-row", "stage1.json", 8, "another"),
        ("duplicate-row", "stage2.json", 8, "another"),
    ]


def test_two_people_may_say_the_same_and_one_may_see_an_image_in_two_trials(valid):
    rows = valid.rows["test"]
    rows[1]["conversations"] = rows[0]["conversations"]
    rows[1]["saliencies"] = rows[0]["saliencies"]
    assert rows[0]["image_id"] == rows[1]["image_id"] and rows[0]["participant"] != rows[1]["participant"]
    rows.append({**rows[0], "id": "again", "trial": "2"})
    rows[-1]["conversations"] = [rows[0]["conversations"][0], {"from": "gpt", "value": "It looks different now."}]
    assert valid.found() == []


def test_rows_that_lack_different_files_are_not_the_same(valid):
    for row, name in zip(valid.rows["test"][:2], ("x.png", "y.png"), strict=True):
        row["images"] = [name]
        row["conversations"] = valid.rows["test"][2]["conversations"]
    assert valid.found() == [("missing-file", "test.json", 0, "i4_p1"), ("missing-file", "test.json", 1, "i4_p2")]


def test_an_id_that_stands_twice(valid):
    valid.rows["test"][3]["id"] = valid.rows["test"][0]["id"]
    assert valid.found() == [("duplicate-id", "test.json", 3, "i4_p1")]


def test_a_viewing_that_stands_twice(valid):
    valid.rows["test"][1]["participant"] = "p1"
    (problem,) = valid.validate().problems
    assert (problem.kind, problem.row) == ("duplicate-viewing", 1)
    assert "image i4 by participant p1 stands in row 0 (id i4_p1) already" in problem.message


def test_one_text_on_many_rows(valid):
    """Ten rows of several images; nine are no matter, nor is any number on one image."""
    template = valid.rows["test"]
    valid.rows["test"] = [
        {
            **template[2 * (k % 2)],
            "id": f"r{k}",
            "participant": f"p{k}",
            "conversations": [QUESTION, gpt("I see a thing.")],
        }
        for k in range(10)
    ]
    for k, row in enumerate(valid.rows["test"]):
        row["conversations"] = [human(f"<image>Question {k}?"), gpt("I see a thing or two.")]
    (problem,) = valid.validate().problems
    assert (problem.kind, problem.row, problem.warning) == ("repeated-text", 0, True)
    assert "'I see a thing or two.' stands in 10 of 10 rows" in problem.message
    valid.answer("test", 9, "I see another thing or two.")
    assert valid.found() == []


def test_a_picture_in_another_form_is_a_mixed_type(valid):
    """`datasets` cannot load a column of paths and embedded pictures."""
    valid.rows["test"][1]["images"] = [{"path": "small/images/i4.png", "bytes": None}]
    (problem,) = valid.validate().problems
    assert (problem.kind, problem.row) == ("mixed-types", 1)
