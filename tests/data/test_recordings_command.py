"""`llamafactory-gaze fixations`: the table, the summary, and that a failure writes nothing."""

from typer.testing import CliRunner

from llamafactory_gaze.cli import app


ASC = (
    "MSG\t1 DISPLAY_COORDS 0 0 1279 1023\nMSG\t2 TRIALID A\nMSG\t3 !V IMGLOAD FILL i.png\nSTART\t4\tLEFT\tRIGHT\n"
    "EFIX L   100\t199\t100\t10.5\t-3\t900\nEFIX R   100\t199\t100\t12\t-4.25\t900\nEND\t300\n"
)


def call(*arguments):
    return CliRunner().invoke(app, ["fixations", *map(str, arguments)])


def test_a_binocular_table(tmp_path):
    (tmp_path / "p1.asc").write_text(ASC)
    output = tmp_path / "new" / "f.csv"
    result = call(tmp_path / "p1.asc", "--output", output)
    assert result.exit_code == 0, result.output
    assert output.read_text() == (
        "image,participant,trial,index,x,y,duration_ms,eye\ni.png,p1,A,0,10.5,-3,100,left\n"
        "i.png,p1,A,0,12,-4.25,100,right\n"
    )
    assert "screen of 1280 x 1024 pixels" in result.output and "pixels of the screen" in result.output
    assert call(tmp_path / "p1.asc", "--output", output).exit_code == 1
    assert call(tmp_path / "p1.asc", "--output", output, "--eye", "left", "--overwrite").exit_code == 0
    assert output.read_text().splitlines()[1:] == ["i.png,p1,A,0,10.5,-3,100"]
    assert [path.name for path in output.parent.iterdir()] == ["f.csv"]


def test_a_bad_line_writes_nothing_unless_skipped(tmp_path):
    (tmp_path / "p1.asc").write_text(ASC + "EFIX L 5\n")
    output = tmp_path / "f.csv"
    result = call(tmp_path / "p1.asc", "--output", output)
    assert result.exit_code == 1 and "line 8: EFIX has 2 values" in result.stderr
    assert "Traceback" not in result.output and not output.exists()
    result = call(tmp_path / "p1.asc", "--output", output, "--skip-bad-lines")
    assert result.exit_code == 0 and "1 lines left out that cannot be read" in result.output


def test_images_of_an_unclear_recording_wait_for_image_named(tmp_path):
    recording = "START\t{0}00\tLEFT\nEFIX L   {0}10\t{0}59\t50\t10.5\t-3\t900\nEND\t{0}90\n"
    lines = [recording.format(1), "MSG\t200 !V IMGLOAD FILL i.png\n", recording.format(3)]
    (tmp_path / "p1.asc").write_text("".join(lines))
    output = tmp_path / "f.csv"
    result = call(tmp_path / "p1.asc", "--output", output)
    assert result.exit_code == 1 and "--image-named" in result.stderr and not output.exists()
    for place, images in (("before", ["", "i.png"]), ("after", ["i.png", ""])):
        assert call(tmp_path / "p1.asc", "--output", output, "--image-named", place, "--overwrite").exit_code == 0
        assert [line.split(",")[0] for line in output.read_text().splitlines()[1:]] == images


def test_a_recording_named_twice_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p1.asc").write_text(ASC)
    (tmp_path / "link.asc").symlink_to("p1.asc")
    (tmp_path / "folder").mkdir()
    for other in ("p1.asc", "./p1.asc", "folder/../p1.asc", "link.asc", tmp_path / "p1.asc"):
        for more in ((), ("--participant", "p1")):
            result = call("p1.asc", other, "--output", "f.csv", *more)
            assert result.exit_code == 1, other
            assert "are the same recording; name it once." in result.stderr and not (tmp_path / "f.csv").exists()


def test_wrong_arguments_end_in_one_sentence(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "p1.asc").write_text(ASC)
    first, second = tmp_path / "a" / "p1.asc", tmp_path / "b" / "p1.asc"
    output = ("--output", tmp_path / "f.csv")
    for arguments, message in [
        ((first, second, *output), "would both be participant p1"),
        ((tmp_path / "no.asc", *output), "does not exist"),
        ((first, *output, "--image-message", "("), "no regular expression"),
        ((first, *output, "--image-message", "x"), "no group 'image'"),
        ((first, "--output", first, "--overwrite"), "expected a file that ends in .csv"),
    ]:
        result = call(*arguments)
        assert result.exit_code == 1 and message in result.stderr, result.output
