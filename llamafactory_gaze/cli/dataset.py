"""`llamafactory-gaze dataset`: fixations, photographs and descriptions become a registered data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llamafactory_gaze.cli import map_options as shared
from llamafactory_gaze.cli.common import column_mapping, errors_as_sentences
from llamafactory_gaze.data.map_options import MapOptions


if TYPE_CHECKING:
    from llamafactory_gaze.data.build import BuiltDataset


def dataset(
    images: Annotated[Path, typer.Option(help="Folder of the photographs that the column image names.")],
    descriptions: Annotated[
        Path,
        typer.Option(
            help="Table with the columns image, participant, description; category (the split is balanced by it), "
            "normalized (the stage-1 targets) and trial are optional; further columns are kept as fields."
        ),
    ],
    name: Annotated[str, typer.Option(help="The data sets are registered as NAME_stage1, NAME_stage2 and NAME_test.")],
    dataset_dir: Annotated[
        Path, typer.Option(help="LLaMA-Factory's dataset_dir: the folder of dataset_info.json.")
    ] = Path("data_registry"),
    fixations: Annotated[
        Path | None,
        typer.Option(
            help="CSV, TSV or Parquet with the columns image, participant, x, y, duration_ms; trial and index may be."
        ),
    ] = None,
    maps_from: Annotated[
        Path | None,
        typer.Option(
            help="Instead: folder of ready-made maps, written by `heatmaps` or published, named as their images. "
            "--fixations then only says who looked at what."
        ),
    ] = None,
    screen: shared.ScreenOption = None,
    placement: shared.PlacementOption = None,
    sigma_px: shared.SigmaPxOption = None,
    sigma_deg: shared.SigmaDegOption = None,
    weight: shared.WeightOption = MapOptions.weight,
    participants: shared.ParticipantsOption = MapOptions.participants,
    drop_first: shared.DropFirstOption = False,
    min_duration: shared.MinDurationOption = 0,
    off_image: shared.OffImageOption = MapOptions.off_image,
    maps: shared.MapsOption = MapOptions.maps,
    longest_side: shared.LongestSideOption = None,
    columns: shared.ColumnsOption = None,
    jobs: shared.JobsOption = 2,
    prompt: Annotated[str, typer.Option(help="The question that every description answers.")] = "Describe the image.",
    test_fraction: Annotated[float, typer.Option(help="Share of the images that is held out for the test.")] = 0.25,
    seed: Annotated[int, typer.Option(help="Seed of the choice of test images.")] = 42,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a folder or registry entries that this command did not make.")
    ] = False,
) -> None:
    """Make a data set of photographs, eye fixations and descriptions, and register it for LLaMA-Factory.

    \b
    Example:
      llamafactory-gaze dataset --fixations fixations.csv --images photographs \\
        --descriptions descriptions.csv --name mine --sigma-px 24
      llamafactory-gaze dataset --maps-from FIXATIONMAPS --images Stimuli \\
        --descriptions descriptions.csv --name mine
    """
    from rich.console import Console
    from rich.progress import Progress

    from llamafactory_gaze.data.build import DatasetOptions, build_dataset
    from llamafactory_gaze.data.tables import DataError

    console = Console(stderr=True)
    with errors_as_sentences(DataError):
        options = DatasetOptions(
            images=images,
            descriptions=descriptions,
            name=name,
            dataset_dir=dataset_dir,
            fixations=fixations,
            making=shared.map_options(
                screen,
                placement,
                sigma_px,
                sigma_deg,
                weight,
                participants,
                drop_first,
                min_duration,
                off_image,
                maps,
                longest_side,
            ),
            maps_from=maps_from,
            jobs=jobs,
            prompt=prompt,
            test_fraction=test_fraction,
            seed=seed,
            columns=column_mapping(columns or []),
            overwrite=overwrite,
        )
        with Progress(console=console) as progress:
            built = build_dataset(options, lambda items, what: progress.track(items, description=f"{what:<15}"))
    _print_summary(built)


def _print_summary(built: BuiltDataset) -> None:
    from shlex import quote

    from rich.console import Console
    from rich.table import Table

    from llamafactory_gaze.data.card import COUNTS, STAGE1_NOT_NORMALIZED, category_counts, excluded_by_reason
    from llamafactory_gaze.data.card_maps import WHICH

    console = Console(highlight=False)
    table = Table("category", "training", "test", title="images (descriptions)", title_justify="left")
    for line in category_counts(built):
        table.add_row(*line)
    console.print(table)

    if built.fixations is None:
        number = len({built.maps.name(sample) for sample in built.samples})
        console.print(f"Maps: {number} taken from {built.options.maps_from}, {WHICH[built.maps.of]}.", soft_wrap=True)
    else:
        read, made = built.fixations["read"], built.fixations["used"]
        others = {COUNTS[key]: n for key, n in built.fixations.items() if key not in ("read", "used") and n}
        console.print(
            f"Fixations: {read} read, {made} in a map"
            + "".join(f", {number} {what}" for what, number in others.items())
            + ".",
            soft_wrap=True,
        )
    console.print(f"Descriptions excluded: {len(built.excluded)}" + ("" if built.excluded else "."))
    for reason, number in excluded_by_reason(built).most_common():
        console.print(f"  {number} x {reason} (listed in {built.folder / 'README.md'})", markup=False, soft_wrap=True)
    if not built.normalized:
        console.print(f"[bold yellow]Note:[/] {STAGE1_NOT_NORMALIZED}", soft_wrap=True)

    name, folder = quote(built.options.name), quote(str(built.options.dataset_dir))
    stage1 = built.dataset_names["stage1"]
    console.print(
        f"Registered {', '.join(built.dataset_names.values())} in {built.options.dataset_dir / 'dataset_info.json'}.\n"
        f"Look at {built.folder / 'preview.png'} first: do the hot spots lie on what the descriptions name?\n"
        "Then try all of it with a tiny model on the CPU:\n"
        f"  llamafactory-gaze demo --dataset-dir {folder} --dataset {name} --output saves/{name}\n"
        "or begin stage 1 of the real one on a GPU:\n"
        f"  llamafactory-cli train yaml_recipes/stage1.yaml dataset_dir={folder} dataset={stage1}",
        markup=False,
        soft_wrap=True,
    )
