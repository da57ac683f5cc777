"""Where one looks: strokes, fixations in time, and files, against plain numpy."""

import numpy as np
import pytest
from PIL import Image

from llamafactory_gaze.data.maps.heatmaps import encode_map
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.playground import gaze
from llamafactory_gaze.playground.gaze import EVERYBODY
from llamafactory_gaze.playground.picture import Picture, PlaygroundError, draw_example, read_picture
from llamafactory_gaze.saliency import SaliencyMapError
from llamafactory_gaze.saliency.label import label_texts
from tests.explain.conftest import HEIGHT, WIDTH, make_image, random_map, save_map


HEADER = "image,participant,index,x,y,duration_ms"
ROWS = [  # the rows of a person stand in disorder: `index` orders them
    ("scene.png", "anna", 1, 150, 40, 300),
    ("scene.png", "anna", 0, 30, 120, 200),
    ("scene.png", "anna", 2, 900, 40, 100),  # beside the picture
    ("scene.png", "ben", 0, 60, 60, 250),
    ("other.png", "cem", 0, 10, 10, 500),
]


def write_table(path, rows=ROWS, header=HEADER):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


@pytest.fixture
def table(tmp_path):
    return gaze.read_uploaded_fixations(write_table(tmp_path / "fixations.csv"))


def gaussians(points, weights, size, sigma):
    """The sum of Gaussians at points of a map, pixel by pixel, with a maximum of 1."""
    width, height = size
    total = np.zeros((height, width))
    for (x, y), weight in zip(points, weights, strict=True):
        for row in range(height):
            for column in range(width):
                total[row, column] += weight * np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * sigma**2))
    return total / total.max()


def strokes(size, *boxes, opacity=153):
    """A layer of the editor with rectangles painted on it."""
    layer = np.zeros((size[1], size[0], 4), dtype=np.uint8)
    for x0, y0, x1, y1 in boxes:
        layer[y0:y1, x0:x1] = (255, 70, 0, opacity)
    return Image.fromarray(layer)


def test_a_painting_is_smoothed_by_a_gaussian_and_its_maximum_is_one():
    size, spread = (60, 40), 0.05  # 3 pixels
    found = gaze.painted_map([strokes(size, (10, 5, 14, 20)), strokes(size, (40, 25, 55, 30), opacity=51)], spread)
    painted = np.zeros((40, 60))
    painted[5:20, 10:14], painted[25:30, 40:55] = 153, 51
    rows, columns = np.nonzero(painted)
    expected = gaussians(zip(columns, rows, strict=True), painted[rows, columns], size, 3)
    assert found.shape == (40, 60) and found.max() == 1
    np.testing.assert_allclose(found, expected, atol=2e-3)  # scipy cuts the Gaussian off at four widths


def test_overlapping_layers_count_once_and_nothing_painted_is_no_gaze():
    once, both = strokes((30, 30), (5, 5, 15, 15)), strokes((30, 30), (10, 10, 20, 20))
    union = strokes((30, 30), (5, 5, 15, 15), (10, 10, 20, 20))
    np.testing.assert_array_equal(gaze.painted_map([once, both], 0.1), gaze.painted_map([union], 0.1))
    assert gaze.painted_map([], 0.1) is None
    assert gaze.painted_map([strokes((30, 30))], 0.1) is None


@pytest.mark.parametrize(
    ("time", "lasted", "now"),
    [
        (0, [0, 0], [0]),
        (120, [120, 0], [0]),
        (200, [200, 0], [1]),
        (350, [200, 150], [1]),
        (550, [200, 300], []),  # the third lies beside the picture, and takes its time
        (10_000, [200, 300], []),
    ],
)
def test_a_replay_shows_the_fixations_up_to_a_time(table, picture, time, lasted, now):
    viewing = gaze.replay(table, "scene.png", "anna", picture)
    assert viewing.end == 600
    points = [(30.0, 120.0), (150.0, 40.0)]
    assert viewing.now(time) == [points[i] for i in now]
    found = viewing.map_at(time, 0.05)
    if not any(lasted):
        assert found is None
        with pytest.raises(PlaygroundError, match=r"After 0\.00 s nothing on the picture has been looked at"):
            gaze.gaze_of_replay(viewing, time, 0.05, "anna")
        return
    expected = gaussians(points, lasted, (WIDTH, HEIGHT), 0.05 * WIDTH)  # the map has the size of so small a picture
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_everybody_begins_at_once(table, picture):
    viewing = gaze.replay(table, "scene.png", EVERYBODY, picture)
    assert viewing.now(100) == [(30.0, 120.0), (60.0, 60.0)]
    assert sorted(viewing.lasted(225).tolist()) == [0, 25, 200, 225]
    assert gaze.people_of(table, "scene.png") == ["anna", "ben"]
    assert gaze.gaze_of_replay(viewing, 225, 0.05, EVERYBODY).origin == (
        "3 fixations of everybody, the first 0.23 of 0.60 s"
    )
    assert gaze.gaze_of_replay(viewing, 600, 0.05, EVERYBODY).origin == "3 fixations of everybody"


def test_a_large_picture_gets_a_smaller_map_with_its_gaze_in_the_same_place(tmp_path):
    large = Picture("scene.png", Image.new("RGB", (2048, 1024)))
    row = ("scene.png", "anna", 0, 1500, 300, 200)
    found = gaze.replay(
        gaze.read_uploaded_fixations(write_table(tmp_path / "one.csv", [row])), "scene.png", "anna", large
    ).map_at(200, 0.02)
    assert found.shape == (256, 512)
    y, x = np.unravel_index(found.argmax(), found.shape)
    assert (abs(x - 1500 / 4), abs(y - 300 / 4)) <= (1, 1)


def test_the_image_of_a_table_is_that_of_the_pictures_name(table, picture, tmp_path):
    assert gaze.images_of(table) == ["other.png", "scene.png"]
    assert gaze.image_for(table, picture) == "scene.png"
    assert gaze.image_for(table, Picture("scene.jpg", picture.image)) == "scene.png"
    assert gaze.image_for(table, Picture("photo.jpg", picture.image)) is None
    single = gaze.read_uploaded_fixations(write_table(tmp_path / "single.csv", ROWS[-1:]))
    assert gaze.image_for(single, picture) == "other.png"


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        (ROWS, "image,participant,index,x,y,ms", "bad.csv lacks the column duration_ms; it has image"),
        ([("scene.png", "anna", 0, "left", 3, 200)], HEADER, "bad.csv, line 2: x is 'left', expected a number."),
        ([("scene.png", "anna", 0, 3, 3, "")], HEADER, "bad.csv does not say how long 1 of the 1 fixations last"),
        (
            [("scene.png", "anna", 0, 3, 300, 200)],
            HEADER,
            "None of the 1 fixations on scene.png lies on the picture of",
        ),
    ],
)
def test_a_bad_table_is_one_sentence_without_the_folder(tmp_path, picture, rows, header, message):
    path = write_table(tmp_path / "bad.csv", rows, header)
    with pytest.raises(DataError) as error:
        gaze.replay(gaze.read_uploaded_fixations(path), "scene.png", "anna", picture)
    assert message in str(error.value) and str(tmp_path) not in str(error.value) and "\n" not in str(error.value)


def test_a_map_file(tmp_path, picture):
    saliency = random_map()
    found = gaze.read_map(save_map(tmp_path / "map.png", saliency), picture)
    np.testing.assert_allclose(found.saliency, saliency, atol=1 / 255)
    assert found.origin == "map map.png"
    label = {"source": "click", "method": None}
    (tmp_path / "click.png").write_bytes(encode_map(saliency, label_texts(label)))
    assert gaze.read_map(tmp_path / "click.png", picture).origin == "map click.png (not of an eye tracker: click)"
    make_image().save(tmp_path / "colour.png")
    save_map(tmp_path / "turned.png", saliency.T)
    (tmp_path / "text.png").write_text("no map")
    for name, message in (
        ("colour.png", "Saliency map colour.png is an RGB colour image"),
        ("turned.png", "The size of turned.png, 168x224, does not have the aspect ratio of scene.png"),
        ("text.png", "Saliency map text.png cannot be decoded"),
    ):
        with pytest.raises(SaliencyMapError) as error:
            gaze.read_map(tmp_path / name, picture)
        assert message in str(error.value) and str(tmp_path) not in str(error.value)


def test_a_picture_is_upright_and_shown_large(tmp_path):
    image = make_image()
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    image.save(tmp_path / "turned.png", exif=exif)
    found = read_picture(tmp_path / "turned.png")
    assert found.name == "turned.png" and found.image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(found.image), np.rot90(np.asarray(image), -1))
    assert found.shown.size == (540, 720)


def test_an_example_is_drawn_by_its_seed():
    one, same, other = (draw_example(seed) for seed in (3, 3, 4))
    assert one.name == "simulated scene" and min(one.image.size) >= 168
    assert one.image.tobytes() == same.image.tobytes() != other.image.tobytes()


def test_a_bad_picture_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "text.png").write_text("no picture")
    make_image().save(tmp_path / "good.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:3000])
    Image.new("L", (20, 400)).save(tmp_path / "small.png")
    Image.new("L", (28, 2829)).save(tmp_path / "long.png")
    Image.new("1", (9000, 8000)).save(tmp_path / "large.png")
    for name, message in (
        ("text.png", "text.png cannot be read as a picture (UnidentifiedImageError)"),
        ("cut.png", "cut.png cannot be read as a picture"),
        ("small.png", "small.png has 20x400 pixels: each side needs at least 28"),
        ("long.png", "long.png has 28x2829 pixels"),
        ("large.png", "large.png has 9000x8000 pixels, more than 67108864"),
    ):
        with pytest.raises(PlaygroundError) as error:
            read_picture(tmp_path / name)
        assert message in str(error.value) and str(tmp_path) not in str(error.value)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(PlaygroundError, match=r"good\.png has far too many pixels"):
        read_picture(tmp_path / "good.png")
