"""The steps of a study, without running them: what they are called, what they read, what they share."""

import json
from pathlib import Path

import pytest
import torch  # noqa: F401 - arms the plug-in
import yaml
from transformers import AutoConfig

from llamafactory_gaze.demo.run import BASE_MODEL, RECIPES
from llamafactory_gaze.steps import Step
from llamafactory_gaze.study.definition import StudyError, read_study
from llamafactory_gaze.study.plan import Plan


ROOT = Path(__file__).parents[2]
STUDIES = sorted((ROOT / "yaml_recipes/studies").glob("*.yaml"))
TWO = """
seeds: [1, 2]
stage2: {max_steps: 7}
controls: [off, moved]
variants:
  late one: {gaze_layers: late}
  all: {gaze_layers: all, stage1: {max_steps: 5}}
"""


def make_plan(
    folder: Path, text: str, output: str = "output", words: bool = True, max_steps: int | None = None
) -> Plan:
    """The plan of a study with the demo's recipes; all plans of a folder share runs and data."""
    file = folder / "study.yaml"
    file.write_text(f"recipes: {RECIPES}\n{text}")
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data/dataset_info.json").write_text("{}")
    return Plan(read_study(file), folder / output, folder / "runs", folder / "data", "demo", words, max_steps)


def values_of(step: Step) -> dict:
    """What the step's stock command sets besides its recipe."""
    assert Path(step.command[0]).name == "llamafactory-cli" and step.command[1] == "train"
    return {key: yaml.safe_load(value) for key, _, value in (word.partition("=") for word in step.command[3:])}


def recipe_of(step: Step) -> dict:
    """The recipe with what the step's stock command sets, as LLaMA-Factory sees it."""
    return {**yaml.safe_load(Path(step.command[2]).read_text()), **values_of(step)}


def stock(plan: Plan) -> dict[str, Step]:
    """The trainings and predictions."""
    return {step.name: step for step in plan.steps() if step.command[1] == "train"}


def test_every_variant_and_seed_runs_through_everything(tmp_path):
    steps = make_plan(tmp_path, TWO).steps()
    of_baseline = ("stage1", "stage2", "predict-none", "words")
    expected = {f"baseline/seed{seed}/{step}" for seed in (1, 2) for step in of_baseline}
    expected |= {
        f"{variant}/seed{seed}/{step}"
        for variant in ("late-one", "all")
        for seed in (1, 2)
        for step in ("stage1", "stage2", "predict-none", "predict-off", "predict-moved", "words", "compare")
    }
    names = [step.name for step in steps]
    assert len(names) == len(expected) and set(names) == expected
    assert len({step.result for step in steps}) == len({step.log for step in steps}) == len(steps)
    for number, step in enumerate(steps):
        assert set(step.needs) <= set(names[:number]), step.name
    assert all("seed1" in name for name in names[: len(names) // 2])  # whole seeds, where a study is cut short


@pytest.mark.parametrize(("text", "words"), [(TWO, False), (TWO.replace("controls: [off, moved]", ""), True)])
def test_words_need_rows_that_say_what_was_looked_at_and_controls(tmp_path, text, words):
    assert not any("words" in step.name for step in make_plan(tmp_path, text, words=words).steps())


def test_the_baseline_is_the_same_training_without_gaze(tmp_path):
    steps = stock(make_plan(tmp_path, TWO))
    for seed in (1, 2):
        for name in ("stage1", "stage2", "predict-none"):
            mine, theirs = (recipe_of(steps[f"{variant}/seed{seed}/{name}"]) for variant in ("baseline", "late-one"))
            assert mine["gaze_ablation"] in ("off", False)  # YAML reads a bare `off` as false
            assert theirs["gaze_ablation"] == "none"
            assert mine["seed"] == theirs["seed"] == seed
            differing = {key for key in mine | theirs if mine.get(key) != theirs.get(key)}
            # The variant's own key, which says what the recipe says too, and the folders.
            assert differing <= {"gaze_ablation", "gaze_layers", "output_dir", "adapter_name_or_path"}


def test_each_stage_has_its_own_data_and_steps(tmp_path):
    of_recipe = yaml.safe_load((RECIPES / "stage1.yaml").read_text())["max_steps"]
    assert of_recipe != 5
    for name, step in stock(make_plan(tmp_path, TWO)).items():
        values = recipe_of(step)
        if "stage1" in name:
            expected = 5 if name.startswith("all/") else of_recipe
            assert (values["dataset"], values["max_steps"]) == ("demo_stage1", expected)
        elif "stage2" in name:
            assert (values["dataset"], values["max_steps"]) == ("demo_stage2", 7)


def test_a_limit_of_steps_holds_for_every_training_and_no_prediction(tmp_path):
    for name, step in stock(make_plan(tmp_path, TWO, max_steps=3)).items():
        assert values_of(step).get("max_steps") == (3 if "stage" in name else None)


def test_stages_and_predictions_are_chained(tmp_path):
    plan = make_plan(tmp_path, TWO)
    steps = stock(plan)
    for run in plan.runs:
        stage1, stage2 = steps[f"{run.name}/stage1"], steps[f"{run.name}/stage2"]
        first, second = values_of(stage1)["output_dir"], values_of(stage2)["output_dir"]
        assert (first, second) == (str(stage1.result), str(stage2.result))
        assert "adapter_name_or_path" not in recipe_of(stage1)
        assert values_of(stage2)["adapter_name_or_path"] == first
        assert stage2.needs == (stage1.name,)
        for name, step in steps.items():
            if name.startswith(f"{run.name}/predict-"):
                assert values_of(step)["adapter_name_or_path"] == f"{first},{second}"
                assert step.needs == (stage2.name,)
                assert step.result / "generated_predictions.jsonl" == run.predictions(name.rpartition("predict-")[2])


def test_a_control_changes_the_map_alone(tmp_path):
    plan = make_plan(tmp_path, TWO)
    steps = stock(plan)
    true, off, moved = (recipe_of(steps[f"all/seed1/predict-{name}"]) for name in ("none", "off", "moved"))
    assert true["gaze_ablation"] == moved["gaze_ablation"] == "none" and off["gaze_ablation"] in ("off", False)
    assert (true["dataset_dir"], true["eval_dataset"]) == (str(tmp_path / "data"), "demo_test")
    assert (moved["dataset_dir"], moved["eval_dataset"]) == (str(plan.moved), "moved")
    assert {k for k in true if true[k] != off[k]} == {"gaze_ablation", "output_dir"}
    assert {k for k in true if true[k] != moved[k]} == {"dataset_dir", "eval_dataset", "output_dir"}


def test_each_run_is_compared_with_the_baseline_of_its_seed(tmp_path):
    plan = make_plan(tmp_path, TWO)
    steps = {step.name: step for step in plan.steps()}
    for run in plan.runs:
        if run.variant.name == "baseline":
            continue
        step = steps[f"{run.name}/compare"]
        options = dict(zip(step.command[3::2], step.command[4::2], strict=True))
        assert options["--baseline"] == str(plan.baselines[run.seed].predictions())
        assert options["--injected"] == str(run.predictions())
        assert options["--control"] == f"off={run.predictions('off')}"  # the moved rows are others
        expected = {f"{run.name}/predict-none", f"{run.name}/predict-off", f"baseline/seed{run.seed}/predict-none"}
        assert set(step.needs) == expected


def folders(plan: Plan) -> dict[str, Path]:
    return {run.name: run.folder for run in plan.runs}


def test_the_same_values_share_a_folder_whatever_they_are_called(tmp_path):
    """The depth of the tower is read from the base model's configuration: late is block 7 of its 8."""
    late = folders(make_plan(tmp_path, "variants: {a: {gaze_layers: late}}"))
    last = folders(make_plan(tmp_path, "variants: {b: {gaze_layers: [7]}}"))
    assert AutoConfig.from_pretrained(BASE_MODEL).vision_config.depth == 8
    assert late["a/seed42"] == last["b/seed42"]
    assert late["baseline/seed42"] == last["baseline/seed42"] != late["a/seed42"]


@pytest.mark.parametrize(
    "text",
    [
        "variants: {a: {gaze_layers: [6]}}",
        "variants: {a: {gaze_layers: late, gaze_query: global}}",
        "variants: {a: {gaze_layers: late, stage1: {max_steps: 5}}}",
        "variants: {a: {gaze_layers: late, predict: {max_new_tokens: 5}}}",
        "values: {learning_rate: 1.0e-5}\nvariants: {a: {gaze_layers: late}}",
        "stage2: {max_steps: 5}\nvariants: {a: {gaze_layers: late}}",
        "seeds: [43]\nvariants: {a: {gaze_layers: late}}",
    ],
)
def test_other_values_have_another_folder(tmp_path, text):
    mine = make_plan(tmp_path, "variants: {a: {gaze_layers: late}}").runs[1]
    other = make_plan(tmp_path, text).runs[1]
    assert mine.variant.name == other.variant.name == "a"
    assert mine.folder != other.folder
    limited = make_plan(tmp_path, "variants: {a: {gaze_layers: late}}", max_steps=3).runs[1]
    assert limited.folder != mine.folder


def test_other_data_have_another_folder(tmp_path):
    study = make_plan(tmp_path, TWO).study
    plans = [
        Plan(study, tmp_path / "output", tmp_path / "runs", tmp_path / folder, name, True)
        for folder, name in (("data", "demo"), ("data", "mine"), ("other", "demo"))
    ]
    assert len({run.folder for plan in plans for run in plan.runs}) == 3 * len(plans[0].runs)


def test_a_step_reads_the_files_that_its_rows_name(tmp_path):
    plan = make_plan(tmp_path, TWO)
    for name in ("stage1", "stage2", "test"):
        (tmp_path / f"data/{name}.jsonl").write_text(f'{{"saliencies": ["{name}.png", null], "images": null}}\n')
        (tmp_path / f"data/{name}.png").touch()
    entries = {f"demo_{name}": {"file_name": f"{name}.jsonl"} for name in ("stage1", "stage2", "test")}
    (tmp_path / "data/dataset_info.json").write_text(json.dumps(entries))
    for step in plan.steps():
        of = {"stage1": "stage1", "stage2": "stage2", "predict-none": "test", "predict-off": "test", "words": "test"}
        if name := of.get(step.name.rpartition("/")[2]):
            read = {path.name for path in step.inputs if path.parent == tmp_path / "data"}
            assert read == {"dataset_info.json", f"{name}.jsonl", f"{name}.png"}, step.name


def test_another_study_with_the_same_runs_does_not_train_again(tmp_path):
    """Its steps have the same command, results, marks and inputs, so that the runner finds them done."""
    mine = make_plan(tmp_path, TWO, output="mine")
    other = make_plan(tmp_path, "seeds: [2]\ntitle: x\n" + TWO[TWO.index("stage2") :].replace("late one", "b"), "other")
    mine_steps, other_steps = stock(mine), stock(other)
    assert set(other_steps) == {name.replace("late-one", "b") for name in mine_steps if "seed2" in name}
    for name, step in other_steps.items():
        same = mine_steps[name.replace("b/seed", "late-one/seed", 1) if name.startswith("b/") else name]
        for field in ("command", "result", "log", "inputs", "environment"):
            assert getattr(step, field) == getattr(same, field), (name, field)
    assert not {run.report for run in mine.runs} & {run.report for run in other.runs}


def test_two_seeds_and_variants_never_share_a_folder(tmp_path):
    plan = make_plan(tmp_path, TWO)
    assert len(set(folders(plan).values())) == len(plan.runs) == 6


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_every_step_of_a_shipped_study_is_a_recipe_that_llama_factory_takes(file, tmp_path):
    """Also the settings of the calibrator must be such as the demo's tower can have, e.g. the numbers of the blocks."""
    from llamafactory.hparams import get_train_args

    from llamafactory_gaze.integration.settings import gaze_config

    (tmp_path / "data").mkdir()
    study = read_study(file, recipes=RECIPES, seeds=(1,))
    plan = Plan(study, tmp_path / "output", tmp_path / "runs", tmp_path / "data", "demo", True)
    stock_config = AutoConfig.from_pretrained(plan.model)
    settings = set()
    for name, step in stock(plan).items():
        model_args, _, training_args, _, _ = get_train_args(recipe_of(step))
        assert training_args.seed == 1 and training_args.output_dir == str(step.result)
        assert model_args.gaze.gaze_ablation == (
            "off" if name.startswith("baseline/") or name.endswith("predict-off")
            else control if (control := name.rpartition("predict-")[2]) in study.controls and control != "moved"
            else "none"
        ), name  # fmt: skip
        if name.endswith("/stage1"):
            tower = gaze_config(stock_config, model_args).vision_config
            settings.add(f"{tower.gaze_settings()} {model_args.gaze}")
    assert len(settings) == 1 + len(study.variants)  # no two variants are the same


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("variants: {late: {gaze_layers: late}, last: {gaze_layers: [7]}}", "late/seed42 and last/seed42"),
        ("seeds: [1, 1]\nvariants: {late: {gaze_layers: late}}", "baseline/seed1 and baseline/seed1"),
        ("variants: {without: {gaze_ablation: 'off'}}", "baseline/seed42 and without/seed42"),
    ],
)
def test_one_training_under_two_names_is_refused(tmp_path, text, names):
    """Two commands would write into one folder at the same time."""
    with pytest.raises(StudyError, match=f"{names} are the same training: take one out"):
        make_plan(tmp_path, text)
