"""EyeLink .asc: equal to the EFIX lines of real recordings, and one sentence for every kind of damage."""

import gzip
import os
import random
import re
from pathlib import Path

import pytest

from llamafactory_gaze.data.recordings import read_recording
from llamafactory_gaze.data.tables import DataError


HEAD = "** CONVERTED FROM t.edf\nMSG\t1 DISPLAY_COORDS 0 0 1279 1023\n"
FIX = "EFIX L   100\t199\t100\t  10.5\t  -3.0\t   900\n"
TRIAL = "MSG\t50 TRIALID A\nSTART\t60 \tLEFT\tSAMPLES\tEVENTS\n" + FIX + "END\t300 \tSAMPLES\tEVENTS\tRES\t 1\t 1\n"
REAL = {
    "cili_bino1000.asc": (24, ("left", "right"), 1000, (1024, 768)),
    "cili_mono1000.asc": (10, ("right",), 1000, (1024, 768)),
    "cili_mono500.asc": (12, ("left",), 500, (1024, 768)),
    "fvideo_test.asc": (27, ("right",), 1000, (1920, 1080)),  # GAZE_COORDS, with the size instead of the last pixel
    "pymovements_binocular.asc": (4, ("left", "right"), 1000, (1920, 1080)),
    "pymovements_no_dummy.asc": (2, ("left",), 500, (1920, 1080)),
    "syelink_left_eye.asc": (228, ("left",), 500, (1280, 1024)),
    "FDBeye_1950168.asc.gz": (1186, ("left", "right"), 250, (1280, 1024)),
}


def real(name: str) -> Path:
    default = Path(__file__).resolve().parents[2] / "../shared/data"
    path = Path(os.environ.get("GAZE_SHARED_DATA", default)) / "eyelink" / name
    if not path.exists():
        pytest.skip(f"no EyeLink recording {path}; set GAZE_SHARED_DATA to the folder that holds eyelink/")
    return path


def write(tmp_path, text, name="p1.asc"):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("name", REAL)
def test_real_recordings_equal_their_efix_lines(name):
    path = real(name)
    text = (gzip.open if name.endswith(".gz") else open)(path, "rb").read().decode()
    lines = re.findall(r"^EFIX ([LR])\s+\d+\s+\d+\s+(\S+)\s+(\S+)\s+(\S+)", text, re.MULTILINE)
    count, eyes, rate, display = REAL[name]
    recording = read_recording(path)
    found = [(f.eye[0].upper(), f.duration_ms, f.x, f.y) for f in recording.fixations]
    assert len(found) == count
    assert sorted(found) == sorted((eye, float(d), float(x), float(y)) for eye, d, x, y in lines)
    assert (recording.eyes, recording.sampling_hz, recording.display_px) == (eyes, rate, display)
    assert recording.fixations[0].participant == name.split(".")[0]


def test_images_of_real_recordings():
    recording = read_recording(real("pymovements_no_dummy.asc"))
    assert {f.image for f in recording.fixations} == {"text.png"}
    pattern = r"!V TRIAL_VAR picture_name (?P<image>\S+)"  # a trial's variables are written after its recording
    recording = read_recording(real("FDBeye_1950168.asc.gz"), image_message=pattern)
    assert [f.image for f in recording.fixations if f.index == 0 and f.eye == "left"] == [
        "story01.png",
        "story02.png",
        "story03.png",
    ]
    assert all(f.image == f"story0{int(f.trial) + 1}.png" for f in recording.fixations)


def test_an_edf_names_the_command_that_converts_it():
    with pytest.raises(DataError, match=r"edf2asc -e .*exusiaiwei_2\.EDF; then import the exusiaiwei_2\.asc"):
        read_recording(real("exusiaiwei_2.EDF"))


def test_an_image_holds_from_its_message_on(tmp_path):
    later = FIX.replace("100\t199", "300\t399")
    load = "MSG\t255 5 !V IMGLOAD CENTER ..\\pics\\my cat.png 640 512\n"
    text = HEAD + "MSG\t50 TRIALID A 1\nSTART\t60\tLEFT\n" + FIX + load + later + "MSG\t500 TRIALID B\n" + later
    recording = read_recording(write(tmp_path, text))
    expected = [("A 1", 0, ""), ("A 1", 1, "my cat.png"), ("B", 0, "")]
    assert [(f.trial, f.index, f.image) for f in recording.fixations] == expected
    assert "2 fixations began before an image was named" in recording.notes[0]
    assert "START without END" in recording.notes[1]
    assert len(read_recording(tmp_path / "p1.asc", only_on_images=True).fixations) == 1


def session(tmp_path, trials, load="!V IMGLOAD FILL pics/{}.png"):
    """A recording out of words, 100 ms apart: 'a' names the image a.png, 'fix' is a fixation."""
    lines = {
        "START": "START\t{} \tLEFT\tSAMPLES\tEVENTS\n",
        "END": "END\t{} \tSAMPLES\tEVENTS\tRES\t 1\t 1\n",
        "TRIALID": "MSG\t{} TRIALID\n",
        "RESULT": "MSG\t{} TRIAL_RESULT 0\n",
    }
    text = HEAD
    for at, word in enumerate(trials.split(), start=10):
        if word == "fix":
            text += f"EFIX L   {100 * at}\t{100 * at + 49}\t50\t10\t20\t900\n"
        else:
            text += lines.get(word, "MSG\t{} " + load.format(word) + "\n").format(100 * at)
    return write(tmp_path, text)


def images(recording):
    return [fixation.image.removesuffix(".png") for fixation in recording.fixations]


@pytest.mark.parametrize(
    ("load", "pattern"), [("!V IMGLOAD FILL pics/{}.png", None), ("picture {}", r"^picture (?P<image>\S+)")]
)
@pytest.mark.parametrize(
    "trial",
    [
        "{0} START fix fix fix END",
        "START {0} fix fix fix END",
        "START fix fix fix {0} END",
        "START fix fix fix END {0}",
        "{0} START fix fix fix END {0}",
        "{0} START fix fix fix END RESULT",
        "START fix fix fix END {0} RESULT",
        "TRIALID {0} START fix fix fix END",
        "TRIALID START {0} fix fix fix END",
        "TRIALID START fix fix fix END {0}",
        "TRIALID {0} START fix fix fix END RESULT",
        "TRIALID START fix fix fix END {0} RESULT",
        "TRIALID {0} START fix END START fix fix END",
        "{0} TRIALID START fix fix fix END",
        "{0} TRIALID START fix fix fix END RESULT",
        "{0} START TRIALID fix fix fix END",
        "START TRIALID {0} fix fix fix END",
    ],
)
def test_each_trial_gets_its_own_image(tmp_path, trial, load, pattern):
    path = session(tmp_path, " ".join(trial.format(name) for name in "abcd"), load)
    recording = read_recording(path, image_message=pattern)
    assert images(recording) == list("aaabbbcccddd")
    assert [f.trial for f in recording.fixations] == list("111222333444")
    assert not any("image was named" in note for note in recording.notes)


@pytest.mark.parametrize(
    ("trials", "expected", "note"),
    [
        ("a START fix END b START fix END START fix END", ["a", "b", ""], "as named before their recording"),
        ("START fix END a START fix END START fix END b", ["a", "", "b"], "as named after their recording"),
        ("a START fix b fix END c START fix END z", ["a", "b", "c"], "as named before their recording"),
        ("START fix END START a fix END z START fix END", ["", "a", "z"], "as named before their recording"),
        ("TRIALID a START fix END z TRIALID START fix END", ["a", ""], "1 fixations began before"),
        ("TRIALID START fix END a RESULT z TRIALID START fix END b RESULT", ["a", "b"], None),
        ("TRIALID a TRIALID START fix END TRIALID b START fix END", ["", "b"], "1 fixations began before"),
    ],
)
def test_trials_without_an_image_and_images_of_no_trial(tmp_path, trials, expected, note):
    recording = read_recording(session(tmp_path, trials))
    assert images(recording) == expected
    assert note in " ".join(recording.notes) if note else not recording.notes


@pytest.mark.parametrize(
    ("trials", "before", "after"),
    [
        ("START fix END a START fix END b START fix END", ["", "a", "b"], ["a", "b", ""]),  # practice, or cut short?
        ("a START fix END b START fix END c", ["a", "b"], ["b", "c"]),  # the last or the first may be shown alone
        ("a TRIALID START fix END b TRIALID START fix END c", ["a", "b"], ["b", "c"]),
    ],
)
def test_images_of_the_recording_before_or_after_are_refused_until_one_says_which(tmp_path, trials, before, after):
    path = session(tmp_path, trials)
    with pytest.raises(DataError, match=re.escape(f"{path} names images outside") + ".*say by --image-named whether"):
        read_recording(path)
    assert images(read_recording(path, image_named="before")) == before
    assert images(read_recording(path, image_named="after")) == after


def test_two_images_of_one_name_are_refused(tmp_path):
    loads = "".join(f"MSG\t9 !V IMGLOAD FILL {folder}/1.png\n" for folder in "ab")
    with pytest.raises(DataError, match=r"two images of the name 1\.png, a/1\.png and b/1\.png"):
        read_recording(write(tmp_path, HEAD + loads + TRIAL))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("EFIX L   100\t199\t100\t  10.5\n", "EFIX has 5 values"),
        (FIX.replace("10.5", "nan"), "x is 'nan', expected a number"),
        (FIX.replace("10.5", "."), "x is '.', expected a number"),
        (FIX.replace("10.5", "1e9"), "x is 1e9, expected -100000 to 100000"),
        (FIX.replace("\t100\t", "\t-100\t"), "the duration is -100, expected 0"),
        (FIX.replace("100\t199", "199\t100"), "which is not from 199 to 100"),
        (FIX.replace("EFIX L", "EFIX B"), "names the eye 'B'"),
        (FIX[1:], "begins with 'FIX'"),
        (b"MSG\t5 M\xfcller\n", "not UTF-8"),
        (b"EFIX L\0\n", "zero byte"),
        ("x" * 70000 + "\n", "longer than 65536 bytes"),
        ("MSG\t5 DISPLAY_COORDS 0 0 0 0\n", "enclose no screen"),
    ],
)
def test_a_bad_line_is_named_and_can_be_skipped(tmp_path, line, message):
    line = line if isinstance(line, bytes) else line.encode()
    path = write(tmp_path, (HEAD + TRIAL).encode() + line + TRIAL.encode())
    with pytest.raises(DataError, match=re.escape(f"{path}, line 7: ")) as error:
        read_recording(path)
    assert message in str(error.value)
    recording = read_recording(path, skip_bad_lines=True)
    assert (len(recording.fixations), recording.skipped) == (2, 1)


def test_many_bad_lines_are_counted(tmp_path):
    with pytest.raises(DataError, match=r"because of 500 lines(?s:.*)and 490 more\.$"):
        read_recording(write(tmp_path, HEAD + "EFIX L 1\n" * 500))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (HEAD.encode("utf-16"), "UTF-16"),
        (b"1 2 3\n", "no line of an EyeLink"),
        (b"EVENTS\tHREF\tLEFT\tRATE\t500.00\n", "HREF units"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read_recording(write(tmp_path, content))


def test_cut_and_damaged_recordings_never_import_a_wrong_fixation(tmp_path):
    whole = real("cili_bino1000.asc").read_bytes()
    expected = {(f.eye, f.x, f.y, f.duration_ms) for f in read_recording(real("cili_bino1000.asc")).fixations}
    rng = random.Random(0)
    for _ in range(40):
        path = write(tmp_path, whole[: rng.randrange(1, len(whole))])
        try:
            recording = read_recording(path, skip_bad_lines=True)
        except DataError:
            continue
        assert {(f.eye, f.x, f.y, f.duration_ms) for f in recording.fixations} <= expected
    packed = gzip.compress(whole)
    for cut in (5, 1000, len(packed) - 4):
        with pytest.raises(DataError, match=r"cut off or damaged|cannot be read"):
            read_recording(write(tmp_path, packed[:cut], "p.asc.gz"))
