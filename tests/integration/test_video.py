"""Videos with maps over time, through LLaMA-Factory's own loader and collator to `pixel_values_videos`.

The frames of these videos look as the map that they should get: the map's channel must be what the video processor
makes of the frames, in place and in time.
"""

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from llamafactory_gaze.modeling.configuration import IN_PICTURE, IN_PROMPT, IN_TOWER
from llamafactory_gaze.saliency.controls import CONTROLS
from tests.integration.conftest import load_data, register, row, save_image, save_map


PIXELS, SALIENCY = 3 * 2 * 14 * 14, 2 * 14 * 14
SIZE = (112, 56)  # width and height of the frames: 4 x 8 patches, which the processor leaves as they are
COLUMNS = {"messages": "conversations", "videos": "videos", "video_saliencies": "video_saliencies"}
PLAIN = {"formatting": "sharegpt", "columns": {"messages": "conversations", "videos": "videos"}}


def dot(place: float) -> np.ndarray:
    """A map with a dot that goes from the upper left corner to the lower right one as `place` goes from 0 to 1."""
    saliency = np.zeros((SIZE[1], SIZE[0]), dtype=np.uint8)
    x, y = round(place * (SIZE[0] - 12)), round(place * (SIZE[1] - 12))
    saliency[y : y + 12, x : x + 12] = 255
    return saliency


def save_dots(folder: Path, name: str, places: list[float]) -> list[str]:
    """Writes one dot a file; returns the paths, relative to `folder`."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    for i, place in enumerate(places):
        Image.fromarray(dot(place)).save(folder / name / f"{i}.png")
    return [f"{name}/{i}.png" for i in range(len(places))]


def places(maps: int) -> list[float]:
    return np.linspace(0, 1, maps).tolist()


def write_video(path: Path, dots: list[float], starts: list[int], codec: str) -> str:
    """A file whose frames show the dots from `starts` on, in tenths of a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "2"} if codec == "libx264" else {}
        for place, start in zip(dots, starts, strict=True):
            frame = av.VideoFrame.from_ndarray(np.repeat(dot(place)[..., None], 3, axis=2), format="rgb24")
            frame.pts, frame.time_base = start, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.name


def video_row(videos: list, saliencies: list | None, **fields) -> dict:
    turns = [{"from": "human", "value": "<video>" * len(videos) + "What happens?"}, {"from": "gpt", "value": "a dot."}]
    return {"conversations": turns, "videos": videos, "video_saliencies": saliencies, **fields}


def register_videos(folder: Path, rows: list[dict], name: str = "gaze", **entry) -> None:
    register(folder, name, rows, **{"columns": COLUMNS, **entry})


def channel(batch) -> torch.Tensor:
    assert batch["pixel_values_videos"].shape == (int(batch["video_grid_thw"].prod(-1).sum()), PIXELS + SALIENCY)
    return batch["pixel_values_videos"][:, PIXELS:]


def red(batch) -> torch.Tensor:
    """The first colour of the frames, in [0, 1], as the video processor cuts it."""
    mean, std = 0.48145466, 0.26862954  # of the processor's `image_mean` and `image_std`
    return batch["pixel_values_videos"][:, :SALIENCY] * std + mean


# Order in time


@pytest.mark.parametrize(
    ("frames", "maps", "expected"),
    [
        (4, 4, [0, 1, 2, 3]),
        (6, 3, [0, 0, 1, 1, 2, 2]),
        (5, 2, [0, 0, 1, 1, 1]),  # LLaMA-Factory repeats the last frame to make the number even
        (3, 7, [1, 3, 5]),
        (4, 1, [0, 0, 0, 0]),
        (1, 1, [0]),
    ],
)
def test_each_frame_of_a_list_has_the_map_of_its_time(tmp_path, frames, maps, expected):
    dots = places(maps)
    shown = save_dots(tmp_path, "frames", [dots[i] for i in expected])
    register_videos(tmp_path, [video_row([shown], [save_dots(tmp_path, "maps", dots)])])
    _, batch = load_data(tmp_path)
    assert batch["video_grid_thw"].tolist() == [[(frames + 1) // 2, 4, 8]]
    np.testing.assert_allclose(channel(batch).numpy(), red(batch).numpy(), atol=1e-5)


def test_the_dot_goes_from_left_to_right(tmp_path):
    """Without the processor's help: the middle of the map in each temporal patch, from the grid of the patches."""
    maps = save_dots(tmp_path, "maps", places(8))
    register_videos(tmp_path, [video_row([save_dots(tmp_path, "frames", [0.0] * 8)], [maps])])
    _, batch = load_data(tmp_path)
    # (time, window row, window column, row in it, column in it, frame, y, x) -> (frame, y, x)
    pixels = channel(batch).numpy().reshape(4, 2, 4, 2, 2, 2, 14, 14).transpose(0, 5, 1, 3, 6, 2, 4, 7)
    pixels = pixels.reshape(8, *SIZE[::-1])
    middles = [(np.nonzero(each)[1].mean(), np.nonzero(each)[0].mean()) for each in pixels]
    expected = [(place * 100 + 5.5, place * 44 + 5.5) for place in places(8)]
    np.testing.assert_allclose(middles, expected, atol=0.5)


@pytest.mark.parametrize(
    ("name", "codec", "keys", "sampled"),
    [
        ("clip.mp4", "libx264", {}, [0, 5, 11, 16, 22, 27, 33, 39]),  # two frames a second of four seconds
        ("clip.mp4", "libx264", {"video_maxlen": 3}, [0, 19, 39]),
        ("clip.mkv", "ffv1", {}, list(range(40))),  # says not how long it is: LLaMA-Factory takes the first 128 frames
    ],
)
@pytest.mark.parametrize("maps", [40, 4])
def test_a_file_is_sampled_and_each_frame_keeps_the_map_of_its_time(tmp_path, name, codec, keys, sampled, maps):
    """Ten frames a second for four seconds: a map for each frame, or for each second."""
    of_frame = [i * maps // 40 for i in range(40)]
    video = write_video(tmp_path / name, [places(maps)[i] for i in of_frame], list(range(40)), codec)
    register_videos(tmp_path, [video_row([video], [save_dots(tmp_path, "maps", places(maps))])])
    _, batch = load_data(tmp_path, **keys)
    assert batch["video_grid_thw"].tolist() == [[(len(sampled) + 1) // 2, 4, 8]]
    assert (channel(batch) - red(batch)).abs().max() < 0.1  # the file is not lossless


def test_a_frame_rate_that_changes(tmp_path):
    """Four frames in 0.4 seconds, then four in 3.1: the middle of that time is not between the fourth and the fifth."""
    starts = [0, 1, 2, 3, 4, 14, 24, 34]  # tenths of a second; the last frame is shown for one of them
    expected = [0, 0, 0, 0, 0, 1, 1, 1]  # the fifth is shown from 0.4 to 1.4, the sixth from 1.4 to 2.4 seconds
    video = write_video(tmp_path / "clip.mp4", [float(i) for i in expected], starts, "libx264")
    register_videos(tmp_path, [video_row([video], [save_dots(tmp_path, "maps", [0.0, 1.0])])])
    _, batch = load_data(tmp_path, video_fps=8)
    assert batch["video_grid_thw"].tolist() == [[4, 4, 8]]
    assert (channel(batch) - red(batch)).abs().max() < 0.1


@pytest.mark.parametrize("keys", [{"video_max_pixels": 80 * 60}, {"video_min_pixels": 150 * 100}])
def test_resized_frames_keep_their_maps(tmp_path, keys):
    """The map is resampled to the grid of the video, by its own filter: the dot lies where it lies in the frame."""
    shown = save_dots(tmp_path, "frames", places(4))
    register_videos(tmp_path, [video_row([shown], [save_dots(tmp_path, "maps", places(4))])])
    _, batch = load_data(tmp_path, **keys)
    _, h, w = batch["video_grid_thw"][0].tolist()
    assert (h, w) != (4, 8)
    of_frame = [
        each.reshape(2, h * w, 2, 196).mean(-1).transpose(1, 2).reshape(4, -1) for each in (channel(batch), red(batch))
    ]
    assert torch.equal(of_frame[0].argmax(1), of_frame[1].argmax(1))
    assert len(set(of_frame[0].argmax(1).tolist())) == 4


# With and without maps


def test_videos_without_maps_and_several_in_a_row(tmp_path):
    frames, maps = save_dots(tmp_path, "frames", places(2)), save_dots(tmp_path, "maps", places(2))
    rows = [video_row([frames, frames], [None, maps]), video_row([frames], None), video_row([frames], [None])]
    register_videos(tmp_path, rows)
    _, batch = load_data(tmp_path)
    first, second, *others = channel(batch).split(32)
    assert (second >= 0).all() and second.max() == 1
    assert all((each == -1).all() for each in (first, *others)) and len(others) == 2
    register_videos(tmp_path, rows[1:])
    assert load_data(tmp_path)[1]["pixel_values_videos"].shape[1] == PIXELS


@pytest.mark.parametrize("fusion", IN_TOWER)
@pytest.mark.parametrize("control", CONTROLS)
def test_a_control_works_on_each_map(tmp_path, fusion, control):
    (tmp_path / "maps").mkdir()
    maps = [np.full((SIZE[1], SIZE[0]), 50 + 60 * i, dtype=np.uint8) + dot(i / 3) // 10 for i in range(4)]
    for i, saliency in enumerate(maps):
        Image.fromarray(saliency).save(tmp_path / f"maps/{i}.png")
    frames = save_dots(tmp_path, "frames", places(4))
    register_videos(tmp_path, [video_row([frames], [[f"maps/{i}.png" for i in range(4)]])])
    _, batch = load_data(tmp_path, gaze_fusion=fusion, gaze_ablation=control)
    of_frame = channel(batch).reshape(2, 32, 2, 196).transpose(1, 2).reshape(4, -1)
    for found, saliency in zip(of_frame, maps, strict=True):
        expected = CONTROLS[control](saliency.astype(np.float32) / 255)
        np.testing.assert_allclose(np.sort(found.numpy()), np.sort(expected.ravel()), atol=1e-6)


@pytest.mark.parametrize("fusion", [*IN_TOWER, *IN_PICTURE, *IN_PROMPT])
def test_off_is_the_stock_template(tmp_path, fusion):
    """Odd number of frames: the same one is repeated once."""
    frames, maps = save_dots(tmp_path, "frames", places(3)), save_dots(tmp_path, "maps", places(3))
    register_videos(tmp_path, [video_row([frames], [maps])])
    plain = video_row([frames], None)
    del plain["video_saliencies"]
    register(tmp_path, "stock", [plain], **PLAIN)
    _, batch = load_data(tmp_path, gaze_fusion=fusion, gaze_ablation="off")
    _, stock = load_data(tmp_path, dataset="stock", template="qwen2_vl", lora_target="all")
    assert set(batch) == set(stock) and batch["second_per_grid_ts"] == stock["second_per_grid_ts"]
    for name in ("input_ids", "labels", "video_grid_thw", "pixel_values_videos"):
        assert torch.equal(batch[name], stock[name])


def test_embedded_maps_and_another_column(tmp_path):
    import pandas

    frames, maps = save_dots(tmp_path, "frames", places(3)), save_dots(tmp_path, "maps", places(3))
    register_videos(tmp_path, [video_row([frames], [maps])])
    _, expected = load_data(tmp_path)
    embedded = [{"bytes": (tmp_path / path).read_bytes(), "path": None} for path in maps]
    entry = video_row([frames], None)
    entry["heat"] = [embedded]
    del entry["video_saliencies"]
    pandas.DataFrame([entry]).to_parquet(tmp_path / "embedded.parquet")
    columns = {**COLUMNS, "video_saliencies": "heat"}
    register_videos(tmp_path, [], "embedded", file_name="embedded.parquet", columns=columns)
    _, batch = load_data(tmp_path, dataset="embedded")
    assert torch.equal(batch["pixel_values_videos"], expected["pixel_values_videos"])


# Mixed lists


def test_one_list_mixes_gaze_and_plain_videos_images_and_text(tmp_path):
    frames, maps = save_dots(tmp_path, "frames", places(4)), save_dots(tmp_path, "maps", places(4))
    video = write_video(tmp_path / "clip.mp4", places(20), list(range(20)), "libx264")
    save_image(tmp_path / "image.png", (112, 84), 1)
    save_map(tmp_path / "map.png", (112, 84), 2)
    register(tmp_path, "images", [row(["image.png"], ["map.png"])])
    register_videos(tmp_path, [video_row([frames], [maps])], "frames")
    register_videos(tmp_path, [video_row([video], [maps])], "files")
    for name, videos in (("plain_frames", [frames]), ("plain_files", [video])):
        register(tmp_path, name, [{k: v for k, v in video_row(videos, None).items() if v is not None}], **PLAIN)
    text = {"columns": {"prompt": "instruction", "response": "output"}, "formatting": "alpaca"}
    register(tmp_path, "text", [{"instruction": "Say ho.", "input": "", "output": "ho."}], **text)

    names = ["images", "frames", "files", "plain_frames", "plain_files", "text"]
    dataset, batch = load_data(tmp_path, dataset=",".join(names))
    assert len(dataset) == 6
    assert batch["pixel_values"].shape == (48, PIXELS + SALIENCY) and (batch["pixel_values"][:, PIXELS:] >= 0).all()
    assert batch["video_grid_thw"].tolist() == [[2, 4, 8]] * 4
    of_video = channel(batch).split(64)
    assert [bool((each >= 0).all()) for each in of_video] == [True, True, False, False]
    assert all((each == -1).all() for each in of_video[2:])
    np.testing.assert_allclose(of_video[0].numpy(), red(batch)[:64].numpy(), atol=1e-5)
    assert torch.equal(red(batch)[:64], red(batch)[128:192]) and torch.equal(red(batch)[64:128], red(batch)[192:])
    for order in (names[::-1], names[3:]):  # no gaze data set comes first, or none is there
        assert len(load_data(tmp_path, dataset=",".join(order))[0]) == len(order)


def test_images_and_videos_in_one_row(tmp_path):
    frames, maps = save_dots(tmp_path, "frames", places(2)), save_dots(tmp_path, "maps", places(2))
    save_image(tmp_path / "image.png", (112, 84), 1)
    save_map(tmp_path / "map.png", (112, 84), 2)
    register_videos(tmp_path, [video_row([frames], [maps])], "videos")
    register(tmp_path, "images", [row(["image.png"], ["map.png"])])
    entry = {**video_row([frames], [maps]), "images": ["image.png"], "saliencies": ["map.png"]}
    entry["conversations"][0]["value"] = "<image><video>What happens?"
    columns = {**COLUMNS, "images": "images", "saliencies": "saliencies"}
    register(tmp_path, "gaze", [entry], columns=columns)
    _, batch = load_data(tmp_path)
    assert torch.equal(batch["pixel_values"], load_data(tmp_path, dataset="images")[1]["pixel_values"])
    videos = load_data(tmp_path, dataset="videos")[1]
    assert torch.equal(batch["pixel_values_videos"], videos["pixel_values_videos"])


# Exchanged maps


def maps_of(dataset) -> list[tuple[str, list[str]]]:
    """Of each row the video, and the names of its maps."""
    pairs = []
    for (reference,) in dataset["videos"]:
        video, _, maps = reference.partition("#saliency=")
        pairs.append((Path(video).name, ["/".join(Path(path).parts[-2:]) for path in json.loads(maps)]))
    return pairs


def test_whole_lists_of_maps_are_exchanged(tmp_path):
    """Two videos seen by two people each; the number of maps differs among the videos."""
    rows = []
    for count in (2, 3):
        video = write_video(tmp_path / f"{count}.mp4", places(10), list(range(10)), "libx264")
        for who in "ab":
            rows.append(video_row([video], [save_dots(tmp_path, f"{who}{count}", places(count))]))
    register_videos(tmp_path, rows)
    straight = maps_of(load_data(tmp_path)[0])
    assert straight == [(f"{n}.mp4", [f"{who}{n}/{i}.png" for i in range(n)]) for n in (2, 3) for who in "ab"]
    shuffled = maps_of(load_data(tmp_path, gaze_ablation="shuffle")[0])
    observer = maps_of(load_data(tmp_path, gaze_ablation="observer")[0])
    lists = [maps for _, maps in straight]
    for exchanged in (shuffled, observer):
        assert [video for video, _ in exchanged] == [video for video, _ in straight]
        assert sorted(maps for _, maps in exchanged) == sorted(lists)
    assert all(len(maps) == 5 - int(video[0]) for video, maps in shuffled)
    assert [maps for _, maps in observer] == [lists[i] for i in (1, 0, 3, 2)]


def test_an_exchange_that_cannot_be_is_refused(tmp_path):
    frames, maps = save_dots(tmp_path, "frames", places(2)), save_dots(tmp_path, "maps", places(2))
    register_videos(tmp_path, [video_row([frames], [maps])])
    with pytest.raises(ValueError, match=r"cannot give every video the map of another one: of 1 maps, 1 belong to one"):
        load_data(tmp_path, gaze_ablation="shuffle")
    with pytest.raises(ValueError, match=r"another observer's map of its video: frames/0.png, frames/1.png has 1 rows"):
        load_data(tmp_path, gaze_ablation="observer")


# What is refused


@pytest.fixture
def clip(tmp_path) -> dict:
    """A row with a video of four frames and as many maps."""
    return video_row([save_dots(tmp_path, "frames", places(4))], [save_dots(tmp_path, "maps", places(4))], id="r0")


def refused(folder: Path, entry: dict, message: str, **keys) -> None:
    register_videos(folder, [entry])
    with pytest.raises(ValueError, match=message) as error:
        load_data(folder, **keys)
    assert "Data set gaze.json, row 0 (id r0): " in str(error.value)


@pytest.mark.parametrize(
    ("saliencies", "message"),
    [
        ([None, None], "there are 1 videos and 2 lists of saliency maps: expected one list for each video"),
        ([[]], "the video of .*frames/0.png has no list of saliency maps: expected one map for each time bin"),
        ([["maps/0.png", None]], "has no list of saliency maps"),
        ([["maps/0.png", "maps/9.png"]], "maps/9.png does not exist"),
        ([["maps/0.png", "square.png"]], r"square.png, 50x50, does not have the aspect ratio of the video of .*112x56"),
    ],
)
def test_bad_maps_are_refused(tmp_path, clip, saliencies, message):
    save_map(tmp_path / "square.png", (50, 50), 1)
    refused(tmp_path, {**clip, "video_saliencies": saliencies}, message)


def test_bad_videos_are_refused(tmp_path, clip):
    save_image(tmp_path / "large.png", (224, 112), 1)
    (tmp_path / "text.mp4").write_text("no video")
    missing = "frame frames/9.png of a video cannot be read"
    refused(tmp_path, {**clip, "videos": [["frames/0.png", "frames/9.png"]]}, missing)
    large = "frame .*large.png is 224x112 pixels large, but the first frame of its video 112x56"
    refused(tmp_path, {**clip, "videos": [["frames/0.png", "large.png"]]}, large)
    refused(tmp_path, {**clip, "videos": ["none.mp4"]}, "video none.mp4 cannot be read")
    refused(tmp_path, {**clip, "videos": ["text.mp4"]}, "video .*text.mp4 cannot be read")
    # A playlist names other files, which FFmpeg would open.
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n")
    refused(tmp_path, {**clip, "videos": ["list.mp4"]}, "video .*list.mp4 cannot be read")
    refused(tmp_path, {**clip, "videos": ["a#saliency=b.mp4"]}, "which is reserved: rename the file")
    refused(tmp_path, {**clip, "videos": [[]]}, "a video is an empty list: expected the path of a file")


@pytest.mark.parametrize("video", [{"bytes": b"1", "path": None}, [{"bytes": b"1", "path": None}]])
def test_embedded_videos_are_refused(tmp_path, clip, video):
    import pandas

    pandas.DataFrame([{**clip, "videos": [video]}]).to_parquet(tmp_path / "embedded.parquet")
    register_videos(tmp_path, [], file_name="embedded.parquet")
    with pytest.raises(ValueError, match="a video is embedded: expected the path of a file"):
        load_data(tmp_path)


def test_a_missing_column_is_refused(tmp_path, clip):
    del clip["video_saliencies"]
    refused(tmp_path, clip, "no column 'video_saliencies'.*Found: conversations, id, videos. Name it as `video_sal")


@pytest.mark.parametrize("fusion", [*IN_PICTURE, *IN_PROMPT])
def test_gaze_in_picture_or_prompt_is_refused_for_videos(tmp_path, clip, fusion):
    register_videos(tmp_path, [clip])
    with pytest.raises(ValueError, match=f"`gaze_fusion: {fusion}` takes the maps of images, not those of videos"):
        load_data(tmp_path, gaze_fusion=fusion)
