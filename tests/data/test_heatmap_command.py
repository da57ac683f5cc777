"""`llamafactory-gaze heatmaps`: the real command against direct sums of Gaussians, its counts and its refusals."""

import json

import numpy as np
import pytest
from threadpoolctl import threadpool_limits
from typer.testing import CliRunner

from llamafactory_gaze.cli import app
from llamafactory_gaze.saliency import read_saliency_map


HEADER = "image,participant,trial,index,x,y,duration_ms\n"
ROWS = "a.png,p1,1,0,0,0,100\na.png,p1,1,1,79,59,300\na.png,p2,1,0,40.3,-0.5,50\na.png,p2,2,0,90,5,70\n"


WELL = ["--image-size", "80x60", "--sigma-px", "4"]  # all that a command needs to say


@pytest.fixture
def run(tmp_path):
    def run(*more, rows=ROWS, output="maps"):
        (tmp_path / "f.csv").write_text(HEADER + rows, encoding="utf-8")
        command = ["heatmaps", str(tmp_path / "f.csv"), "--output", str(tmp_path / output), *map(str, more)]
        return CliRunner().invoke(app, command)

    return run


def direct(points, size, sigma):
    """(x, y, weight) summed pixel by pixel in float64."""
    rows, columns = np.mgrid[: size[1], : size[0]]
    total = sum(w * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2)) for x, y, w in points)
    return total / total.max()


@pytest.mark.parametrize("sigma", [2, 9, 60])
@pytest.mark.parametrize("side", [80, 40, 160])
def test_a_map_is_the_direct_sum_at_corners_for_every_width_and_map_size(run, tmp_path, sigma, side):
    result = run("--image-size", "80x60", "--sigma-px", sigma, "--longest-side", side)
    assert result.exit_code == 0, result.output
    scale = side / 80
    points = [
        ((x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5, w)
        for x, y, w in ((0, 0, 100), (79, 59, 300), (40.3, -0.5, 50))
    ]
    saliency = read_saliency_map(tmp_path / "maps/a.png")
    assert saliency.max() == 1
    assert np.abs(saliency - direct(points, (side, side * 3 // 4), sigma * scale)).max() < 1e-3


def test_screen_pixels_and_degrees_reach_the_image(run, tmp_path):
    rows = "a.png,p1,1,0,20,10,100\n"  # 2 screen pixels per image pixel: 9.75, 4.75 in the image
    screen = f"100x80,{2 * np.tan(np.pi / 360) * 100 / 8},1"  # 8 pixels per degree at 1 cm
    result = run("--image-size", "40x30", "--screen", screen, "--placement", "0,0,80,60", rows=rows)
    assert result.exit_code == 0, result.output
    assert np.abs(read_saliency_map(tmp_path / "maps/a.png") - direct([(9.75, 4.75, 1)], (40, 30), 4)).max() < 1e-3


@pytest.mark.parametrize(
    ("maps", "names"),
    [
        ("participant", ["a_p1.png", "a_p2.png"]),
        ("leave-one-out", ["a_without_p1.png", "a_without_p2.png"]),
        ("trial", ["a_p1_1.png", "a_p2_1.png"]),
    ],
)
def test_maps_of_participants_others_and_trials(run, tmp_path, maps, names):
    result = run("--image-size", "80x60", "--sigma-px", 4, "--maps", maps)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == [*names, "maps.json"]
    assert ("No fixation is left for a_p2_2.png: not written." in result.output) == (maps == "trial")
    peak = np.unravel_index(read_saliency_map(tmp_path / "maps" / names[0]).argmax(), (60, 80))
    assert peak == ((0, 40) if maps == "leave-one-out" else (59, 79))


def test_weights_and_exclusions(run, tmp_path):
    rows = "a.png,p1,1,1,70,30,300\na.png,p1,1,0,10,10,900\na.png,p2,1,1,10,30,100\na.png,p2,1,2,10,30,20\n"
    rows += "a.png,p2,1,0,1,1,100\na.png,p2,1,3,99,9,100\n"
    for choice, ratio in (((), 1 / 3), (("--weight", "count"), 1), (("--participants", "equal"), 1)):
        result = run("--image-size", "80x60", "--sigma-px", 3, "--drop-first", "--min-duration", 50, *choice, rows=rows)
        assert result.exit_code == 0, result.output
        assert read_saliency_map(tmp_path / "maps/a.png")[30, 10] == pytest.approx(ratio, abs=1e-3)
    counts = json.loads((tmp_path / "maps/maps.json").read_text())["counts"]
    lost = {"first_dropped": 2, "too_short": 1, "off_image": 1, "no_duration": 0, "in_no_map": 0}
    assert counts == {"read": 6, "used": 2} | lost


def test_a_gaussian_from_beside_the_image_is_kept_on_request_as_far_as_it_reaches(run, tmp_path):
    # On the image; 10 pixels beside it, which are 2.5 widths; 14 pixels, which are more than 3; both ways at once.
    rows = "a.png,p1,1,0,70,30,300\na.png,p1,1,1,-10.5,20,100\na.png,p1,1,2,-14.5,20,100\na.png,p1,1,3,-9,74,100\n"
    for choice, points in (("drop", [(70, 30, 300)]), ("keep", [(70, 30, 300), (-10.5, 20, 100)])):
        result = run(*WELL, "--off-image", choice, rows=rows)
        assert result.exit_code == 0, result.output
        assert np.abs(read_saliency_map(tmp_path / "maps/a.png") - direct(points, (80, 60), 4)).max() < 1e-4
        report = json.loads((tmp_path / "maps/maps.json").read_text())
        assert (report["counts"]["off_image"], report["settings"]["off_image"]) == (4 - len(points), choice)


def test_the_border_belongs_to_the_image_also_on_the_screen(run, tmp_path):
    left, right = 1 / 3 - 0.5, 1 / 3 + 70 - 0.5
    rows = f"a.png,p1,1,0,{left},9.5,1\na.png,p1,1,1,{right},9.5,1\na.png,p1,1,2,{right + 0.001},9.5,1\n"
    result = run("--image-size", "80x60", "--screen", "100x80,9,5", "--placement", f"{1 / 3},10,70,50", rows=rows)
    assert "2 used" in result.output and "1 off image" in result.output, result.output


def test_osie_gives_equal_bytes_with_any_number_of_jobs(osie, tmp_path):
    command = ["heatmaps", str(osie / "fixations.csv"), "--images", str(osie / "stimuli"), "--sigma-px", "24"]
    for jobs, cores in (("1", 1), ("3", 2)):
        with threadpool_limits(cores, "blas"):  # a product that is shared out among cores has other last bits
            result = CliRunner().invoke(app, [*command, "--output", str(tmp_path / jobs), "--jobs", jobs])
        assert result.exit_code == 0, result.output
    files = {path.name: path.read_bytes() for path in (tmp_path / "1").iterdir()}
    assert len(files) == 26
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "3").iterdir()}


@pytest.mark.parametrize(
    ("more", "rows", "message"),
    [
        (["--sigma-px", "4"], ROWS, "The size of the images is missing"),
        (["--image-size", "80x60"], ROWS, "The Gaussian's width is missing"),
        (["--image-size", "80x60", "--sigma-deg", "1"], ROWS, "--sigma-deg needs --screen"),
        (["--image-size", "80x60", "--screen", "paper"], ROWS, "say by --placement"),
        (WELL, "../a.png,p,1,0,1,1,9\n", "f.csv, line 2: the image is '../a"),
        ([*WELL, "--maps", "participant"], "a.png,p/q,1,0,1,1,9\n", "line 2: the participant is 'p/q'"),
        ([*WELL, "--maps", "trial"], "a.png,p,1,0,1,1,9\na.png,p,,0,1,1,9\n", "line 3: the trial is ''"),
        (WELL, ROWS + "a.jpg,p1,1,0,1,1,9\n", "both be named a.png"),
        (WELL, "a.png,p,1,0,99,1,9\n", "No fixation of"),
        ([*WELL, "--drop-first"], ROWS + ROWS[:21] + "\n", "a second fixation 0"),
    ],
)
def test_a_refusal_is_one_sentence_and_leaves_nothing(run, tmp_path, more, rows, message):
    result = run(*more, rows=rows)
    assert result.exit_code == 1
    assert message in result.stderr and "Traceback" not in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["f.csv"]


def test_only_a_folder_of_this_command_is_replaced(run, tmp_path):
    for _ in range(2):
        assert run("--image-size", "80x60", "--sigma-px", "4").exit_code == 0
    (tmp_path / "maps/notes.txt").write_text("mine")
    result = run("--image-size", "80x60", "--sigma-px", "4")
    assert result.exit_code == 1 and "holds notes.txt" in result.stderr
    assert (tmp_path / "maps/notes.txt").read_text() == "mine" and (tmp_path / "maps/a.png").exists()
