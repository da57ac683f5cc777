"""What a STUDY.yaml may say, and the one sentence that each mistake ends in."""

import re
from pathlib import Path

import pytest

from llamafactory_gaze.study.definition import StudyError, Variant, read_study, resolve_layers


ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "yaml_recipes" / "demo"


def study_file(folder: Path, text: str, recipes: Path = RECIPES) -> Path:
    file = folder / "mine.yaml"
    file.write_text(text if "recipes:" in text else f"recipes: {recipes}\n{text}", encoding="utf-8")
    return file


ONE_VARIANT = "variants: {first: {gaze_layers: late}}"


@pytest.mark.parametrize(
    ("layers", "depth", "blocks"),
    [
        ("late", 32, [28]),
        ("late", 8, [7]),
        ("spread", 32, [7, 15, 23, 31]),
        ("spread", 8, [1, 3, 5, 7]),
        ("all", 32, list(range(32))),
        ("all", 8, [0, 1, 2, 3, 4, 5, 6, 7]),
        ([28, 5], 32, [28, 5]),
        ([], 8, []),
        (None, 8, None),
    ],
)
def test_words_for_layers_fit_towers_of_any_depth(layers, depth, blocks):
    assert resolve_layers(layers, depth) == blocks


def test_late_is_the_calibrators_own_default():
    from llamafactory_gaze.modeling.configuration import default_gaze_layers

    for depth in (4, 8, 24, 32):
        assert resolve_layers("late", depth) == default_gaze_layers(depth)


def test_a_study_says_what_is_compared(tmp_path):
    text = """
title: Places
question: >
  Where?
seeds: [3, 1]
values: {learning_rate: 1.0e-5}
stage2: {max_steps: 7}
controls: ["off", moved]
variants:
  The First, Late (28):
    gaze_layers: late
    stage1: {max_steps: 5}
  second:
"""
    study = read_study(study_file(tmp_path, text))
    assert (study.title, study.question, study.seeds, study.controls) == ("Places", "Where?", (3, 1), ("off", "moved"))
    first, second = study.variants
    assert (first.name, first.slug) == ("The First, Late (28)", "the-first-late-28")
    assert first.keys("stage1") == {"gaze_layers": "late", "max_steps": 5}
    assert first.keys("stage2") == first.keys("predict") == {"gaze_layers": "late"}
    assert second.keys("stage1") == {}
    assert study.everywhere.keys("stage1") == study.everywhere.keys("predict") == {"learning_rate": 1e-5}
    assert study.everywhere.keys("stage2") == {"learning_rate": 1e-5, "max_steps": 7}
    assert study.baseline.keys("stage2") == {"gaze_ablation": "off"}


def test_what_is_left_out_has_a_default(tmp_path):
    study = read_study(study_file(tmp_path, ONE_VARIANT))
    assert (study.title, study.seeds, study.controls, study.question) == ("mine", (42,), (), "")
    assert study.dataset_dir is study.dataset is None


def test_a_section_stands_over_what_is_set_for_all():
    variant = Variant("v", {"max_steps": 1, "seed": 5}, {"stage2": {"max_steps": 2}})
    assert variant.keys("stage1") == {"max_steps": 1, "seed": 5}
    assert variant.keys("stage2") == {"max_steps": 2, "seed": 5}


def test_yamls_bare_off_among_the_controls_is_the_word(tmp_path):
    study = read_study(study_file(tmp_path, f"controls: [off, center]\n{ONE_VARIANT}"))
    assert study.controls == ("off", "center")


def test_the_command_line_stands_over_the_file(tmp_path):
    file = study_file(tmp_path, f"recipes: nowhere\nseeds: [1, 2]\n{ONE_VARIANT}")
    study = read_study(file, recipes=RECIPES, seeds=(9,), dataset_dir=tmp_path, dataset="mine")
    assert (study.recipes, study.seeds, study.dataset_dir, study.dataset) == (RECIPES, (9,), tmp_path, "mine")
    assert read_study(file, recipes=RECIPES, seeds=None).seeds == (1, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("variants: [unclosed", "{file} is no YAML: .*"),
        ("- a list", "{file} is no study: expected keys such as `title` and `variants`."),
        ("", "{file} is no study: .*"),
        (f"variant: x\n{ONE_VARIANT}", "{file}: `variant` is not known. Known are title, .*, variants, controls."),
        ("title: x", "{file}: `variants` is empty: .*"),
        ("variants: {}", "{file}: `variants` is empty: .*"),
        ("variants: [late, all]", "{file}: `variants` holds .*'late'.*: expected recipe keys with their values."),
        ("variants: {first: late}", "{file}: `first` holds 'late': expected recipe keys with their values."),
        ("variants: {first: {1: 2}}", "{file}: `first` holds {{1: 2}}: expected recipe keys with their values."),
        (
            "variants: {first: {stage2: 300}}",
            "{file}: `first, stage2` holds 300: expected recipe keys with their values.",
        ),
        (
            "variants: {first: {gaze_layers: early}}",
            "{file}, first: `gaze_layers: early`: expected blocks, e.g. [28], or late, spread, all.",
        ),
        (
            f"values: {{gaze_layers: early}}\n{ONE_VARIANT}",
            "{file}, values: `gaze_layers: early`: expected blocks, e.g. [28], or late, spread, all.",
        ),
        (f"values: late\n{ONE_VARIANT}", "{file}: `values` holds 'late': expected recipe keys with their values."),
        (f"stage2: 300\n{ONE_VARIANT}", "{file}: `values, stage2` holds 300: expected recipe keys with their values."),
        (
            "variants: {first: {stage2: {gaze_layers: early}}}",
            "{file}, first: `gaze_layers: early`: expected blocks, e.g. [28], or late, spread, all.",
        ),
        (f"seeds: 3\n{ONE_VARIANT}", "{file}: `seeds: 3`: expected a list of whole numbers, e.g. [1, 2, 3]."),
        (f"seeds: []\n{ONE_VARIANT}", "{file}: `seeds: []`: expected a list of whole numbers, .*"),
        (f"seeds: [1, true]\n{ONE_VARIANT}", "{file}: `seeds: [1, True]`: expected a list of whole numbers, .*"),
        (
            f"controls: [off, blink]\n{ONE_VARIANT}",
            "{file}: control `blink` is not known. Known are off, uniform, center, shuffle, observer, moved.",
        ),
        (f"controls: shuffel\n{ONE_VARIANT}", "{file}: control `shuffel` is not known. .*"),
        (
            "variants: {one block: {gaze_layers: late}, One-Block: {gaze_layers: all}}",
            "{file}: two variants have the same name, .*",
        ),
        ("variants: {Baseline: {gaze_layers: late}}", "{file}: .* or one is called `baseline`: rename one of them."),
        ("variants: {'...': {gaze_layers: late}}", "{file}: .*rename one of them."),
    ],
)  # fmt: skip
def test_a_mistake_ends_in_one_sentence(tmp_path, text, message):
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(StudyError) as error:
        read_study(file, recipes=RECIPES)
    pattern = ".*".join(re.escape(part) for part in message.format(file=file).split(".*"))
    assert re.fullmatch(pattern, str(error.value)), str(error.value)  # `.` matches no line break


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(StudyError, match=r"none\.yaml cannot be read"):
        read_study(tmp_path / "none.yaml")


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "mine.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StudyError, match=r"mine\.yaml cannot be read"):
        read_study(tmp_path / "mine.yaml")


@pytest.mark.parametrize("given", [{"dataset_dir": Path("data")}, {"dataset": "mine"}])
def test_folder_and_name_of_the_data_belong_together(tmp_path, given):
    with pytest.raises(StudyError, match="--dataset-dir and --dataset belong together"):
        read_study(study_file(tmp_path, ONE_VARIANT), **given)


@pytest.mark.parametrize("name", ["stage1", "stage2", "predict_injected"])
def test_a_missing_recipe_is_named(tmp_path, name):
    for other in {"stage1", "stage2", "predict_injected"} - {name}:
        (tmp_path / f"{other}.yaml").write_text("stage: sft")
    with pytest.raises(StudyError, match=f"{tmp_path / name}.yaml does not exist: `recipes` is the folder"):
        read_study(study_file(tmp_path, ONE_VARIANT, recipes=tmp_path))


def test_steps_for_one_set_of_recipes_are_not_used_with_another(tmp_path):
    """200 steps are right for the demo's tiny model and would cut the training of a real one short."""
    text = f"values: {{learning_rate: 1.0}}\nstage2: {{max_steps: 200}}\n{ONE_VARIANT}"
    file = study_file(tmp_path, text)
    assert read_study(file).everywhere.keys("stage2") == {"learning_rate": 1.0, "max_steps": 200}
    assert read_study(file, recipes=RECIPES).everywhere.keys("stage2") == {}


@pytest.mark.parametrize("file", sorted((ROOT / "yaml_recipes/studies").glob("*.yaml")), ids=lambda file: file.stem)
@pytest.mark.parametrize("recipes", ["yaml_recipes", "yaml_recipes/demo"])
def test_every_shipped_study_can_be_read_with_both_sets_of_recipes(file, recipes):
    study = read_study(file, recipes=ROOT / recipes)
    assert study.title != file.stem and study.question and study.variants
