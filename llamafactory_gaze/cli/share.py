"""`llamafactory-gaze share`: a data set in the layout of the Hugging Face Hub, on disk or there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llamafactory_gaze.cli.common import errors_as_sentences


def share(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="Name given to `llamafactory-gaze dataset`, or a single entry of dataset_info.json."
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder to write: new, empty or of this command.")],
    dataset_dir: Annotated[
        Path, typer.Option(help="LLaMA-Factory's dataset_dir: the folder of dataset_info.json.")
    ] = Path("data_registry"),
    media_dir: Annotated[
        Path | None, typer.Option(help="Folder of the paths in rows. Default, as in LLaMA-Factory: --dataset-dir.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="Licence as the Hub names it, e.g. cc-by-4.0. Default: what the data card says.")
    ] = None,
    with_personal_maps: Annotated[
        bool, typer.Option("--with-personal-maps", help="Also share maps of single people, who agreed to it.")
    ] = False,
    push_to_hub: Annotated[
        str | None, typer.Option(metavar="OWNER/NAME", help="Upload it to this data set on the Hugging Face Hub, too.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="With --push-to-hub: a private data set.")] = False,
) -> None:
    """Write a data set as Parquet files with embedded images and maps, in the layout of the Hugging Face Hub.

    The folder trains as it is (dataset_dir: FOLDER). Maps of single people are refused unless --with-personal-maps is
    given: those of --maps participant, trial or leave-one-out, and all that hold one person's gaze, as splits.json of
    the command dataset says. Where it does not say it, maps are refused if an image has several.

    \b
    Example:
      llamafactory-gaze share osie --output saves/shared/osie --licence cc-by-4.0
      llamafactory-gaze share osie --output saves/shared/osie --push-to-hub me/osie-gaze --private
    """
    import json

    from rich.console import Console

    from llamafactory_gaze.data import hub
    from llamafactory_gaze.data.tables import DataError

    console = Console(highlight=False)
    with errors_as_sentences(DataError, OSError):
        if push_to_hub is not None:
            hub.check_repo(push_to_hub)
        elif private:
            raise DataError("--private says how to push; give --push-to-hub OWNER/NAME, too.")
        shared = hub.share_dataset(hub.ShareOptions(name, dataset_dir, output, media_dir, licence, with_personal_maps))
        rows = ", ".join(f"{config} ({number} rows)" for config, number in shared.rows.items())
        console.print(f"Wrote {output}: {rows}.", markup=False, soft_wrap=True)
        if not (shared.knows_people or with_personal_maps):
            said = "splits.json does not say of how many people each map is; see that none is of one person alone."
            console.print(f"[bold yellow]Note:[/] {said}", soft_wrap=True)
        if push_to_hub is not None:
            hub.push(shared, push_to_hub, private)
            console.print(f"Pushed to {push_to_hub}.", markup=False, soft_wrap=True)
    if push_to_hub is None:
        console.print(f"To train on it: dataset_dir: {output}, or these entries below a dataset_dir:", soft_wrap=True)
    else:
        console.print(f"To train on it: dataset_dir: REMOTE:{push_to_hub}, or these entries:", soft_wrap=True)
    console.print(json.dumps(shared.entries(push_to_hub), indent=2, ensure_ascii=False), markup=False, soft_wrap=True)
