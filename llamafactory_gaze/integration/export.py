"""`llamafactory-cli export`: a mark in the folder while it is written, and a card beside the model, pushed with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from huggingface_hub import HfApi

from llamafactory_gaze.data.registry import write_atomically
from llamafactory_gaze.export.card import CARD, CardSources, model_card, read_sources
from llamafactory_gaze.export.whole import mark_unfinished, unmark
from llamafactory_gaze.os_errors import full_disk_said


@contextmanager
def exporting(tuner: ModuleType) -> Iterator[None]:
    """Within the block, LLaMA-Factory exports a model. If it is a gaze model, its folder is marked as unfinished until
    all of it is there, and the card is written at the end.

    Args:
        tuner: `llamafactory.train.tuner`, whose `get_infer_args` reads the recipe, and whose `load_model` comes right
            before the first file is written.

    Raises:
        CardError: before anything is exported, what the card is to be written from cannot be read.
        OSError: the disk is full.
        ValueError: LLaMA-Factory has gone on although it could not write everything.
    """
    read: dict[str, Any] = {}
    get_infer_args, load_model = tuner.get_infer_args, tuner.load_model

    def remember(*args: Any, **kwargs: Any) -> Any:
        parsed = get_infer_args(*args, **kwargs)
        recipe = parsed[0]
        if (gaze := getattr(recipe, "gaze", None)) is not None:
            read["model_args"] = recipe
            adapters = recipe.adapter_name_or_path or ()
            read["sources"] = read_sources(
                recipe.model_name_or_path, adapters, gaze.gaze_card_results, gaze.gaze_card_data
            )
        return parsed

    def load_and_mark(*args: Any, **kwargs: Any) -> Any:
        model = load_model(*args, **kwargs)
        if read:
            mark_unfinished(Path(read["model_args"].export_dir))
        return model

    tuner.get_infer_args, tuner.load_model = remember, load_and_mark  # type: ignore[attr-defined]
    try:
        with full_disk_said(lambda: Path(read["model_args"].export_dir) if read else None):
            yield
    finally:
        tuner.get_infer_args, tuner.load_model = get_infer_args, load_model  # type: ignore[attr-defined]
    if read:
        write_card(read["model_args"], read["sources"])
        unmark(Path(read["model_args"].export_dir))


def write_card(model_args: Any, sources: CardSources) -> None:
    folder, repository = Path(model_args.export_dir), model_args.export_hub_model_id
    card = model_card(folder, sources, repository).encode()
    write_atomically(folder / CARD, card)
    if repository is not None:
        HfApi(token=model_args.hf_hub_token).upload_file(
            path_or_fileobj=card, path_in_repo=CARD, repo_id=repository, commit_message="Model card"
        )
