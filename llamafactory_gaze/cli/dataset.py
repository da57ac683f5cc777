"""`llamafactory-gaze dataset`: fixations, photographs and descriptions become a registered data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from llamafactory_gaze.cli.common import column_mapping, errors_as_sentences


if TYPE_CHECKING:
    from llamafactory_gaze.data.build import BuiltDataset


def dataset(
    fixations: Annotated[
        Path,
        typer.Option(
            help="CSV, TSV or Parquet with the columns image, participant, x, y (pixels of the image), duration_ms."
        ),
    ],
    images: Annotated[Path, typer.Option(help="Folder of the photographs that the column image names.")],
    descriptions: Annotated[
        Path,
        typer.Option(
            help="Table with the columns image, participant, description; category (the split is balanced by it) and "
            "normalized (the stage-1 targets) are optional; further columns are kept as fields."
        ),
    ],
    name: Annotated[str, typer.Option(help="The data sets are registered as NAME_stage1, NAME_stage2 and NAME_test.")],
    dataset_dir: Annotated[
        Path, typer.Option(help="LLaMA-Factory's dataset_dir: the folder of dataset_info.json.")
    ] = Path("data_registry"),
    sigma_px: Annotated[
        float | None,
        typer.Option(help="Width (standard deviation) of the Gaussian around a fixation, in pixels of the image."),
    ] = None,
    pixels_per_degree: Annotated[
        float | None, typer.Option(help="Instead of --sigma-px: pixels of the image per degree of visual angle.")
    ] = None,
    sigma_degrees: Annotated[
        float, typer.Option(help="With --pixels-per-degree: the Gaussian's width in degrees of visual angle.")
    ] = 1.0,
    maps: Annotated[
        Literal["image", "participant"],
        typer.Option(help="image: one map of all participants (the paper's); participant: each one's own fixations."),
    ] = "image",
    weight: Annotated[
        Literal["duration", "count"], typer.Option(help="What a fixation counts for in its map.")
    ] = "duration",
    prompt: Annotated[str, typer.Option(help="The question that every description answers.")] = "Describe the image.",
    test_fraction: Annotated[float, typer.Option(help="Share of the images that is held out for the test.")] = 0.25,
    seed: Annotated[int, typer.Option(help="Seed of the choice of test images.")] = 42,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OURS=THEIRS", help="Name of a column in the fixation table, e.g. x=CURRENT_FIX_X. Repeatable."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a folder or registry entries that this command did not make.")
    ] = False,
) -> None:
    """Make a data set of photographs, eye fixations and descriptions, and register it for LLaMA-Factory.

    \b
    Example:
      llamafactory-gaze dataset --fixations fixations.csv --images photographs \\
        --descriptions descriptions.csv --name mine --sigma-px 24
    """
    from rich.console import Console
    from rich.progress import Progress

    from llamafactory_gaze.data.build import DatasetOptions, build_dataset
    from llamafactory_gaze.data.tables import DataError

    console = Console(stderr=True)
    with errors_as_sentences(DataError):
        options = DatasetOptions(
            fixations=fixations,
            images=images,
            descriptions=descriptions,
            name=name,
            dataset_dir=dataset_dir,
            sigma_px=_sigma_in_pixels(sigma_px, pixels_per_degree, sigma_degrees),
            maps=maps,
            weight=weight,
            prompt=prompt,
            test_fraction=test_fraction,
            seed=seed,
            columns=column_mapping(columns or []),
            overwrite=overwrite,
        )
        with Progress(console=console) as progress:
            built = build_dataset(options, lambda items, what: progress.track(items, description=f"{what:<15}"))
    _print_summary(built)


def _sigma_in_pixels(sigma_px: float | None, pixels_per_degree: float | None, sigma_degrees: float) -> float:
    from llamafactory_gaze.data.tables import DataError

    if sigma_px is not None and pixels_per_degree is not None:
        raise DataError("--sigma-px and --pixels-per-degree both set the Gaussian's width; give one of them.")
    if sigma_px is not None:
        return sigma_px
    if pixels_per_degree is not None:
        return pixels_per_degree * sigma_degrees
    raise DataError(
        "The Gaussian's width is missing; give --sigma-px, or --pixels-per-degree: 1 degree of visual angle is usual, "
        "and how many pixels of the image that is depends on the screen and the distance to it (OSIE: about 24)."
    )


def _print_summary(built: BuiltDataset) -> None:
    from shlex import quote

    from rich.console import Console
    from rich.table import Table

    from llamafactory_gaze.data.card import STAGE1_NOT_NORMALIZED, category_counts, excluded_by_reason

    console = Console(highlight=False)
    table = Table("category", "training", "test", title="images (descriptions)", title_justify="left")
    for line in category_counts(built):
        table.add_row(*line)
    console.print(table)

    counts = built.fixations
    console.print(
        f"Fixations: {counts.read} read, {counts.used} in a map, {counts.off_image} outside their image, "
        f"{counts.without_description} on images without a description, "
        f"{counts.unused} of participants or images without a usable description.",
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
