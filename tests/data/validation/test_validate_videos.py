"""Videos with maps over time: files and lists of frames, their maps, and what training and test share."""

import shutil

import av
import numpy as np
import pytest
from conftest import SIZE, blob, save_map

from llamafactory_gaze.data.registry import register


ENTRY = {
    "formatting": "gaze",
    "columns": {"messages": "conversations", "videos": "videos", "video_saliencies": "video_saliencies"},
}


def save_video(path, seed: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        colours = np.random.default_rng(seed).integers(0, 256, (5, SIZE[1], SIZE[0], 3), dtype=np.uint8)
        for frame in colours:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def row(name: str, video: str | list[str], maps: list[str]) -> dict:
    return {
        "id": name,
        "image_id": f"video_{name}",
        "participant": "p1",
        "conversations": [
            {"from": "human", "value": "<video>What happens?"},
            {"from": "gpt", "value": f"A thing moves in {name}."},
        ],
        "videos": [video],
        "video_saliencies": [[f"small/maps/{one}.png" for one in maps]],
    }


@pytest.fixture
def clips(valid):
    """`small_stage2` and `small_test` have a video file with three maps each, `small_frames` two frames with a map."""
    save_map(valid.folder / "small/maps/black.png", 0 * blob())
    for number, split in enumerate(("stage2", "test")):
        save_video(valid.folder / f"small/{split}.mp4", number)
        valid.rows[split] = [row(split, f"small/{split}.mp4", ["i4", "black", "i5"])]
    valid.rows["frames"] = [row("frames", ["small/images/i4.png", "small/images/i5.png"], ["black"])]
    for split in ("stage2", "test", "frames"):
        register(valid.folder, {f"small_{split}": {"file_name": f"small/{split}.json", **ENTRY}})
    return valid


def test_files_and_frames_with_their_maps_are_counted_and_clean(clips):
    for split, counts in (("test", (1, 0, 1, 3)), ("frames", (1, 2, 0, 1))):
        report = clips.validate(f"small_{split}")
        assert report.problems == []
        assert [(line.rows, line.images, line.videos, line.maps) for line in report.summary] == [counts]


@pytest.mark.parametrize(
    ("split", "change", "kind", "message"),
    [
        ("test", {"video_saliencies": []}, None, None),
        ("test", {"video_saliencies": None}, None, None),
        ("test", {"video_saliencies": [None]}, None, None),
        ("test", {"video_saliencies": [["small/maps/i4.png"], None]}, "map-count", "1 videos and 2 lists of maps"),
        ("test", {"video_saliencies": [[]]}, "map-count", "the maps of a video are no list, none"),
        ("test", {"video_saliencies": [["small/maps/i4.png", None]]}, "map-count", "or null among others"),
        ("test", {"video_saliencies": [["small/maps/no.png"]]}, "missing-file", "video-map small/maps/no.png does not"),
        ("test", {"videos": ["small/no.mp4"]}, "missing-file", "video small/no.mp4 does not exist"),
        ("test", {"videos": ["small/images/i4.png"]}, "video-broken", "video small/images/i4.png cannot be used"),
        ("test", {"videos": ["../test.mp4"]}, "path-outside", "has '..' in its path"),
        (
            "frames",
            {"videos": [["small/images/i4.png", "small/no.png"]]},
            "missing-file",
            "image small/no.png does not",
        ),
        ("frames", {"videos": [[]]}, "path", "a video is [], expected the path of a file"),
        ("frames", {"videos": []}, "placeholders", "there are 0 videos and 1 <video>"),
    ],
)
def test_a_fault_of_one_row(clips, split, change, kind, message):
    clips.rows[split][0].update(change)
    problems = clips.validate(f"small_{split}").problems
    if kind is None:
        assert problems == []
    else:
        assert {problem.row for problem in problems} == {0}
        assert message in next(problem.message for problem in problems if problem.kind == kind)


@pytest.mark.parametrize(("split", "saliency"), [("test", "i4"), ("frames", "black")])
def test_maps_have_the_aspect_ratio_of_the_video_or_of_its_frames(clips, split, saliency):
    save_map(clips.folder / f"small/maps/{saliency}.png", blob((60, 80)))
    assert clips.found(f"small_{split}") == [("map-aspect", f"{split}.json", 0, split)]


def test_frames_of_two_sizes(clips):
    save_map(clips.image(5), blob((40, 30)), bits=8)
    (problem,) = clips.validate("small_frames").problems
    assert problem.kind == "frame-size" and "i5.png is 40x30 pixels large" in problem.message


def test_a_missing_column_of_maps(clips):
    del clips.rows["test"][0]["video_saliencies"]
    assert clips.found("small_test") == [("map-count", "test.json", 0, "test")]


def test_files_and_frames_in_one_file_are_of_two_types(clips):
    clips.rows["test"] += clips.rows["frames"]
    assert clips.found("small_test") == [("mixed-types", "test.json", 1, "frames")]


def test_a_video_in_training_and_test(clips):
    shutil.copy(clips.folder / "small/stage2.mp4", clips.folder / "small/test.mp4")
    clips.rows["stage1"] = clips.rows["stage2"]
    register(clips.folder, {"small_stage1": {"file_name": "small/stage1.json", **ENTRY}})
    (problem,) = clips.validate().problems
    assert problem.kind == "leak-image" and "the test video video_test is a file of the same content" in problem.message
