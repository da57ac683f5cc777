"""CAT2000 and SALICON as published.

No file of theirs was at hand. These are written in the layout that public code reads: CAT2000 as the evaluation code
that loads FIXATIONLOCS/<Category>/001.mat and its `fixLocs`; SALICON's annotations as github.com/NUS-VIP/salicon-api
draws them, whose ten example images agree ([row, column] from 1 to 480 and 640), and its .mat files as
github.com/matthias-k/pysaliency reads them.
"""

import json
import zlib

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from typer.testing import CliRunner

from llamafactory_gaze.cli import app
from llamafactory_gaze.data.recordings import read_recording
from llamafactory_gaze.data.tables import DataError


def cat2000(folder):
    """trainSet with two images; returns the (column, row) pixels of each, row by row."""
    pixels = {"Action/001.jpg": [(1919, 0), (5, 3), (9, 3)], "Satelite/017.jpg": [(0, 1079)]}
    for name, points in pixels.items():
        category, file = name.split("/")
        for kind in ("Stimuli", "FIXATIONLOCS", "FIXATIONMAPS"):
            (folder / kind / category).mkdir(parents=True, exist_ok=True)
        matrix = np.zeros((1080, 1920), np.uint8)
        for x, y in points:
            matrix[y, x] = 1
        savemat(folder / "FIXATIONLOCS" / category / file.replace("jpg", "mat"), {"fixLocs": matrix})
        Image.new("L", (192, 108)).save(folder / "FIXATIONMAPS" / category / file)
    return pixels


def found(recording):
    return [(f.image, f.participant, f.index, f.x, f.y, f.duration_ms) for f in recording.fixations]


@pytest.mark.parametrize("part", [".", "FIXATIONLOCS"])
def test_a_folder_of_cat2000(tmp_path, part):
    pixels = cat2000(tmp_path)
    recording = read_recording(tmp_path / part)
    assert found(recording) == [
        (image, "all", index, x, y, None) for image, points in pixels.items() for index, (x, y) in enumerate(points)
    ]
    assert (recording.format, recording.pixels_of) == ("cat2000", "image")
    assert "--weight count" in recording.notes[0]


def test_one_category_and_one_file_of_cat2000(tmp_path):
    cat2000(tmp_path)
    (tmp_path / "Stimuli/Satelite/017.png").write_bytes(b"any")
    category = tmp_path / "FIXATIONLOCS/Satelite"
    expected = [("Satelite/017.png", "p1", 0, 0, 1079, None)]  # the ending that the image really has
    assert found(read_recording(category, participant="p1")) == expected
    assert found(read_recording(category / "017.mat", participant="p1")) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"fixLocs": np.array([[0, 7]])}, "holds the value 7 in fixLocs; expected 0 and 1"),
        ({"fixLocs": np.array([[0, np.nan]])}, "holds the value nan in fixLocs"),
        ({"fixLocs": np.zeros((2, 2, 2))}, "holds no matrix fixLocs"),
        ({"fixLocs": "text"}, "holds no matrix fixLocs"),
    ],
)
def test_a_bad_file_of_cat2000(tmp_path, content, message):
    cat2000(tmp_path)
    path = tmp_path / "FIXATIONLOCS/Satelite/018.mat"
    savemat(path, content)
    with pytest.raises(DataError, match=message):
        read_recording(path)
    with pytest.raises(DataError, match=rf"because of 1 line(?s:.*)018\.mat: .*{message}"):
        read_recording(tmp_path)
    assert (len(read_recording(tmp_path, skip_bad_lines=True).fixations)) == 4


def annotations(**changes):
    content = {
        "info": {"description": "SALICON", "version": "1.0"},
        "images": [
            {"id": 9, "file_name": "COCO_train2014_000000000009.jpg", "width": 640, "height": 480, "license": 3},
            {"id": 25, "file_name": "COCO_train2014_000000000025.jpg", "width": 500, "height": 333, "license": 1},
        ],
        "licenses": [],
        "type": "fixations",
        "annotations": [
            {"id": 1, "image_id": 9, "worker_id": 307, "fixations": [[1, 1], [480, 640], [242, 314]]},
            {"id": 2, "image_id": 25, "worker_id": 307, "fixations": []},
            {"id": 3, "image_id": 25, "worker_id": 444, "fixations": [[10, 20]]},
        ],
    }
    return content | changes


def write_json(tmp_path, content):
    path = tmp_path / "fixations_val2014.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_salicon_annotations(tmp_path):
    recording = read_recording(write_json(tmp_path, annotations()))
    first, second = "COCO_train2014_000000000009.jpg", "COCO_train2014_000000000025.jpg"
    assert found(recording) == [
        (first, "w307", 0, 0, 0, None),
        (first, "w307", 1, 639, 479, None),
        (first, "w307", 2, 313, 241, None),
        (second, "w444", 0, 19, 9, None),
    ]
    assert len(recording.notes) == 1 and "--weight count" in recording.notes[0]
    many = [{"id": 1, "image_id": 9, "worker_id": 1, "fixations": [[i + 1, 5] for i in range(100)]}]
    notes = read_recording(write_json(tmp_path, annotations(annotations=many))).notes
    assert notes[1] == "There are 100 positions per viewing: all of the mouse's, not its fixations."


@pytest.mark.parametrize(
    ("fixations", "message"),
    [
        ([[0, 5]], "annotation 1, fixation 1: [0, 5] is not within 1 to 480 rows and 1 to 640 columns"),
        ([[1, 1], [481, 5]], "annotation 1, fixation 2: [481, 5] is not within"),
        ([[5]], "annotation 1, fixation 1: it is [5], expected [row, column]"),
        ([["5", 5]], "it is ['5', 5], expected [row, column]"),
        ([[True, 5]], "it is [True, 5], expected [row, column]"),
        ([[1e400, 5]], "is no JSON file (Infinity is no number)"),
        (None, "annotation 1: worker_id is no number or fixations is no list"),
        ([[319.0, 247.0]] * 18 + [[583.0, 118.0]] * 2, "gives (column, row) from 0"),
    ],
)
def test_a_bad_annotation_is_named(tmp_path, fixations, message):
    path = write_json(
        tmp_path,
        annotations(annotations=[{"id": 1, "image_id": 9, "worker_id": 1, "fixations": fixations}]),
    )
    with pytest.raises(DataError) as error:
        read_recording(path)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON file"),
        ("[" * 100_000, "is no JSON file"),
        ("[]", "expected the lists images and annotations"),
        (annotations(images=[]), "annotation 1: it lacks worker_id or fixations, or its image_id is not among"),
        (annotations(images=[{"id": 9}]), "image 1: it lacks id, file_name, width or height"),
        (annotations(images=[annotations()["images"][0]] * 2), "image 2: the id 9 is that of another image"),
        (annotations(images=[annotations()["images"][0] | {"width": 0}]), "image 1: its id, file_name, width or"),
        (annotations(annotations=[7]), "annotation 1: it lacks worker_id"),
    ],
)
def test_a_bad_annotation_file_is_named(tmp_path, content, message):
    with pytest.raises(DataError) as error:
        read_recording(write_json(tmp_path, content))
    assert message in str(error.value)


def write_mat(path, viewings, **changes):
    gaze = np.zeros((len(viewings), 1), dtype=[(name, object) for name in ("location", "timestamp", "fixations")])
    for j, fixations in enumerate(viewings):
        gaze[j, 0] = (np.array([[300.0, 200]] * 3), np.array([[0], [16], [33]]), fixations)
    content = {"image": path.stem, "resolution": np.array([[480, 640]]), "gaze": gaze}
    savemat(path, content | changes)


def test_salicon_mat_files(tmp_path):
    (tmp_path / "train").mkdir()
    file = tmp_path / "train" / "COCO_train2014_000000000009.mat"
    # MATLAB stores small whole numbers as bytes, from which one cannot be taken away from 0.
    write_mat(file, [np.array([[1, 200], [255, 0]], np.uint8), np.zeros((0, 2)), np.array([[640.0, 480]])])
    write_mat(file.with_name("COCO_train2014_000000000025.mat"), [np.array([[3, 4]])])
    one = [
        ("COCO_train2014_000000000009.jpg", "COCO_train2014_000000000009-01", 0, 0, 199, None),
        ("COCO_train2014_000000000009.jpg", "COCO_train2014_000000000009-01", 1, 254, -1, None),
        ("COCO_train2014_000000000009.jpg", "COCO_train2014_000000000009-03", 0, 639, 479, None),
    ]
    assert found(read_recording(file)) == one
    recording = read_recording(tmp_path)
    other = "COCO_train2014_000000000025"
    assert found(recording) == [*one, (f"{other}.jpg", f"{other}-01", 0, 2, 3, None)]
    assert (recording.format, recording.pixels_of) == ("salicon", "image")

    write_mat(file, [np.array([[np.nan, 4], [1, 2]])])
    with pytest.raises(DataError, match=r"viewing 1, fixation 1: \(nan, 4\) is no place in pixels"):
        read_recording(file)
    assert len(read_recording(file, skip_bad_lines=True).fixations) == 1
    for damage in ({"gaze": 5}, {"gaze": "text"}):
        write_mat(file, [], **damage)
        with pytest.raises(DataError, match="cannot be read as a SALICON file"):
            read_recording(file)
    write_mat(file, [np.zeros((2, 3))])
    with pytest.raises(DataError, match="expected image and gaze with fixations of n x 2"):
        read_recording(file)


@pytest.mark.parametrize("compressed", [False, True])
def test_an_element_of_no_type_is_refused_before_scipy_ends_the_process(tmp_path, compressed):
    path = tmp_path / "001.mat"
    savemat(path, {"fixLocs": np.eye(3)})
    content = path.read_bytes()
    assert content.count(b"\x09\0\0\0\x48\0\0\0") == 1  # the tag of 9 doubles
    body = content[128:].replace(b"\x09\0\0\0\x48\0\0\0", b"\xfa\0\0\0\x48\0\0\0")
    if compressed:
        packed = zlib.compress(body)
        body = b"\x0f\0\0\0" + len(packed).to_bytes(4, "little") + packed
    path.write_bytes(content[:128] + body)
    with pytest.raises(DataError, match="an element has the type 250"):
        read_recording(path)


def test_other_folders_are_refused(tmp_path):
    for folder in ("empty", "other"):
        (tmp_path / folder).mkdir()
    savemat(tmp_path / "other/a.mat", {"fixations": 1})
    for folder in ("empty", "other"):
        with pytest.raises(DataError, match="is a folder, and neither CAT2000's nor SALICON's; name the files in it"):
            read_recording(tmp_path / folder)
    with pytest.raises(DataError, match="is a folder; name the files in it"):
        read_recording(tmp_path / "empty", "eyelink")
    with pytest.raises(DataError, match=r"holds no \.mat file"):
        read_recording(tmp_path / "empty", "salicon")


def test_without_durations_maps_need_weight_count(tmp_path):
    cat2000(tmp_path / "trainSet")

    def call(*arguments):
        return CliRunner().invoke(app, list(map(str, arguments)))

    table = tmp_path / "f.csv"
    result = call("fixations", tmp_path / "trainSet", "--output", table)
    assert result.exit_code == 0, result.output
    assert table.read_text().splitlines()[:2] == [
        "image,participant,trial,index,x,y,duration_ms",
        "Action/001.jpg,all,,0,1919,0,",
    ]
    assert read_recording(table).fixations == read_recording(tmp_path / "trainSet").fixations
    heatmaps = ("heatmaps", table, "--image-size", "1920x1080", "--sigma-px", 57, "--output", tmp_path / "maps")
    for more in ((), ("--weight", "count", "--min-duration", "50")):
        result = call(*heatmaps, *more)
        assert result.exit_code == 1 and "use --weight count without --min-duration" in result.stderr
        assert not (tmp_path / "maps").exists()
    result = call(*heatmaps, "--weight", "count")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "maps/Action/001.png").exists()
