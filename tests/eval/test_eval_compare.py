"""The command from end to end on a tiny made-up data set: four files or none, and what stands in them."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from importlib.resources import files

import numpy as np
import pytest
from typer.testing import CliRunner

from eval.compare import app
from eval.metrics import HEADLINE
from tests.eval.comparing import Letters, failed, run, unavailable


pytestmark = pytest.mark.usefixtures("quick_metrics")

HOSTILE = "<script>alert('x')</script> & |pipe| *star*"
GALLERY_SCRIPT = files("eval.report").joinpath("templates/gallery.js").read_text().strip()
FILES = {"results.json", "per_item.jsonl", "report.md", "report.html", "tables.tex"}


def test_the_real_command(study):
    """In a process of its own, with whatever this machine has of Java and WordNet."""
    files = [f"--{name}={study.file(name)}" for name in ("baseline", "injected")]
    command = [sys.executable, "-m", "eval.compare", "--no-cache", *files, f"--dataset={study.dataset}"]
    done = subprocess.run([*command, f"--output={study.folder / 'report'}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "LOAD REPORT" not in done.stderr
    results = json.loads((study.folder / "report" / "results.json").read_text())
    for name, entry in results["metrics"].items():
        assert entry["reason"] or 0 < entry["base"] < entry["new"] < (10 if name == "cider" else 1)
    assert results["metrics"]["rougeL"]["base"] < results["metrics"]["rougeL"]["new"]


def test_files_with_the_promised_names(study):
    done, folder, results = run(study, "--control", f"off={study.file('off')}")
    assert done.exit_code == 0, done.output
    assert {path.name for path in folder.iterdir()} == FILES
    assert done.stdout.strip().splitlines()[-1] == f"Report: {folder / 'report.html'}"
    assert {"metrics", "categories", "controls", "data", "versions", "settings", "warnings", "created"} <= set(results)
    fields = {"base", "new", "diff", "pct", "ci95", "p_two_way", "p_naive", "p_holm", "signature", "clustering"}
    fields |= {"p_image_flip", "flip", "p_mixed", "mixed", "p_naive_wilcoxon", "dz", "win_rate", "mde"}
    tables = [results["metrics"], *results["categories"].values()]
    assert set(results["categories"]) == {"Abstraction", "Object", "Social"}
    for table in tables:
        assert set(HEADLINE) <= set(table)
        for name in HEADLINE:
            assert fields <= set(table[name])
    for metric in results["controls"]["off"]["metrics"].values():
        assert {"mean", "vs_reference", "main_vs"} == set(metric)
    data = results["data"]
    assert (data["n_rows"], data["n_images"], data["n_participants"], data["n_categories"]) == (24, 6, 4, 3)
    assert set(data["files"]) == {"dataset", "baseline", "injected", "off"} and data["simulated"] is None
    assert len(data["files"]["off"]["sha256"]) == 64


def test_other_tests_stand_beside_the_headline_test(study):
    done, folder, results = run(study)
    assert (results["settings"]["flip_resamples"], results["settings"]["flip_seed"]) == (9999, 0)
    entry, social = results["metrics"]["cs_f1"], results["categories"]["Social"]["cs_f1"]
    assert entry["flip"] == {"exact": True, "resamples": 64} and social["flip"] == {"exact": True, "resamples": 4}
    assert entry["p_image_flip"] == 1 / 32 and social["p_image_flip"] == 0.5  # every image gained
    assert 0 < entry["p_mixed"] < entry["p_image_flip"] and 0 < social["p_mixed"] < 1
    assert 0 < entry["p_naive_wilcoxon"] < entry["p_two_way"] and social["mde"] > entry["mde"] > 0
    assert {"icc_image", "icc_participant", "reason"} == set(entry["mixed"])
    for text in (done.stdout, (folder / "report.md").read_text(), (folder / "report.html").read_text()):
        other = text[text.index("Other tests of the same differences") :]
        assert ".031" in other and "aive" in other and "not to be cited" in " ".join(other.split())
    for report in ("report.md", "report.html"):
        assert "is exact: all 64 flips" in (folder / report).read_text()


def test_mixed_model_that_cannot_be_fitted_says_why(study):
    study.rows[4].pop("participant")
    study.write()
    _, folder, results = run(study)
    assert results["metrics"]["cs_f1"]["p_mixed"] is None
    assert "participants are not known" in results["metrics"]["cs_f1"]["mixed"]["reason"]
    assert "- No mixed model for METEOR, ROUGE-L" in (folder / "report.md").read_text()
    assert "No mixed model for METEOR, ROUGE-L" in (folder / "report.html").read_text()


def test_figures_agree_with_the_scores_of_each_row(study):
    _, folder, results = run(study, "--control", f"off={study.file('off')}")
    items = [json.loads(line) for line in (folder / "per_item.jsonl").read_text().splitlines()]
    assert [item["id"] for item in items] == [row["id"] for row in study.rows]
    assert items[3]["captions"]["injected"] == study.predictions["injected"][3]["predict"]
    assert items[3]["controls"]["off"] == study.predictions["off"][3]["predict"]

    def mean(system, metric, keep=lambda item: True):
        return np.mean([item["scores"][system][metric] for item in items if keep(item)])

    for metric in ("rougeL", "cs_f1"):
        entry = results["metrics"][metric]
        base, new, off = (mean(system, metric) for system in ("baseline", "injected", "off"))
        assert (entry["base"], entry["new"], entry["diff"]) == pytest.approx((base, new, new - base))
        assert entry["pct"] == pytest.approx(100 * (new / base - 1))
        control = results["controls"]["off"]["metrics"][metric]
        assert control["mean"] == pytest.approx(off)
        assert control["vs_reference"]["diff"] == pytest.approx(off - base)
        assert control["main_vs"]["diff"] == pytest.approx(new - off)
        social = results["categories"]["Social"][metric]
        assert social["base"] == pytest.approx(mean("baseline", metric, lambda item: item["category"] == "Social"))
        assert social["n"] == 8 and social["n_images"] == 2


def test_page_is_self_contained_and_well_formed(study):
    _, folder, _ = run(study)
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 48  # image and overlay of 24 examples
    without_images = re.sub(r"data:image/\w+;base64,[\w+/=]+", "", page)
    assert not re.search(r"https?:|//\w|@import|<link|url\(", without_images)
    ET.fromstring(re.search(r"<svg class=\"plot\".*?</svg>", page, re.DOTALL).group())
    assert without_images.count("<script>") == 1 and GALLERY_SCRIPT in page
    for text in ("Table 1", "Table 2", "Target", "Baseline", "Injected"):
        assert text in page


def test_texts_of_the_user_are_escaped(study):
    for row, *records in zip(study.rows, *study.predictions.values(), strict=True):
        row["category"] = row["participant"] = HOSTILE
        row["conversations"][1]["value"] = HOSTILE
        for record in records:
            record.update(predict=HOSTILE, label=HOSTILE)
    study.write()
    done, folder, _ = run(study, "--title", HOSTILE, "--simulated", HOSTILE)
    assert done.exit_code == 0, done.output
    page = (folder / "report.html").read_text()
    assert page.count("<script") == 1 and page.count("&lt;script&gt;") >= 5  # the page's own
    markdown = (folder / "report.md").read_text()
    assert "<script" not in markdown
    assert r"\|pipe\| \*star\*" in markdown


def test_simulated_data_are_called_so_everywhere(study):
    sentence = "Nobody looked at anything."
    done, folder, results = run(study, "--simulated", sentence)
    assert results["data"]["simulated"] == sentence
    texts = done.stdout, (folder / "report.md").read_text(), (folder / "report.html").read_text()
    for text in texts:
        assert "Simulated data" in text and sentence in text


def test_no_banner_for_real_data(study):
    done, folder, _ = run(study)
    for text in (done.stdout, (folder / "report.md").read_text(), (folder / "report.html").read_text()):
        assert "Simulated data" not in text


def test_missing_participants_and_categories(study):
    for row in study.rows:
        row.pop("category")
    study.rows[4].pop("participant")
    study.write()
    done, folder, results = run(study)
    assert done.exit_code == 0 and results["categories"] == {}
    assert results["metrics"]["rougeL"]["clustering"] == "image"
    assert results["data"]["n_participants"] is None
    assert any("1 of 24 rows name no participant" in warning for warning in results["warnings"])
    for text in (done.stdout, (folder / "report.md").read_text(), (folder / "report.html").read_text()):
        assert "Table 2" not in text


@pytest.mark.parametrize(
    ("same", "by", "shared"),
    [
        ({"participant": None}, "image", "an image"),
        ({"participant": "p"}, "image", "an image"),
        ({"image_id": "one"}, "participant", "a participant"),
        ({"image_id": "one", "participant": None}, None, None),
    ],
)
def test_no_output_claims_clusters_that_there_are_not(study, same, by, shared):
    study.rows = [{**row, **same} for row in study.rows]
    study.write()
    done, folder, results = run(study)
    assert done.exit_code == 0, done.output
    files = [(folder / name).read_text() for name in ("report.html", "report.md", "tables.tex")]
    texts = [" ".join(text.split()) for text in (done.stdout, *files)]
    for text in texts:
        assert "clustered by image and" not in text and "random effects" not in text
        assert set(re.findall(r"clustered by (\w+)[ ,.;)]", text)) == ({by} if by else set())
    for text in texts[1:3]:
        sentence = f"captions that share {shared} (clustered by {by})" if by else "No difference could be tested, so p"
        assert sentence in text
    warned = [text for text in results["warnings"] if "p values are clustered one way, by image;" in text]
    assert bool(warned) == (same == {"participant": None})


def test_few_clusters_are_pointed_out(study):
    _, _, results = run(study)
    assert any(
        "only 4 participants in the data" in warning and "p = 0.12" in warning for warning in results["warnings"]
    )
    assert any("only 2 images in category" in warning for warning in results["warnings"])


def test_identical_predictions(study):
    study.predictions["injected"] = study.predictions["baseline"]
    study.write()
    done, _, results = run(study)
    assert done.exit_code == 0, done.output
    assert results["metrics"]["cs_f1"]["diff"] == 0 and results["metrics"]["cs_f1"]["p_two_way"] == 1
    assert results["metrics"]["cs_f1"]["reason"].startswith("every difference is 0")


def test_empty_captions_score_zero_and_are_counted(study):
    for record in study.predictions["injected"]:
        record["predict"] = ""
    study.write()
    done, _, results = run(study)
    assert done.exit_code == 0, done.output
    assert all(results["metrics"][name]["new"] in (0, None) for name in HEADLINE)
    assert "24 of 24 captions of injected are empty; each scores 0." in results["warnings"]


def test_meteor_that_cannot_run_is_null_with_a_reason(study, monkeypatch):
    monkeypatch.setattr("eval.metrics.meteor.NltkMeteor", unavailable)
    done, folder, results = run(study)
    assert done.exit_code == 0, done.output
    entry = results["metrics"]["meteor"]
    assert entry["base"] is None and entry["p_two_way"] is None and "not in this test" in entry["reason"]
    assert results["categories"]["Social"]["meteor"]["pct"] is None
    assert "meteor_nltk" not in results["metrics"]
    assert any(warning.startswith("METEOR is missing") for warning in results["warnings"])
    assert "cannot be computed here" in (folder / "report.html").read_text()
    item = json.loads((folder / "per_item.jsonl").read_text().splitlines()[0])
    assert item["scores"]["baseline"]["meteor"] is None


def test_both_meteors_are_shown_and_never_mixed(study, monkeypatch):
    monkeypatch.setattr("eval.metrics.meteor.JavaMeteor", lambda: Letters("meteor", 0.001))
    monkeypatch.setattr("eval.metrics.meteor.NltkMeteor", lambda: Letters("meteor_nltk", 0.002))
    _, folder, results = run(study)
    java, nltk = results["metrics"]["meteor"], results["metrics"]["meteor_nltk"]
    assert (java["signature"], nltk["signature"]) == ("impl:meteor|refs:own", "impl:meteor_nltk|refs:own")
    assert nltk["base"] == pytest.approx(2 * java["base"])
    assert java["p_holm"] is not None and nltk["p_holm"] is None  # only the paper's seven form the family
    assert "METEOR (NLTK)" in (folder / "report.md").read_text()


def test_nltk_stands_in_for_java_by_name(study):
    _, _, results = run(study)
    assert results["metrics"]["meteor"]["implementation"] == "meteor_nltk title"
    assert "meteor_nltk" not in results["metrics"]
    assert any(warning.startswith("METEOR is NLTK's: Java METEOR cannot run") for warning in results["warnings"])


def test_media_folder_and_number_of_examples(study):
    study.folder.joinpath("images").rename(study.folder / "elsewhere")
    media = study.folder / "media"
    media.mkdir()
    study.folder.joinpath("elsewhere").rename(media / "images")
    study.folder.joinpath("maps").rename(media / "maps")
    _, folder, _ = run(study, "--media-dir", media, "--examples", 1)
    assert (folder / "report.html").read_text().count("data:image/png;base64,") == 2


def test_same_input_same_report(study):
    pages = []
    for name in ("one", "two"):
        _, folder, _ = run(study, output=name)
        pages.append(re.sub(r"Made [\d:T+-]+\.", "", (folder / "report.html").read_text()))
    assert pages[0] == pages[1]


def test_other_files_in_the_output_folder_stay(study):
    folder = study.folder / "report"
    folder.mkdir()
    (folder / "mine.txt").write_text("keep")
    (folder / "results.json").write_text("old")
    _, _, results = run(study)
    assert results["data"]["n_rows"] == 24 and (folder / "mine.txt").read_text() == "keep"


def test_nothing_is_left_behind_by_a_failure(study, monkeypatch):
    before = {path.name for path in study.folder.iterdir()}
    study.predictions["injected"][2]["label"] = "wrong"
    study.write()
    done, _, _ = run(study)
    assert "injected.jsonl, line 3 does not belong to row 2" in failed(done)
    assert {path.name for path in study.folder.iterdir()} == before


def test_nothing_is_half_written_when_the_disk_fails(study, monkeypatch):
    run(study)
    before = {path.name: path.read_bytes() for path in (study.folder / "report").iterdir()}
    monkeypatch.setattr("eval.report.pages.json.dumps", lambda *arguments, **options: 1 / 0)
    done, folder, _ = run(study)
    assert isinstance(done.exception, ZeroDivisionError)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert not list(study.folder.glob(".*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--control", "off"], "--control off is not NAME=FILE"),
        (["--control", "baseline=x.jsonl"], "the name baseline is taken"),
        (["--control", "people=x.jsonl"], "the name people is taken"),
        (["--control", "off=nowhere.jsonl"], "nowhere.jsonl cannot be read"),
        (["--cs-model", "nowhere"], "--cs-model nowhere is no folder"),
    ],
)
def test_bad_options(study, options, message):
    done, folder, _ = run(study, *options)
    assert message in failed(done) and not folder.exists()


def test_output_that_is_a_file(study):
    (study.folder / "report").write_text("mine")
    done = CliRunner().invoke(
        app,
        [f"--{name}={study.file(name)}" for name in ("baseline", "injected")]
        + [f"--dataset={study.dataset}", f"--output={study.folder / 'report' / 'deep'}"],
    )
    assert "is a file" in failed(done)


def test_help_is_there_at_once():
    code = "import eval.compare, sys; print({'torch', 'numpy', 'evaluate', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    shown = subprocess.run([sys.executable, "-m", "eval.compare", "--help"], capture_output=True, text=True, check=True)
    assert "--control" in shown.stdout and "honest baseline" in shown.stdout


def test_markdown_tables_are_whole(study):
    _, folder, _ = run(study, "--control", f"off={study.file('off')}")
    blocks = [block for block in (folder / "report.md").read_text().split("\n\n") if block.startswith("|")]
    shown = 7 + 2  # BLEU (where it is installed) and the sentence cosine stand in table 1 and the control
    shown -= importlib.util.find_spec("sacrebleu") is None
    # table 1 with other tests, table 2, the control, captions
    assert [len(block.splitlines()) - 2 for block in blocks] == [shown, shown, 3, shown, 4]
    for block in blocks:
        assert len({re.sub(r"\\\|", "", line).count("|") for line in block.splitlines()}) == 1


def test_terminal_of_80_columns_cuts_nothing(study):
    done, _, _ = run(study, "--control", f"off={study.file('off')}")
    assert "\N{HORIZONTAL ELLIPSIS}" not in done.stdout
    assert max(map(len, done.stdout.splitlines()[:-1])) <= 80
    table1 = done.stdout.partition("Table 1.")[2].partition("Other tests")[0]
    (line,) = (line for line in table1.splitlines() if line.strip().startswith("ROUGE-L"))
    assert "%" in line and re.search(r"0\.\d{3}", line)


def test_subgroups_are_the_comparison_of_their_own_rows(study):
    """Each group equals a comparison of a data set that holds no other rows."""
    for i, row in enumerate(study.rows):
        row |= {"handed": "left"} if row["participant"] == "p0" else {"handed": "right"} if i != 5 else {}
    study.write()
    done, folder, results = run(study, "--by", "handed")
    assert done.exit_code == 0, done.output
    assert list(results["subgroups"]) == ["handed"] and list(results["subgroups"]["handed"]) == ["left", "right"]
    assert any("1 rows name no handed" in text for text in results["warnings"])
    assert any("handed left" in text and "1 participant" in text for text in results["warnings"])
    for report in ("report.html", "report.md"):
        assert "By handed" in (folder / report).read_text()
    assert "right (17)" in done.stdout
    items = [json.loads(line) for line in (folder / "per_item.jsonl").read_text().splitlines()]
    assert items[5]["groups"] == {} and items[4]["groups"] == {"handed": "left"}

    kept = [i for i, row in enumerate(study.rows) if row.get("handed") == "right"]
    study.rows = [study.rows[i] for i in kept]
    study.predictions = {name: [records[i] for i in kept] for name, records in study.predictions.items()}
    study.write()
    _, _, alone = run(study, output="alone")
    for metric, entry in alone["metrics"].items():
        group = results["subgroups"]["handed"]["right"][metric]
        for figure in ("base", "new", "diff", "ci95", "p_two_way", "p_mixed", "n", "n_images", "n_participants"):
            assert group[figure] == pytest.approx(entry[figure])


def test_a_column_that_makes_no_groups_is_refused(study):
    done, _, results = run(study, "--by", "gender")
    assert "No row of" in failed(done) and "column gender" in done.stderr and results is None
    for i, row in enumerate(study.rows):
        row["age"] = 20 + i
    study.write()
    assert "has 24 different values" in failed(run(study, "--by", "age")[0])


def test_all_captions_of_an_image_as_references(study):
    """What is said about one image by everybody: a caption's best match, and people against the others."""
    _, _, own = run(study)
    done, folder, several = run(study, "--references", "image", output="several")
    assert done.exit_code == 0, done.output
    for name in ("rouge1", "rougeL", "cs_f1"):
        assert several["metrics"][name]["new"] >= own["metrics"][name]["new"]
        assert several["metrics"][name]["signature"].endswith("|refs:image,4-4")
    assert (own["settings"]["references"], several["settings"]["references"]) == ("own", "image")
    text = (folder / "report.md").read_text()
    assert "all captions of the image" in text and "one reference fewer than a system has" in text
    assert "one reference fewer" not in (folder.parent / "report" / "report.md").read_text()
