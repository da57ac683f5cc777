"""The model card of `llamafactory-cli export`: written beside the model, and pushed with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from huggingface_hub import HfApi

from llamafactory_gaze.data.registry import write_atomically
from llamafactory_gaze.export.card import CARD, CardSources, model_card, read_sources


@contextmanager
def writing_card(tuner: ModuleType) -> Iterator[None]:
    """Within the block, LLaMA-Factory exports a model; at its end the card is written, if it is a gaze model.

    Args:
        tuner: `llamafactory.train.tuner`, whose `get_infer_args` reads the recipe.

    Raises:
        CardError: before anything is exported, what the card is to be written from cannot be read.
    """
    read: dict[str, Any] = {}
    get_infer_args = tuner.get_infer_args

    def remember(*args: Any, **kwargs: Any) -> Any:
        parsed = get_infer_args(*args, **kwargs)
        read["model_args"] = parsed[0]
        if (gaze := getattr(parsed[0], "gaze", None)) is not None:
            recipe = parsed[0]
            adapters = recipe.adapter_name_or_path or ()
            read["sources"] = read_sources(
                recipe.model_name_or_path, adapters, gaze.gaze_card_results, gaze.gaze_card_data
            )
        return parsed

    tuner.get_infer_args = remember  # type: ignore[attr-defined]
    try:
        yield
    finally:
        tuner.get_infer_args = get_infer_args  # type: ignore[attr-defined]
    if "sources" in read:
        write_card(read["model_args"], read["sources"])


def write_card(model_args: Any, sources: CardSources) -> None:
    folder, repository = Path(model_args.export_dir), model_args.export_hub_model_id
    card = model_card(folder, sources, repository).encode()
    write_atomically(folder / CARD, card)
    if repository is not None:
        HfApi(token=model_args.hf_hub_token).upload_file(
            path_or_fileobj=card, path_in_repo=CARD, repo_id=repository, commit_message="Model card"
        )
