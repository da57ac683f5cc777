"""`tokenized_path`, and the cache of tokenised data, where gaze has a say in the tokens or in which map a row has.

LLaMA-Factory writes the tokenised rows to `tokenized_path` and, where it finds them there, reads them whatever else the
recipe says. So gaze.json stands beside them with the keys that made them, and other keys are refused: the rows of
`gaze_ablation: shuffle` hold exchanged maps, those of `gaze_fusion: text` sentences about the maps.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llamafactory_gaze.integration.arguments import EXCHANGES, TEMPLATE
from llamafactory_gaze.modeling.configuration import IN_TOWER


RECORD = "gaze.json"


def get_dataset(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    """LLaMA-Factory's function; refuses tokenised data of other gaze keys, and notes the keys beside new ones."""
    from llamafactory.extras.misc import has_tokenized_data

    data_args, training_args = args[2], args[3]
    keys = _keys(getattr(data_args, "gaze", None), kwargs.get("processor"), training_args)
    if keys and keys["gaze_fusion"] not in IN_TOWER:
        data_args.overwrite_cache = True  # the tokens depend on the maps, of which the cache knows only the names
    folder = data_args.tokenized_path
    if folder is not None and has_tokenized_data(folder):
        check(Path(folder), keys)
        return wrapped(*args, **kwargs)
    dataset = wrapped(*args, **kwargs)
    if folder is not None and keys and training_args.should_save:
        (Path(folder) / RECORD).write_text(json.dumps(keys))
    return dataset


def check(folder: Path, keys: dict[str, Any]) -> None:
    """Compares the keys of a recipe, empty without gaze, with those that tokenised data were made with.

    Raises:
        ValueError: they differ, or only one of the two has gaze.
    """
    record = folder / RECORD
    made_with = json.loads(record.read_text()) if record.is_file() else {}
    advice = "Write another `tokenized_path`, or delete that folder and tokenise anew"
    if made_with and not keys:
        raise ValueError(
            f"`tokenized_path: {folder}` was written with `template: {TEMPLATE}`, its rows have maps. {advice}."
        )
    if keys and not made_with:
        raise ValueError(
            f"`tokenized_path: {folder}` was not written to its end with `template: {TEMPLATE}`: its rows have no "
            f"maps. {advice}."
        )
    for key in keys:
        if made_with.get(key) != keys[key]:
            raise ValueError(
                f"`tokenized_path: {folder}` was written with `{key}: {made_with.get(key)}`, but the recipe says "
                f"`{key}: {keys[key]}`. {advice}."
            )


def _keys(gaze: Any, processor: Any, training_args: Any) -> dict[str, Any]:
    """The keys on which the tokenised rows depend; none without gaze."""
    if gaze is None:
        return {}
    keys = {"gaze_fusion": getattr(processor, "gaze_fusion", IN_TOWER[0]), "gaze_ablation": gaze.gaze_ablation}
    return keys | ({"seed": training_args.seed} if gaze.gaze_ablation in EXCHANGES else {})
