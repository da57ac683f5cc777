"""A paragraph on methods, ready to paste into a paper, and made of what was really done."""

from __future__ import annotations

from typing import Any

from eval.metrics import LABELS
from eval.report.clustering import headline_test


_REFERENCES = {
    "own": "Each caption was compared with what the same participant had said about the image",
    "image": "Each caption was compared with all human captions of its image",
    "unknown": "Each caption was compared with human captions (which ones is not recorded)",
}


def methods_paragraph(results: dict[str, Any]) -> str:
    """One paragraph of plain text.

    Args:
        results: see `results.build`.
    """
    return " ".join([*_data(results), *_metrics(results), *_tests(results), *_software(results)])


def _data(results: dict[str, Any]) -> list[str]:
    data, reference, systems = results["data"], results["reference"], list(results["systems"])
    people = f" by {_count(data['n_participants'], 'participant')}" if data["n_participants"] else ""
    groups = f" in {_count(data['n_categories'], 'category', 'categories')}" if data["n_categories"] > 1 else ""
    found = []
    if data["simulated"]:
        found.append(f"The data are simulated. {data['simulated']}")
    found.append(
        f"We compared the captions of {_listed(systems)} with those of {reference} on "
        f"{_count(data['n_rows'], 'caption')} of {_count(data['n_images'], 'image')}{people}{groups}."
    )
    if left_out := data["n_rows_dataset"] - data["n_rows"]:
        found.append(
            f"{left_out} of {data['n_rows_dataset']} rows of the data set were left out, as not every system had a "
            "prediction for them."
        )
    if results["controls"]:
        names = list(results["controls"])
        found.append(f"As {'a control' if len(names) == 1 else 'controls'} served {_listed(names)}.")
    if empty := sum(data["empty_captions"].values()):
        found.append(f"{_count(empty, 'empty caption')} scored 0.")
    return found


def _metrics(results: dict[str, Any]) -> list[str]:
    found: dict[str, list[str]] = {}
    missing = []
    for name, column in results["columns"].items():
        if results["metrics"][name]["base"] is None:
            missing.append(LABELS[name])
        else:
            found.setdefault(column["implementation"] or "implementation not recorded", []).append(LABELS[name])
    measures = "; ".join(f"{_listed(labels)} ({implementation})" for implementation, labels in found.items())
    sentences = [
        f"{_REFERENCES[results['settings']['references']]}, by {measures}.",
        "Every metric was computed per caption; reported are plain means over captions.",
    ]
    if missing:
        sentences.append(f"{_listed(missing)} could not be computed.")
    return sentences


def _tests(results: dict[str, Any]) -> list[str]:
    entries = [entry for system in results["systems"].values() for entry in system["metrics"].values()]
    tested = [entry for entry in entries if entry["p_two_way"] is not None]
    found = [headline_test(results)]
    if not tested:
        return found
    flips = [entry["flip"] for entry in tested if entry["flip"]]
    mixed = [entry for entry in entries if entry["p_mixed"] is not None]
    found.append(
        "Confidence intervals are at the 95% level, those of percent changes by the delta method. P values were "
        "corrected by Holm's method over the paper's seven metrics, and separately over all cells of each table of "
        "groups."
    )
    checks = []
    if flips:
        exact = all(flip["exact"] for flip in flips)
        how = "exact" if exact else f"{max(flip['resamples'] for flip in flips):,} flips"
        seed = "" if exact else f", seed {results['settings']['flip_seed']}"
        checks.append(f"a permutation test that flips the signs of whole images ({how}{seed})")
    if mixed:
        checks.append("a mixed model with random effects of image and participant (restricted maximum likelihood)")
    if checks:
        found.append(f"As sensitivity checks we ran {_listed(checks)}.")
    return found


def _software(results: dict[str, Any]) -> list[str]:
    versions = results["versions"]
    packages = [
        f"{name} {versions[name]}"
        for name in ("llamafactory-gaze", "scipy", "statsmodels", "sentence-transformers", "rouge-score", "nltk")
        if versions.get(name)
    ]
    code = f" at commit {results['commit']}" if results["commit"] else ""
    return [f"Scores and statistics were computed with {_listed(packages)}{code}."]


def _listed(names: list[str]) -> str:
    """a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _count(number: int, one: str, more: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else more or one + 's'}"
