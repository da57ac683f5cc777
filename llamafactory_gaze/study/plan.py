"""The runs of a study as steps; every variant and seed has its own folder, which studies may share.

baseline  stage1 -> stage2 -> predict, words
variant   stage1 -> stage2 -> predict, once more for each control, words -> compare with the baseline of that seed
"""

import hashlib
import json
import sys
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

import yaml
from transformers import AutoConfig

from llamafactory_gaze.data.entries import files_read
from llamafactory_gaze.demo.run import BASE_MODEL, RECIPES
from llamafactory_gaze.steps import CPU, Step, as_yaml, llamafactory
from llamafactory_gaze.study import moved
from llamafactory_gaze.study.definition import BASELINE, SECTIONS, Study, StudyError, Variant, resolve_layers


PREDICTIONS = "generated_predictions.jsonl"


@dataclass(frozen=True)
class Run:
    """One variant with one seed.

    Attributes:
        folder: what was trained and predicted.
        report: what this study made of it: `eval.compare`'s report, and `words/`.
    """

    variant: Variant
    seed: int
    folder: Path
    report: Path

    @property
    def name(self) -> str:
        return f"{self.variant.slug}/seed{self.seed}"

    @property
    def last_step(self) -> str:
        """The name of the step after which the run is complete."""
        return f"{self.name}/{'predict-none' if self.variant.name == BASELINE else 'compare'}"

    def predictions(self, control: str = "none") -> Path:
        return self.folder / f"predict-{control}" / PREDICTIONS


class Plan:
    """The runs and the steps of a study.

    Args:
        output: the study's folder, for what it compares and reports.
        shared: folder of the runs; a run that another study has left there is not trained again.
        dataset_dir, dataset: where the data are.
        words: whether the rows name what was looked at, so that the probability of these words can be measured.
        max_steps: end every training after so many steps.

    Raises:
        StudyError: a recipe or the model cannot be read.
    """

    def __init__(
        self,
        study: Study,
        output: Path,
        shared: Path,
        dataset_dir: Path,
        dataset: str,
        words: bool,
        max_steps: int | None = None,
    ) -> None:
        self.study, self.output, self.dataset_dir, self.dataset = study, output, dataset_dir, dataset
        self.test, self.moved = output / "test.json", shared / f"{dataset_dir.name}-{dataset}-{moved.NAME}"
        self.words = words and bool(study.controls)
        self._cached_files = cache(files_read)
        self.limit = {} if max_steps is None else {"max_steps": max_steps}
        self.recipes = {name: _read_recipe(study.recipes / f"{name}.yaml") for name in ("stage1", "stage2")}
        self.recipes["predict"] = _read_recipe(study.recipes / "predict_injected.yaml")
        self.model = self._model()
        self.depth = self._depth()
        self.baselines = {seed: self._run(study.baseline, seed, shared) for seed in study.seeds}
        self.runs = [
            run
            for seed in study.seeds
            for run in (self.baselines[seed], *(self._run(variant, seed, shared) for variant in study.variants))
        ]
        self._refuse_equal_runs()

    def _run(self, variant: Variant, seed: int, shared: Path) -> Run:
        """The same values, whatever a study calls them, have the same folder."""
        differing = {
            section: {k: v for k, v in self.values(variant, seed, section).items() if self.recipes[section].get(k) != v}
            for section in SECTIONS
        }
        content = json.dumps([differing, str(self.dataset_dir), self.dataset, self.limit], sort_keys=True)
        folder = shared / f"seed{seed}-{hashlib.sha256(content.encode()).hexdigest()[:10]}"
        return Run(variant, seed, folder, self.output / variant.slug / f"seed{seed}")

    def _refuse_equal_runs(self) -> None:
        names: dict[Path, str] = {}
        for run in self.runs:
            if run.folder in names:
                raise StudyError(
                    f"{self.study.file}: {names[run.folder]} and {run.name} are the same training: take one out."
                )
            names[run.folder] = run.name

    def steps(self) -> list[Step]:
        """All steps, each after those that it needs.

        Seed by seed, so that a study cut short has whole seeds; of one seed first all first stages and so on, so that
        two trainings run side by side to the end.
        """
        steps: list[Step] = []
        for seed in self.study.seeds:
            of_runs = [self._steps(run) for run in self.runs if run.seed == seed]
            steps += [step for phase in zip_longest(*of_runs) for step in phase if step is not None]
        return steps

    def values(self, variant: Variant, seed: int, section: str) -> dict[str, Any]:
        """What is set in a step of a run besides what its recipe says."""
        values = {
            "model_name_or_path": self.model,
            **self.study.everywhere.keys(section),
            **variant.keys(section),
            "seed": seed,
        }
        if "gaze_layers" in values:
            values["gaze_layers"] = resolve_layers(values["gaze_layers"], self.depth)
        return values

    def _steps(self, run: Run) -> list[Step]:
        steps = [
            self._train(run, 1, {}, ()),
            self._train(run, 2, {"adapter_name_or_path": str(run.folder / "stage1")}, (f"{run.name}/stage1",)),
        ]
        is_baseline = run.variant.name == BASELINE
        controls = ("none",) if is_baseline else ("none", *self.study.controls)
        steps += [self._predict(run, control) for control in controls]
        if self.words:
            steps.append(self._words(run, controls))
        if not is_baseline:
            steps.append(self._compare(run))
        return steps

    def _train(self, run: Run, stage: int, values: dict[str, Any], needs: tuple[str, ...]) -> Step:
        result = run.folder / f"stage{stage}"
        data = {"dataset_dir": str(self.dataset_dir), "dataset": f"{self.dataset}_stage{stage}"}
        values = {
            **self.values(run.variant, run.seed, f"stage{stage}"),
            **data,
            **values,
            **self.limit,
            "output_dir": str(result),
        }
        return self._step(run, f"stage{stage}", f"stage{stage}", values, result, needs)

    def _predict(self, run: Run, control: str) -> Step:
        result = run.folder / f"predict-{control}"
        values = {**self._prediction(run, control), "output_dir": str(result)}
        return self._step(run, f"predict-{control}", "predict_injected", values, result, (f"{run.name}/stage2",))

    def _prediction(self, run: Run, control: str) -> dict[str, Any]:
        values = {
            **self.values(run.variant, run.seed, "predict"),
            "adapter_name_or_path": f"{run.folder / 'stage1'},{run.folder / 'stage2'}",
            "dataset_dir": str(self.dataset_dir),
            "eval_dataset": f"{self.dataset}_test",
        }
        if control == moved.NAME:
            values |= {"dataset_dir": str(self.moved), "eval_dataset": moved.NAME}
        elif control != "none":
            values["gaze_ablation"] = control
        return values

    def _words(self, run: Run, controls: tuple[str, ...]) -> Step:
        result = run.report / "words"
        recipe = self.study.recipes / "predict_injected.yaml"
        command = [sys.executable, "-m", "llamafactory_gaze.study.words", str(recipe), "--output", str(result)]
        command += [f"--test={self.test}", f"--moved={self.moved}"]
        command += [f"--control={control}" for control in controls]
        command += [f"{key}={as_yaml(value)}" for key, value in self._prediction(run, "none").items()]
        return Step(
            name=f"{run.name}/words",
            command=command,
            result=result,
            log=run.report / "words.log",
            needs=(f"{run.name}/stage2",),
            inputs=(recipe, self.test, *self._files_read(self._prediction(run, "none"), "predict")),
            environment=self._environment("predict"),
        )

    def _compare(self, run: Run) -> Step:
        baseline, result = self.baselines[run.seed], run.report / "report"
        command = [sys.executable, "-m", "eval.compare", "--dataset", str(self.test)]
        command += ["--title", f"{self.study.title}: {run.variant.name}, seed {run.seed}", "--output", str(result)]
        command += ["--baseline", str(baseline.predictions()), "--injected", str(run.predictions())]
        controls = [control for control in self.study.controls if control != moved.NAME]
        for control in controls:
            command += ["--control", f"{control}={run.predictions(control)}"]
        needs = [f"{run.name}/predict-{control}" for control in ("none", *controls)]
        return Step(
            name=f"{run.name}/compare",
            command=command,
            result=result,
            log=run.report / "compare.log",
            needs=(*needs, baseline.last_step),
            inputs=(self.test,),
            environment=self._environment("predict"),
        )

    def _step(
        self, run: Run, name: str, recipe: str, values: dict[str, Any], result: Path, needs: tuple[str, ...]
    ) -> Step:
        file = self.study.recipes / f"{recipe}.yaml"
        section = "predict" if recipe == "predict_injected" else recipe
        model = Path(self.model)
        return Step(
            name=f"{run.name}/{name}",
            command=llamafactory(file, values),
            result=result,
            log=run.folder / f"{name}.log",
            needs=needs,
            inputs=(file, *([model] if model.is_dir() else []), *self._files_read(values, section)),
            environment=self._environment(section),
        )

    def _files_read(self, values: dict[str, Any], section: str) -> list[Path]:
        name = values["eval_dataset" if section == "predict" else "dataset"]
        media = values.get("media_dir") or self.recipes[section].get("media_dir")
        return self._cached_files(Path(values["dataset_dir"]), name, Path(media) if media else None)

    def _environment(self, recipe: str) -> dict[str, str]:
        return CPU if self.recipes[recipe].get("use_cpu") else {}

    def _model(self) -> str:
        if self.study.recipes.resolve() == RECIPES.resolve():
            return str(BASE_MODEL)  # wherever the command is run from
        return str(
            self.study.everywhere.values.get("model_name_or_path") or self.recipes["stage1"]["model_name_or_path"]
        )

    def _depth(self) -> int:
        try:
            return int(AutoConfig.from_pretrained(self.model).vision_config.depth)
        except (OSError, ValueError, AttributeError) as error:
            raise StudyError(f"The model {self.model} has no configuration that can be read ({error}).") from error


def _read_recipe(file: Path) -> dict[str, Any]:
    try:
        recipe = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise StudyError(f"Recipe {file} cannot be read ({error}).") from error
    return dict(recipe)
