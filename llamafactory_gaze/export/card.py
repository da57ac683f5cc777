"""The model card of an exported gaze model, in the form that the Hugging Face Hub reads.

What it cannot know stands in it as not stated, never as a guess: the map specification comes from the data card of the
training data, the results from a `results.json` of `eval.compare`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined

from eval.metrics import LABELS
from eval.report.clustering import allowance
from eval.report.formatting import interval, markdown_text, p_value, percent, score
from llamafactory_gaze.data.provenance import file_sha256, installed_versions


CARD = "README.md"
PACKAGES = ("llamafactory-gaze", "llamafactory", "transformers", "peft", "torch")


class CardError(ValueError):
    """A model card cannot be written; one sentence says which file, why, and what to do."""


@dataclass(frozen=True)
class CardSources:
    """What a card is written from.

    Attributes:
        base_model: name on the Hub of the model that was trained, or of its folder.
        on_hub: which of them.
        adapters: those that were merged into it, in order.
        results: a `results.json` of `eval.compare`, and its path; None where none is given.
        data: name of the training data as it is linked; None where none is given.
        maps: the section about maps of its data card, Markdown; None where there is no card at hand.
        simulated: what the data card says, if it calls the data simulated.
    """

    base_model: str
    on_hub: bool
    adapters: Sequence[str] = ()
    results: tuple[Path, dict[str, Any]] | None = None
    data: str | None = None
    maps: str | None = None
    simulated: str | None = None


def read_sources(
    base_model: str, adapters: Sequence[str] = (), results: str | None = None, data: str | None = None
) -> CardSources:
    """Read what a card is written from.

    Args:
        base_model, adapters: as in `CardSources`.
        results: path of a `results.json`.
        data: a folder that holds a data card (`README.md`), or the name of a data set on the Hub, OWNER/NAME.

    Raises:
        CardError: a file is missing, or is not what it should be.
    """
    maps = simulated = None
    if data is not None:
        if (Path(data) / CARD).is_file():
            card = (Path(data) / CARD).read_text(encoding="utf-8")
            maps, simulated = _found(r"^## Maps\n+(.*?)(?=^## |\Z)", card), _found(r"^(SIMULATED data: .*?)$", card)
            data = _found(r"^# (.*?)$", card) or Path(data).name
        elif Path(data).exists() or not re.fullmatch(r"[\w.-]+/[\w.-]+", data):
            raise CardError(
                f"{data} holds no data card: expected a folder with a {CARD}, as `llamafactory-gaze dataset` writes "
                "it, or the name of a data set on the Hub, OWNER/NAME."
            )
    read = None if results is None else _read_results(Path(results))
    on_hub = not Path(base_model).exists()
    merged = [_shown(adapter) for adapter in adapters]
    return CardSources(_shown(base_model), on_hub, merged, read, data, maps, simulated)


def model_card(folder: Path, sources: CardSources, name: str | None = None) -> str:
    """The text of the card of the gaze model in `folder`; equal inputs give equal text.

    Args:
        name: of the model; the folder's own by default.

    Raises:
        CardError: there is no gaze model in the folder.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        vision = config["vision_config"]
        gaze = {key: value for key, value in vision.items() if key.startswith("gaze_")}
        if not gaze:
            raise KeyError("gaze_fusion")
    except (OSError, ValueError, KeyError) as error:
        raise CardError(f"{folder} holds no exported gaze model: its config.json has no gaze settings.") from error
    processor = folder / "processor_config.json"
    cut = json.loads(processor.read_text(encoding="utf-8")) if processor.is_file() else {}
    results = None if sources.results is None else sources.results[1]
    shown = [key for key in LABELS if results and results["metrics"].get(key, {}).get("new") is not None]
    name = name or folder.name
    environment = Environment(
        loader=PackageLoader("llamafactory_gaze.export", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "score": score,
        "percent": percent,
        "interval": interval,
        "p": p_value,
        "md": markdown_text,
        "code": _code,
    }
    return environment.get_template("card.md.j2").render(
        header=_header(sources, name, shown).to_yaml(),
        name=name,
        sources=sources,
        gaze=gaze,
        dtype=config.get("dtype"),
        image_max_pixels=cut.get("image_max_pixels"),
        patch=vision.get("patch_size", 14),
        depth=vision.get("depth"),
        results=results,
        results_file=None if sources.results is None else sources.results[0],
        sha256=None if sources.results is None else file_sha256(sources.results[0]),
        shown=shown,
        allowance=allowance(results["metrics"][key] for key in shown) if results else None,
        labels=LABELS,
        versions=installed_versions(*PACKAGES),
    )


def _header(sources: CardSources, name: str, shown: Sequence[str]) -> ModelCardData:
    return ModelCardData(
        base_model=sources.base_model if sources.on_hub else None,
        model_name=name,
        eval_results=_evaluated(sources, shown) or None,
        datasets=[sources.data] if sources.data and "/" in sources.data else None,
        library_name="transformers",
        pipeline_tag="image-text-to-text",
        tags=["qwen2_5_vl_gaze", "gaze", "saliency", "image-captioning", "llama-factory", "llamafactory-gaze"],
    )


def _evaluated(sources: CardSources, shown: Sequence[str]) -> list[EvalResult]:
    """The results as the Hub's search reads them."""
    if sources.results is None:
        return []
    data = sources.data or "not stated"
    return [
        EvalResult(
            task_type="image-text-to-text",
            dataset_type=data if "/" in data else "private",
            dataset_name=data,
            metric_type=key,
            metric_name=LABELS[key],
            metric_value=round(sources.results[1]["metrics"][key]["new"], 4),
        )
        for key in shown
    ]


def _code(text: object) -> str:
    """A text as code on one line."""
    return "`" + " ".join(str(text).split()).replace("`", "'") + "`"


def _shown(source: str) -> str:
    """A name on the Hub as it is; of a folder, whose place on this disk is nobody's business, the last two names."""
    return "/".join(Path(source).absolute().parts[-2:]) if Path(source).exists() else source


def _found(pattern: str, card: str) -> str | None:
    match = re.search(pattern, card, re.MULTILINE | re.DOTALL)
    return match[1].strip() if match else None


def _read_results(path: Path) -> tuple[Path, dict[str, Any]]:
    expected = f"expected a results.json as `python -m eval.compare` writes it; found {path}"
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CardError(f"{path} cannot be read ({error.strerror}): {expected}.") from error
    except ValueError as error:
        raise CardError(f"{path} is not valid JSON: {expected}.") from error
    needed = {"schema_version", "reference", "main", "metrics", "controls", "data", "versions"}
    missing = sorted(needed - set(results)) if isinstance(results, dict) else sorted(needed)
    if missing:
        raise CardError(f"{path} lacks {missing[0]}: {expected}.")
    return path, results
