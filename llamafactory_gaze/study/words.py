"""How probable the words for the looked-at things are, where the person said them, under each control.

    python -m llamafactory_gaze.study.words RECIPE --output DIR --test test.json --control none --control off KEY=VALUE

A step of a study. Each thing of `looked_at` that its row's caption names gives one number, the probability of its name:
the product of the probabilities of the name's tokens, given the picture, the map as the control leaves it, and what the
person said before. `DIR/words.jsonl` has one line for each.
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from llamafactory_gaze.steps import write_whole
from llamafactory_gaze.study import moved


FILE = "words.jsonl"


def probability_of(name: str, tokens: list[tuple[str, float]]) -> float | None:
    """The probability of the first mention of `name`; None if the caption does not say it.

    Args:
        tokens: (text up to and including the token, the token's probability), in order.
    """
    if not tokens or name not in tokens[-1][0]:
        return None
    start = tokens[-1][0].index(name)
    end = start + len(name)
    probability = 1.0
    for (before, _), (text, p) in pairwise([("", 1.0), *tokens]):
        if len(before) < end and len(text) > start:
            probability *= p
    return probability


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, help="a prediction recipe")
    parser.add_argument("values", nargs="*", metavar="key=value", help="keys of the recipe set otherwise")
    parser.add_argument("--output", type=Path, required=True, help="folder for words.jsonl")
    parser.add_argument("--test", type=Path, required=True, help="the rows of the data set, with `looked_at`")
    parser.add_argument("--moved", type=Path, help="folder of the data set of moved maps")
    parser.add_argument("--control", action="append", required=True, help="none, an ablation, or moved; repeatable")
    options = parser.parse_intermixed_args(arguments)

    from llamafactory_gaze.integration.teacher_forcing import TeacherForcing

    values = dict(value.partition("=")[::2] for value in options.values)
    recipe = yaml.safe_load(options.recipe.read_text()) | {k: yaml.safe_load(v) for k, v in values.items()}
    forcing = TeacherForcing({**recipe, "output_dir": str(options.output)})
    lines: list[str] = []
    for control in options.control:
        test, keys = options.test, {}
        if control == moved.NAME:
            test = options.moved / "moved.json"
            keys = {"dataset_dir": str(options.moved), "eval_dataset": moved.NAME}
        elif control != "none":
            keys = {"gaze_ablation": control}
        rows: list[dict[str, Any]] = json.loads(test.read_text())
        for number, (row, tokens) in enumerate(zip(rows, forcing.captions(**keys), strict=True)):
            for name in row["looked_at"]:
                p = probability_of(name, tokens)
                if p is not None:
                    lines.append(json.dumps({"control": control, "row": number, "name": name, "probability": p}))
    options.output.mkdir(parents=True, exist_ok=True)
    write_whole(options.output / FILE, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
