"""What a STUDY.yaml says: which variants of a recipe are compared, with which seeds and controls."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml


BASELINE = "baseline"
CONTROLS = ("off", "uniform", "center", "shuffle", "observer", "moved")
SECTIONS = ("stage1", "stage2", "predict")
LAYERS = ("late", "spread", "all")  # words for gaze_layers, so that one study fits towers of any depth


class StudyError(ValueError):
    """A study cannot be run as it is; the message names the file, the fault, and what to do."""


@dataclass(frozen=True)
class Variant:
    """One way to do it.

    Attributes:
        name: as it stands in the tables.
        values: recipe keys for every step of it.
        sections: recipe keys for one of `SECTIONS` alone.
    """

    name: str
    values: dict[str, Any] = field(default_factory=dict)
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        """The name as a folder."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")

    def keys(self, section: str) -> dict[str, Any]:
        """The recipe keys that the variant sets in a step of `section`."""
        return {**self.values, **self.sections.get(section, {})}


@dataclass(frozen=True)
class Study:
    """Attributes:
    file: the STUDY.yaml.
    title, question: for the report.
    recipes: folder of stage1.yaml, stage2.yaml and predict_injected.yaml.
    seeds: of training; every variant runs once with each.
    everywhere: what the study sets in these recipes, for all variants and for the baseline.
    variants: the first one is what the others are compared with.
    controls: ablations of the trained models, of `CONTROLS`.
    pictures: how many training pictures the simulated data of the demo have.
    dataset_dir, dataset: LLaMA-Factory's folder, and the name before `_stage1`, `_stage2`, `_test`; None for the
        simulated data of the demo.
    """

    file: Path
    title: str
    question: str
    recipes: Path
    seeds: tuple[int, ...]
    everywhere: Variant
    variants: tuple[Variant, ...]
    controls: tuple[str, ...]
    pictures: int = 200
    dataset_dir: Path | None = None
    dataset: str | None = None

    @property
    def baseline(self) -> Variant:
        """The same training without gaze: what every variant has to beat."""
        return Variant(BASELINE, {"gaze_ablation": "off"})


def read_study(file: Path, **overrides: Any) -> Study:
    """Reads a STUDY.yaml.

    Args:
        overrides: fields of `Study` that the command line sets; None leaves what the file says. With other `recipes`
            the file's `values`, `stage1`, `stage2` and `predict` are left out: they were chosen for its own.

    Raises:
        StudyError: the file cannot be read or says something that cannot be meant.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{file} cannot be read ({error}).") from error
    except yaml.YAMLError as error:
        raise StudyError(f"{file} is no YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict):
        raise StudyError(f"{file} is no study: expected keys such as `title` and `variants`.")
    known = ("title", "question", "recipes", "seeds", "pictures", "values", *SECTIONS, "variants", "controls")
    if unknown := sorted(set(content) - set(known)):
        raise StudyError(f"{file}: `{unknown[0]}` is not known. Known are {', '.join(known)}.")
    variants = _mapping(file, "variants", content.get("variants"))
    if not variants:
        raise StudyError(f"{file}: `variants` is empty: name at least one, with the recipe keys that it sets.")
    study = Study(
        file=file,
        title=str(content.get("title", file.stem)),
        question=str(content.get("question", "")).strip(),
        recipes=Path(str(content.get("recipes", "yaml_recipes/demo"))),
        seeds=tuple(_seeds(file, content.get("seeds", [42]))),
        everywhere=_variant(
            file,
            "values",
            {**_mapping(file, "values", content.get("values")), **{name: content.get(name) for name in SECTIONS}},
        ),
        variants=tuple(_variant(file, str(name), keys) for name, keys in variants.items()),
        controls=tuple(_controls(file, content.get("controls") or [])),
        pictures=_pictures(file, content.get("pictures", Study.pictures)),
    )
    overrides = {name: value for name, value in overrides.items() if value is not None}
    if "recipes" in overrides:  # steps and rates for one set of recipes mean nothing for another
        overrides["everywhere"] = Variant("values")
    study = replace(study, **overrides)
    slugs = [variant.slug for variant in (study.baseline, *study.variants)]
    if len(set(slugs)) < len(slugs) or not all(slugs):
        raise StudyError(f"{file}: two variants have the same name, or one is called `{BASELINE}`: rename one of them.")
    if (study.dataset_dir is None) != (study.dataset is None):
        raise StudyError("--dataset-dir and --dataset belong together: give both or neither.")
    for name in ("stage1", "stage2", "predict_injected"):
        if not (study.recipes / f"{name}.yaml").is_file():
            raise StudyError(f"{study.recipes / name}.yaml does not exist: `recipes` is the folder of the recipes.")
    return study


def resolve_layers(layers: Any, depth: int) -> Any:
    """`late`, `spread` and `all` as blocks of a tower of `depth` blocks; anything else comes back unchanged.

    late    the default of the calibrator: block 28 of 32
    spread  the last block of each quarter: 7, 15, 23 and 31 of 32
    all     every block
    """
    if layers == "late":
        return [depth * 7 // 8]
    if layers == "spread":
        return sorted({depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4)} - {-1})
    return list(range(depth)) if layers == "all" else layers


def _variant(file: Path, name: str, keys: Any) -> Variant:
    keys = _mapping(file, name, keys)
    values = {key: value for key, value in keys.items() if key not in SECTIONS}
    sections = {section: _mapping(file, f"{name}, {section}", keys.get(section)) for section in SECTIONS}
    for layers in (part.get("gaze_layers") for part in (values, *sections.values())):
        if isinstance(layers, str) and layers not in LAYERS:
            raise StudyError(
                f"{file}, {name}: `gaze_layers: {layers}`: expected blocks, e.g. [28], or {', '.join(LAYERS)}."
            )
    return Variant(name, values, sections)


def _mapping(file: Path, name: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise StudyError(f"{file}: `{name}` holds {value!r:.60}: expected recipe keys with their values.")
    return dict(value)


def _seeds(file: Path, seeds: Any) -> Sequence[int]:
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int for seed in seeds):
        raise StudyError(f"{file}: `seeds: {seeds}`: expected a list of whole numbers, e.g. [1, 2, 3].")
    return seeds


def _pictures(file: Path, pictures: Any) -> int:
    if type(pictures) is not int or pictures < 1:
        raise StudyError(f"{file}: `pictures: {pictures}`: expected how many training pictures to draw, e.g. 200.")
    return pictures


def _controls(file: Path, controls: Any) -> Sequence[str]:
    names = ["off" if name is False else name for name in controls] if isinstance(controls, list) else [controls]
    for name in names:  # YAML reads a bare `off` as false
        if name not in CONTROLS:
            raise StudyError(f"{file}: control `{name}` is not known. Known are {', '.join(CONTROLS)}.")
    return names
