"""Each source of maps without an eye tracker, against its own definition written out pixel by pixel."""

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from scipy.ndimage import gaussian_filter

from llamafactory_gaze.data.predicted.given import GivenMaps
from llamafactory_gaze.data.predicted.marks import Boxes, Clicks
from llamafactory_gaze.data.predicted.photograph import Photograph
from llamafactory_gaze.data.predicted.predictors import OpenCVPredictor, UserPredictor
from llamafactory_gaze.data.predicted.source import NoMap, predict_map
from llamafactory_gaze.data.predicted.traces import MouseTrace, read_trace
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.saliency import map_source, read_saliency_map
from llamafactory_gaze.saliency.label import read_label


SIZE = (80, 60)


@pytest.fixture
def photo(tmp_path) -> Photograph:
    pixels = np.random.default_rng(3).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return Photograph(tmp_path, "a.png")


def gaussians(points, sigma, size=SIZE):
    """(x, y, weight) summed pixel by pixel in float64."""
    rows, columns = np.mgrid[: size[1], : size[0]]
    total = sum(w * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2)) for x, y, w in points)
    return total / total.max()


def drawn(photo, source, longest_side=None):
    """The map as it is read from its file."""
    return read_saliency_map(predict_map(photo, source, longest_side).png())


def test_clicks_are_gaussians_of_one_height(photo):
    saliency = drawn(photo, Clicks([(10, 20), (70.5, 41.25)], 5))
    np.testing.assert_allclose(saliency, gaussians([(10, 20, 1), (70.5, 41.25, 1)], 5), atol=1e-4)
    half = drawn(photo, Clicks([(10, 20)], 6), longest_side=40)  # the centre of pixel 10 of 80 is at 4.75 of 40
    np.testing.assert_allclose(half, gaussians([(4.75, 9.75, 1)], 3, (40, 30)), atol=1e-4)


@pytest.mark.parametrize("longest_side", [None, 160])
def test_a_box_is_a_gaussian_around_each_of_its_points(photo, longest_side):
    """The reference sums Gaussians over a grid ten times as fine as the pixels."""
    scale = (longest_side or 80) / 80
    fine = (np.arange(800) + 0.5) / 10  # along the image, from border to border
    pixels_x, pixels_y = (np.arange(side * scale) + 0.5 for side in SIZE)
    boxes = [(10, 5, 30, 50), (20, 40, 80, 60)]

    def along(low, high, pixels):
        inside = fine[(fine > low) & (fine < high)] * scale
        return np.exp(-((pixels[:, None] - inside) ** 2) / (2 * (4 * scale) ** 2)).sum(1)

    total = sum(along(t, b, pixels_y)[:, None] * along(le, r, pixels_x) for le, t, r, b in boxes)
    saliency = drawn(photo, Boxes(boxes, 4), longest_side)
    np.testing.assert_allclose(saliency, total / total.max(), atol=1e-3)


def test_boxes_that_meet_have_no_seam(photo):
    parts, whole = Boxes([(10, 10, 40, 50), (40, 10, 70, 50)], 3), Boxes([(10, 10, 70, 50)], 3)
    np.testing.assert_allclose(drawn(photo, parts), drawn(photo, whole), atol=1e-4)


TRACE = """image,participant,t,x,y
a.png,p1,1000,10,10
a.png,p1,1100,40,30
a.png,p1,1400,,
a.png,p1,9000,60,50
a.png,p1,9050,200,50
a.png,p1,9950,5,50
a.png,p2,7,20,50
a.png,p2,207,70,10
b.png,p2,300,1,1
"""


def test_a_position_of_the_mouse_counts_for_as_long_as_the_pointer_stayed(photo, tmp_path):
    (tmp_path / "mouse.csv").write_text(TRACE)
    source = MouseTrace(tmp_path / "mouse.csv", 4, {"time_ms": "t"})
    # 100 and 300 ms until the pointer left, 50 until it went beside the image; the last of a viewing has no end.
    expected = [(10, 10, 100), (40, 30, 300), (60, 50, 50), (20, 50, 200)]
    np.testing.assert_allclose(drawn(photo, source), gaussians(expected, 4), atol=1e-4)
    (tmp_path / "b.png").write_bytes(photo.path.read_bytes())
    with pytest.raises(NoMap, match=r"no position of .* lies on it for some time"):
        predict_map(tmp_path / "b.png", source)
    (tmp_path / "c.png").write_bytes(photo.path.read_bytes())
    with pytest.raises(NoMap, match="does not name it"):
        predict_map(tmp_path / "c.png", source)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("a.png,p1,1100", "a.png,p1,999"), "line 3: t is before that of the row above"),
        (("b.png,p2,300", "a.png,p1,9990"), "line 10: the trace on image a.png goes on after another one"),
        (("b.png,p2,300", ",p2,300"), "line 10: the column image is empty"),
        (("7,20,50", "soon,20,50"), "line 8: t is 'soon', expected a number"),
        (("7,20,50", "7,nowhere,50"), "line 8: x is 'nowhere', expected a number"),
        (("participant,t,", "participant,time,"), "lacks the column t"),
    ],
)
def test_a_trace_that_cannot_be_meant_is_refused_with_its_line(tmp_path, change, message):
    (tmp_path / "mouse.csv").write_text(TRACE.replace(*change))
    with pytest.raises(DataError, match=message):
        read_trace(tmp_path / "mouse.csv", {"time_ms": "t"})


def write_salicon(file, viewings):
    """One .mat file of SALICON; `viewings` hold rows of (time, x, y), x and y from 1."""
    gaze = np.zeros((len(viewings), 1), dtype=[(name, object) for name in ("location", "timestamp", "fixations")])
    for number, rows in enumerate(viewings):
        time, *place = np.array(rows, dtype=float).reshape(-1, 3).T
        gaze[number, 0] = (np.stack(place, 1), time[:, None], np.zeros((0, 2)))
    savemat(file, {"image": file.stem, "resolution": np.array([[60, 80]]), "gaze": gaze})


def test_the_way_of_the_mouse_in_the_files_of_salicon(photo, tmp_path):
    folder = tmp_path / "train"
    folder.mkdir()
    Image.open(photo.path).save(tmp_path / "COCO_1.jpg")
    write_salicon(folder / "COCO_1.mat", [[(0, 11, 21), (400, 71, 41), (500, 1, 1)], [], [(17, 71, 11), (217, 1, 1)]])
    write_salicon(folder / "COCO_2.mat", [[(0, 1, 1), (5, 1, 1)]])
    expected = gaussians([(10, 20, 400), (70, 40, 100), (70, 10, 200)], 5)
    for path in (folder, folder / "COCO_1.mat"):
        made = predict_map(tmp_path / "COCO_1.jpg", MouseTrace(path, 5))
        np.testing.assert_allclose(made.saliency, expected, atol=1e-4)
        assert (made.label["source"], made.label["trace"]) == ("mouse trace", path.name)
    write_salicon(folder / "COCO_2.mat", [[(5, 1, 1), (0, 1, 1)]])
    with pytest.raises(DataError, match=r"COCO_2.mat, viewing 1, position 2: its time is before"):
        MouseTrace(folder, 5)
    write_salicon(folder / "COCO_2.mat", [[(0, np.nan, 1)]])
    with pytest.raises(DataError, match=r"COCO_2.mat cannot be read as a SALICON file"):
        MouseTrace(folder, 5)
    with pytest.raises(DataError, match="--columns names columns of a table"):
        MouseTrace(folder, 5, {"x": "X"})


def test_numbers_of_a_predictor_are_scaled_and_brought_to_the_size_of_the_map(photo):
    numbers = np.random.default_rng(0).uniform(2, 7, (60, 80))
    np.testing.assert_allclose(
        drawn(photo, UserPredictor(lambda _: numbers, "mine")), numbers / numbers.max(), atol=1e-4
    )
    smooth = gaussian_filter(numbers, 5, mode="nearest")
    source = UserPredictor(lambda _: numbers, "mine", sigma_px=5)
    np.testing.assert_allclose(drawn(photo, source), smooth / smooth.max(), atol=1e-4)
    small = UserPredictor(lambda _: np.ones((3, 4), int) * [[1, 1, 1, 2]], "mine")
    saliency = drawn(photo, small)  # 20 times as large: columns of the photograph, dark to bright
    assert saliency.shape == (60, 80) and saliency[0, 0] == pytest.approx(0.5, abs=1e-4) and saliency[0, -1] == 1
    assert drawn(photo, small, longest_side=8).shape == (6, 8)


def test_a_predictor_is_given_the_rgb_picture(tmp_path):
    Image.new("RGBA", (4, 3), (200, 100, 50, 255)).save(tmp_path / "a.png")

    def predict(picture):
        assert picture.mode == "RGB" and picture.getpixel((0, 0)) == (200, 100, 50)
        return np.arange(12).reshape(3, 4)

    assert drawn(Photograph(tmp_path, "a.png"), UserPredictor(predict, "mine"))[2, 3] == 1


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (np.ones((60, 80, 3)), r"an array of the shape \(60, 80, 3\)"),
        (np.eye(80)[:, :60], "does not have the aspect ratio of the image"),
        (np.where(np.eye(60, 80) > 0, np.nan, 1), "60 values that are no finite numbers"),
        (-np.eye(60, 80), "values down to -1; expected 0 or more"),
        (np.eye(60, 80) * 1j, "no array of numbers"),
        (None, "no array of numbers"),
        ([[1, 2], [3]], "no array of numbers"),
    ],
)
def test_what_is_no_map_is_refused(photo, numbers, message):
    with pytest.raises(DataError, match=message) as error:
        predict_map(photo, UserPredictor(lambda _: numbers, "mine"))
    assert "mine gave" in str(error.value) and not isinstance(error.value, NoMap)


def test_numbers_that_tell_nothing_make_no_map(photo):
    for value in (0, 3):
        with pytest.raises(NoMap, match=f"mine gave {value} everywhere"):
            predict_map(photo, UserPredictor(lambda _, v=value: np.full((60, 80), v), "mine"))


def test_a_predictor_in_a_file(photo, tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "beside_it.py").write_text("SCALE = 9\n")
    file = folder / "my_model.py"
    file.write_text(
        "import numpy as np\nfrom beside_it import SCALE\n\n"
        "def predict(picture):\n    return SCALE * np.asarray(picture.convert('L'), float)\n\n"
        "def broken(picture):\n    raise MemoryError('no room')\n"
    )
    made = predict_map(photo, UserPredictor.load(f"{file}:predict"))
    grey = np.asarray(Image.open(photo.path).convert("L"))
    np.testing.assert_allclose(made.saliency, grey / grey.max(), atol=1e-6)
    assert map_source(made.png()) == "predictor of the user, my_model.py:predict"
    with pytest.raises(DataError, match=r"my_model.py:broken failed on .*MemoryError: no room in my_model.py, line 8"):
        predict_map(photo, UserPredictor.load(f"{file}:broken"))
    for text, message in (
        (f"{file}:nothing", "there is no function nothing"),
        (f"{file}:SCALE", "there is no function SCALE"),
        (f"{folder / 'gone.py'}:predict", "does not exist"),
        ("no_such_package.models:predict", "cannot be loaded .ModuleNotFoundError"),
        ("my_model.py", "expected package.module:function or file.py:function"),
    ):
        with pytest.raises(DataError, match=message):
            UserPredictor.load(text)


def test_a_predictor_of_a_package_says_its_version():
    label = UserPredictor.load("scipy.ndimage:gaussian_laplace").label(None)
    scipy = pytest.importorskip("scipy")
    assert (label["method"], label["library"]) == ("scipy.ndimage:gaussian_laplace", f"scipy {scipy.__version__}")


@pytest.mark.parametrize("method", ["spectral-residual", "fine-grained"])
def test_the_algorithms_find_what_stands_out(tmp_path, method):
    rng = np.random.default_rng(1)
    pixels = rng.normal(120, 4, (120, 160, 3)).clip(0, 255).astype(np.uint8)
    pixels[30:44, 100:116] = (220, 40, 40)
    Image.fromarray(pixels).save(tmp_path / "odd.png")
    made = predict_map(tmp_path / "odd.png", OpenCVPredictor(method, sigma_px=6))
    row, column = np.unravel_index(made.saliency.argmax(), made.saliency.shape)
    assert 24 <= row < 50 and 94 <= column < 122
    assert made.png() == predict_map(tmp_path / "odd.png", OpenCVPredictor(method, sigma_px=6)).png()
    assert made.label["library"].startswith("opencv ")


def test_spectral_residual_equals_the_paper(tmp_path):
    """Hou and Zhang (2007), equations 5 to 8: at 64 pixels, the spectrum's log amplitude without its local mean."""
    from scipy.ndimage import uniform_filter

    shade = np.random.default_rng(2).normal(100, 3, (64, 64))
    shade[20:26, 40:46] += 90
    grey = shade.clip(0, 255).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "a.png")
    spectrum = np.fft.fft2(grey.astype(float))
    log = np.log(np.abs(spectrum))
    residual = log - uniform_filter(log, 3, mode="wrap")
    reference = gaussian_filter(np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2, 2.5)
    made = predict_map(tmp_path / "a.png", OpenCVPredictor("spectral-residual"))
    assert np.corrcoef(made.saliency.ravel(), reference.ravel())[0, 1] > 0.9


def test_maps_of_another_model_are_found_by_name_and_relabelled(photo, tmp_path):
    folder = tmp_path / "deep"
    (folder / "sub").mkdir(parents=True)
    values = np.random.default_rng(4).integers(0, 200, (30, 40), dtype=np.uint8)
    Image.fromarray(values).save(folder / "a.tif")
    made = predict_map(photo, GivenMaps(folder), longest_side=40)
    np.testing.assert_allclose(read_saliency_map(made.png()), values / values.max(), atol=1e-4)
    assert map_source(made.png()) == "maps of another model, deep"

    (tmp_path / "b.png").write_bytes(photo.path.read_bytes())
    with pytest.raises(NoMap, match="no map of that name in deep"):
        predict_map(tmp_path / "b.png", GivenMaps(folder))
    for name, content, message in (
        ("b.png", made.png(), "says already what it was made of"),
        ("b.png", photo.path.read_bytes(), "is an RGB colour image"),
        ("a.png", made.png(), "holds a.png and a.tif; expected one"),
    ):
        (folder / name).write_bytes(content)
        with pytest.raises(DataError, match=message):
            predict_map(tmp_path / name, GivenMaps(folder))


def test_the_label_says_all_of_it(photo):
    made = predict_map(photo, Clicks([(1, 2)], 4), longest_side=40)
    assert read_label(made.png()) == made.label
    assert {key: made.label[key] for key in ("source", "method", "sigma_px", "longest_side", "image", "clicks")} == {
        "source": "click",
        "method": None,
        "sigma_px": 4,
        "longest_side": 40,
        "image": "a.png",
        "clicks": [[1, 2]],
    }
    with pytest.raises(DataError, match="lies beside the image"):
        predict_map(photo, Clicks([(1, 2), (80, 2)], 4))
    with pytest.raises(DataError, match="no part of the image"):
        predict_map(photo, Boxes([(0, 0, 81, 60)], 4))
