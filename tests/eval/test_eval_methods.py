"""The methods paragraph says what was done in this comparison, and nothing else."""

from __future__ import annotations

import pytest

from eval.report.methods import methods_paragraph
from tests.eval.comparing import run


pytestmark = pytest.mark.usefixtures("quick_metrics")


def paragraph(study, *options):
    done, _, results = run(study, *options)
    assert done.exit_code == 0, done.output
    return methods_paragraph(results)


def test_a_study_with_images_and_participants(study):
    text = paragraph(study, "--control", f"off={study.file('off')}")
    for fact in (
        "captions of injected with those of baseline on 24 captions of 6 images by 4 participants in 3 categories.",
        "As a control served off.",
        "what the same participant had said about the image",
        "ROUGE-L, ROUGE-2 and ROUGE-1 (rouge-score",
        "CIDEr could not be computed.",
        "clustered by image and by participant at once (Cameron, Gelbach and Miller, 2011)",
        "flips the signs of whole images (exact)",
        "a mixed model with random effects of image and participant",
        "scipy",
    ):
        assert fact in text, fact
    assert "simulated" not in text and "left out" not in text and "empty" not in text and "\n" not in text


def test_a_study_without_participants_and_with_gaps(study):
    for row in study.rows:
        row.pop("participant")
        row["category"] = "one"
    study.predictions["injected"] = study.predictions["injected"][:9]
    study.predictions["baseline"][0]["predict"] = ""
    study.write()
    text = paragraph(study, "--allow-partial", "--references", "image", "--simulated", "Made up.")
    for fact in (
        "The data are simulated. Made up.",
        "on 9 captions of 3 images.",
        "15 of 24 rows of the data set were left out",
        "1 empty caption scored 0.",
        "all human captions of its image",
        "whose standard error is clustered by image, with",
    ):
        assert fact in text, fact
    assert "participant" not in text.replace("image and participant", "") and "categor" not in text


def test_a_category_of_one_image(study):
    for row in study.rows:
        row["category"] = "single" if row["image_id"] == "scene0" else "other"
    study.write()
    text = paragraph(study)
    assert "by image and by participant at once" in text
    assert "Where all captions were of one image, it is clustered by participant only." in text
    first, second = (study.folder / "report" / "tables.tex").read_text().split(r"\end{table}")[:2]
    assert ", clustered by image and participant; " in first
    assert ", clustered by image and participant, or by participant; " in second


def test_flips_that_are_drawn(study):
    study.rows = [
        {**row, "image_id": f"{row['image_id']}-{i % 4}", "participant": f"p{i % 3}"}
        for i, row in enumerate(study.rows)
    ]
    study.write()
    assert "(9,999 flips, seed 0)" in paragraph(study)


def test_nothing_that_can_be_tested(study):
    for row in study.rows:
        row["image_id"], row["participant"] = "one", "p"
    study.write()
    assert "No difference could be tested." in paragraph(study)
