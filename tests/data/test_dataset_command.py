"""`llamafactory-gaze dataset`: the real command on the OSIE sample, its messages, and that its help is quick."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from llamafactory_gaze.cli import app
from llamafactory_gaze.saliency import read_saliency_map


def arguments(options, *more):
    files = ("--fixations", options.fixations, "--images", options.images, "--descriptions", options.descriptions)
    return [str(a) for a in ("dataset", *files, "--name", options.name, "--dataset-dir", options.dataset_dir, *more)]


def test_osie(osie, tmp_path):
    inputs = {name: osie / name for name in ("fixations.csv", "stimuli", "descriptions.csv")}
    files = [("--fixations", "fixations.csv"), ("--images", "stimuli"), ("--descriptions", "descriptions.csv")]
    command = ["dataset", *(part for option, name in files for part in (option, str(inputs[name])))]
    result = CliRunner().invoke(app, [*command, "--name", "osie", "--dataset-dir", str(tmp_path), "--sigma-px", "24"])
    assert result.exit_code == 0, result.output
    assert "3460 read, 3460 in a map" in result.output
    assert "Descriptions excluded: 0." in result.output
    assert "NOT style-normalised" in result.output
    assert f"llamafactory-gaze demo --dataset-dir {tmp_path} --dataset osie" in result.output

    rows = {
        split: json.loads((tmp_path / "osie" / f"{split}.json").read_text()) for split in ("stage1", "stage2", "test")
    }
    assert [len(rows[split]) for split in ("stage1", "stage2", "test")] == [76, 76, 24]
    assert {row["category"] for row in rows["test"]} == {"Object", "Composition", "Social"}
    # On image 1001 people looked longest at the music player above the plate.
    saliency = read_saliency_map(tmp_path / "osie" / "maps" / "1001.png")
    assert saliency.shape == (600, 800)
    row, column = np.unravel_index(saliency.argmax(), saliency.shape)
    assert 310 < column < 410 and 30 < row < 180
    assert Image.open(tmp_path / "osie" / "preview.png").size == (1308, 906)


def test_a_wrong_input_ends_in_one_sentence(recording):
    recording.fixations[3] = "a1.png,p2,0,left,5,90"
    options = recording.options()
    result = CliRunner().invoke(app, arguments(options, "--sigma-px", "4"))
    assert result.exit_code == 1
    assert f"Error: {options.fixations}, line 4: x is 'left', expected a number." in result.stderr
    assert "Traceback" not in result.output
    assert not options.dataset_dir.exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "The Gaussian's width is missing; give --sigma-px"),
        (["--sigma-px", "4", "--sigma-deg", "1"], "both set the Gaussian's width"),
        (["--sigma-deg", "1"], "--sigma-deg needs --screen"),
        (["--screen", "paper", "--placement", "center", "--sigma-deg", "0.01"], "expected at least 1"),
        (["--screen", "paper"], "The image a1.png has 80x60 pixels and the screen 1920x1080; say by --placement"),
        (["--sigma-px", "4", "--maps", "trial"], "lacks the column trial"),
        (["--sigma-px", "4", "--columns", "x"], "--columns x is not understood"),
        (["--sigma-px", "4", "--columns", "x=A", "--columns", "x=B"], "--columns x=B is not understood"),
        (
            ["--sigma-px", "4", "--folds", "2", "--test-fraction", "0.3"],
            "--folds and --test-fraction both say how large",
        ),
        (["--sigma-px", "4", "--inaudible", "["], "--inaudible is no regular expression"),
        (["--sigma-px", "4", "--min-fixations", "5"], "do the rules on exclusions fit these data?"),
    ],
)
def test_wrong_options_are_explained(recording, more, message):
    result = CliRunner().invoke(app, arguments(recording.options(), *more))
    assert result.exit_code == 1
    assert message in result.stderr


def test_columns(recording):
    recording.fixations[0] = "picture,participant,index,x,FIX_Y,duration_ms"
    options = recording.options()
    more = ["--columns", "image=picture", "--columns", "y=FIX_Y", "--sigma-px", "4"]
    result = CliRunner().invoke(app, arguments(options, *more))
    assert result.exit_code == 0, result.output
    card = (options.dataset_dir / "small" / "README.md").read_text()
    assert "standard deviation of 4 pixels" in card and "image = picture, y = FIX_Y" in card


def test_the_options_of_exclusions_speech_split_privacy_and_card_arrive(recording):
    recording.descriptions = [
        line.replace('"p1 sees', '"Um, I see').replace('"p2 sees', '"I see') for line in recording.descriptions
    ]
    recording.descriptions[1] = "a1.png,p1,Object,Go and."
    for line in recording.descriptions[2::2]:  # a third person, who talks like the second
        image = line.partition(",")[0]
        recording.descriptions.append(line.replace(",p2,", ",p3,"))
        recording.fixations += [f"{image},p3,0,10,10,300", f"{image},p3,1,30,20,300"]
    (recording.folder / "fillers.txt").write_text("plainly\n")
    (recording.folder / "people.csv").write_text("participant,age\np1,31\np2,47\np3,26\n")
    options = recording.options()
    values = {
        "--sigma-px": 4,
        "--participants-table": recording.folder / "people.csv",
        "--min-fixations": 1,
        "--min-on-image": 0.1,
        "--min-looking-ms": 350,
        "--max-one-fixation": 0.99,
        "--min-spread": 0.0001,
        "--min-words": 2,
        "--inaudible": "@@",
        "--incomplete": r"and\.$",
        "--fillers": recording.folder / "fillers.txt",
        "--split": "participant",
        "--folds": 3,
        "--seed": 8,
        "--pseudonyms": recording.folder / "salt.txt",
        "--consent": "Asked.",
        "--licence": "CC0-1.0",
        "--cite": "Doe 2025",
        "--contact": "doe@example.org",
    }
    more = [str(part) for option in values.items() for part in option]
    result = CliRunner().invoke(app, arguments(options, "--clean-speech", *more))
    assert result.exit_code == 0, result.output
    folder = options.dataset_dir / "small"
    assert f"Descriptions excluded: 1: 1 x incomplete (each is listed in {folder / 'excluded.csv'})." in result.output
    assert "--dataset small_fold1 " in result.output and "dataset=small_fold1_stage1" in result.output
    card = (folder / "README.md").read_text()
    for said in (
        "at least 1 fixation of the speaker on the image; at least 10% of the speaker's fixations on it; at least 350 "
        "ms of looking; at most 99.0% of a map's weight in one fixation; fixations of a map that spread over at least "
        "0.0001 of the diagonal; at least 2 words; no mark of inaudible speech (`@@`); no end that breaks off "
        "(`and\\.$`).",
        "Fillers: those of fillers.txt",
        "The split is by participant: ",
        "3 folds, each of them the test set once, seed 8;",
        "Participants **are codes**",
        "Further fields of the rows: age.",
        "| licence | CC0-1.0 |",
        "| how to cite | Doe 2025 |",
        "| contact | doe@example.org |",
        "| consent of the participants | Asked. |",
    ):
        assert said in card
    rows = json.loads((folder / "fold2" / "test.json").read_text())
    assert rows and all("plainly" in row["spoken"] for row in rows)
    assert not any("plainly" in row["conversations"][1]["value"] for row in rows)


def test_the_help_imports_nothing_heavy():
    script = (
        "import sys; from llamafactory_gaze.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'transformers', 'pandas', 'numpy', 'llamafactory'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "dataset" in result.stdout and result.stdout.endswith("[]\n"), result.stdout + result.stderr
