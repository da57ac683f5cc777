"""The command line of the project, `llamafactory-gaze`; to train and predict is LLaMA-Factory's `llamafactory-cli`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer


if TYPE_CHECKING:
    from llamafactory_gaze.data.build import BuiltDataset


app = typer.Typer(
    help="Gaze for Qwen2.5-VL in LLaMA-Factory: see it work (demo), bring your own recordings (dataset), compare "
    "variants (study), see what a model does with a map (explain).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
)


def main() -> None:
    app()


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for everything that the demo writes.")] = Path("saves/demo"),
    dataset_dir: Annotated[
        Path | None, typer.Option(help="Run on the data sets of this folder. Default: the simulated data of the demo.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Name given to `llamafactory-gaze dataset`: NAME_stage1, NAME_stage2, NAME_test.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Trainings to run at the same time.")] = 2,
    max_steps: Annotated[int | None, typer.Option(min=1, help="Stop every training after so many steps.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete an earlier run in the output folder.")] = False,
) -> None:
    """Run the whole experiment with a tiny model: both stages with and without gaze, predictions, comparison.

    \b
    Example:
      llamafactory-gaze demo
      llamafactory-gaze demo --dataset-dir data_registry --dataset osie --output saves/osie
    """
    from llamafactory_gaze.demo.run import run_demo

    run_demo(
        output=output,
        dataset_dir=dataset_dir,
        dataset=dataset,
        jobs=jobs,
        max_steps=max_steps,
        overwrite=overwrite,
    )


@app.command(no_args_is_help=True)
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
    from rich.markup import escape
    from rich.progress import Progress

    from llamafactory_gaze.data.build import DatasetOptions, build_dataset
    from llamafactory_gaze.data.tables import DataError

    console = Console(stderr=True)
    try:
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
            columns=_column_mapping(columns or []),
            overwrite=overwrite,
        )
        with Progress(console=console) as progress:
            built = build_dataset(options, lambda items, what: progress.track(items, description=f"{what:<15}"))
    except DataError as error:
        console.print(f"[bold red]Error:[/] {escape(str(error))}", soft_wrap=True, highlight=False)
        raise typer.Exit(1) from error
    _print_summary(built)


@app.command(no_args_is_help=True)
def fixations(
    recordings: Annotated[
        list[Path],
        typer.Argument(
            metavar="RECORDING...",
            help="EyeLink .asc or .asc.gz, Data Viewer fixation reports, CSV, TSV or Parquet tables, OSIE's "
            "fixations.mat.",
        ),
    ],
    output: Annotated[Path, typer.Option(help="The table of all fixations, a CSV file.")],
    format: Annotated[
        Literal["eyelink", "data-viewer", "table", "osie"] | None,
        typer.Option(help="What the recordings are. Default: found by their endings and content."),
    ] = None,
    participant: Annotated[
        str | None, typer.Option(help="The participant, instead of what the recordings (.asc: their names) say.")
    ] = None,
    image_message: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX", help="EyeLink: the message that names an image, with a group `image`, not !V IMGLOAD."
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(metavar="OURS=THEIRS", help="Tables: name of a column, e.g. image=PICTURE. Repeatable."),
    ] = None,
    eye: Annotated[Literal["left", "right", "both"], typer.Option(help="Keep the fixations of one eye.")] = "both",
    only_on_images: Annotated[
        bool, typer.Option("--only-on-images", help="Leave out fixations before an image was named in their trial.")
    ] = False,
    skip_bad_lines: Annotated[
        bool, typer.Option("--skip-bad-lines", help="Leave out lines that cannot be read, and say how many.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")] = False,
) -> None:
    """Read eye trackers' files into one table of fixations: image, participant, trial, index, x, y, duration_ms.

    \b
    Example:
      llamafactory-gaze fixations recordings/*.asc --output fixations.csv --eye left
      llamafactory-gaze fixations p1.asc --output p1.csv --image-message '^picture (?P<image>\\S+)'
      llamafactory-gaze fixations report.txt --output fixations.csv --columns image=PICTURE
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import track

    from llamafactory_gaze.data.recordings import output as table
    from llamafactory_gaze.data.recordings import read_recording
    from llamafactory_gaze.data.tables import DataError

    console = Console(stderr=True)
    try:
        table.check_output(output, recordings, overwrite)
        mapping = _column_mapping(columns or [])
        read = [
            read_recording(
                path,
                format,
                participant=participant,
                image_message=image_message,
                columns=mapping,
                eye=eye,
                only_on_images=only_on_images,
                skip_bad_lines=skip_bad_lines,
            )
            for path in track(recordings, "Reading", console=console)
        ]
        table.check_participants(read, named=participant is not None)
        count = table.write_fixations(read, output)
    except DataError as error:
        console.print(f"[bold red]Error:[/] {escape(str(error))}", soft_wrap=True, highlight=False)
        raise typer.Exit(1) from error
    Console(highlight=False).print("\n".join(table.summary(read, output, count)), markup=False, soft_wrap=True)


@app.command(no_args_is_help=True)
def heatmaps(
    fixations: Annotated[
        Path,
        typer.Argument(
            metavar="FIXATIONS",
            help="CSV, TSV or Parquet with the columns image, participant, x, y, duration_ms; trial and index may be.",
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder for the maps and maps.json: new, empty or of this command.")],
    image_size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Size of the images in pixels. Default: the screen's.")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Instead: folder of the images, whose sizes are read.")] = None,
    screen: Annotated[
        str | None,
        typer.Option(
            metavar="paper|WxH,CM_WIDE,CM_AWAY",
            help="x and y are pixels of this screen: its pixels, width and distance in cm. paper: 24-inch, 90 cm. "
            "Default: x and y are pixels of the image.",
        ),
    ] = None,
    placement: Annotated[
        str | None,
        typer.Option(
            metavar="center|fill|X,Y,W,H",
            help="Where the image stood: at its own size in the middle, as large as fits, or in these screen pixels.",
        ),
    ] = None,
    sigma_px: Annotated[
        float | None, typer.Option(help="Standard deviation of the Gaussian in pixels of the image.")
    ] = None,
    sigma_deg: Annotated[
        float | None, typer.Option(help="Or in degrees of visual angle; needs --screen. Default with --screen: 1.")
    ] = None,
    weight: Annotated[
        Literal["duration", "count"], typer.Option(help="What a fixation counts for in its map.")
    ] = "duration",
    participants: Annotated[
        Literal["pooled", "equal"], typer.Option(help="equal: everybody has the same total weight in a map.")
    ] = "pooled",
    drop_first: Annotated[
        bool, typer.Option("--drop-first", help="Leave out the first fixation of each participant (and trial).")
    ] = False,
    min_duration: Annotated[float, typer.Option(min=0, metavar="MS", help="Leave out shorter fixations.")] = 0,
    maps: Annotated[
        Literal["image", "participant", "leave-one-out", "trial"],
        typer.Option(help="One map per image (the paper's), participant, all but one participant, or trial."),
    ] = "image",
    longest_side: Annotated[
        int | None, typer.Option(min=1, help="Longer side of a map in pixels. Default: the image's.")
    ] = None,
    columns: Annotated[
        list[str] | None, typer.Option(metavar="OURS=THEIRS", help="Name of a column in the table. Repeatable.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Maps to make at the same time.")] = 2,
) -> None:
    """Make saliency maps from fixations: 16-bit PNG files, and maps.json that says how they were made.

    \b
    Example:
      llamafactory-gaze heatmaps fixations.csv --screen paper --placement fill --images photographs --output maps
      llamafactory-gaze heatmaps fixations.csv --image-size 800x600 --sigma-px 24 --output maps
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    from llamafactory_gaze.data.geometry import parse_screen, parse_size
    from llamafactory_gaze.data.heatmap_files import HeatmapOptions, make_heatmaps, summary
    from llamafactory_gaze.data.tables import DataError

    console = Console(stderr=True)
    try:
        options = HeatmapOptions(
            fixations=fixations,
            output=output,
            image_size=None if image_size is None else parse_size(image_size, "--image-size"),
            images=images,
            screen=None if screen is None else parse_screen(screen),
            placement=placement,
            sigma_px=sigma_px,
            sigma_deg=sigma_deg,
            weight=weight,
            participants=participants,
            drop_first=drop_first,
            min_duration=min_duration,
            maps=maps,
            longest_side=longest_side,
            columns=_column_mapping(columns or []),
            jobs=jobs,
        )
        with Progress(console=console) as progress:
            report = make_heatmaps(options, lambda items, n: progress.track(items, total=n, description="Making maps"))
    except DataError as error:
        console.print(f"[bold red]Error:[/] {escape(str(error))}", soft_wrap=True, highlight=False)
        raise typer.Exit(1) from error
    Console(highlight=False).print(summary(report, output), markup=False, soft_wrap=True)


@app.command(no_args_is_help=True)
def study(
    file: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="What is compared: see yaml_recipes/studies/.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder for everything that the study writes. Default: saves/studies/NAME.")
    ] = None,
    runs: Annotated[
        Path | None,
        typer.Option(
            help="Folder of what is trained; studies that share it do not train the same twice. "
            "Default: `runs` in the output folder."
        ),
    ] = None,
    dataset_dir: Annotated[
        Path | None, typer.Option(help="Run on the data sets of this folder. Default: the simulated data of the demo.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Name given to `llamafactory-gaze dataset`: NAME_stage1, NAME_stage2, NAME_test.")
    ] = None,
    recipes: Annotated[
        Path | None,
        typer.Option(
            help="Folder of stage1.yaml, stage2.yaml and predict_injected.yaml, instead of the file's `recipes` and "
            "the steps that it sets for them."
        ),
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Seed of training instead of the file's. Repeatable.")] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Commands to run at the same time. Default: 2 with recipes for the CPU, else 1."),
    ] = None,
    max_steps: Annotated[int | None, typer.Option(min=1, help="Stop every training after so many steps.")] = None,
) -> None:
    """Train, predict and compare several variants with several seeds, and put them into one table.

    Every variant runs through both stages, is compared with a baseline that was trained without gaze on the same data
    and steps, and stands in study.md with its metrics, their intervals and its loss curve. A second call goes on where
    the first one stopped.

    \b
    Example:
      llamafactory-gaze study yaml_recipes/studies/layers.yaml
      llamafactory-gaze study yaml_recipes/studies/fusion.yaml --recipes yaml_recipes \\
        --dataset-dir data_registry --dataset mine
    """
    from rich.console import Console
    from rich.markup import escape

    from llamafactory_gaze.study.definition import StudyError, read_study

    try:
        seeds = tuple(seed) if seed else None
        asked = read_study(file, dataset_dir=dataset_dir, dataset=dataset, recipes=recipes, seeds=seeds)
        from llamafactory_gaze.study.run import run_study  # takes seconds, which a mistake in the file need not

        failed = run_study(asked, output or Path("saves/studies") / file.stem, runs, jobs, max_steps)
    except StudyError as error:
        Console(stderr=True).print(f"[bold red]Error:[/] {escape(str(error))}", soft_wrap=True, highlight=False)
        raise typer.Exit(1) from error
    if failed:
        raise typer.Exit(1)


@app.command(no_args_is_help=True)
def explain(
    model: Annotated[
        str,
        typer.Argument(help="Exported gaze model, or with --adapter its base model: a folder or a name on the Hub."),
    ],
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="The image.")],
    saliency_map: Annotated[Path, typer.Argument(metavar="MAP", help="Its saliency map, greyscale.")],
    output: Annotated[Path, typer.Option(help="Folder for the pictures and numbers: new, empty or of this command.")],
    adapter: Annotated[
        list[str] | None,
        typer.Option(help="Output folder of a training. Repeatable: stage 1 first, in the order of training."),
    ] = None,
    prompt: Annotated[str, typer.Option(help="The question that the captions answer.")] = "Describe the image.",
    max_pixels: Annotated[
        int, typer.Option(min=28 * 28, help="Scale a larger image down; `image_max_pixels` of the recipe.")
    ] = 768 * 768,
) -> None:
    """Show what a model does with the map of an image: where each head looks, and how far each visual token moves.

    \b
    Example:
      llamafactory-gaze explain saves/export photo.jpg map.png --output saves/explained
      llamafactory-gaze explain Qwen/Qwen2.5-VL-3B-Instruct photo.jpg map.png \\
        --adapter saves/stage1 --adapter saves/stage2 --output saves/explained
    """
    from rich.console import Console
    from rich.markup import escape

    from eval.errors import InputError
    from llamafactory_gaze.explain.report import explain_files
    from llamafactory_gaze.inference import InferenceError
    from llamafactory_gaze.saliency.maps import SaliencyMapError

    try:
        explained = explain_files(model, image, saliency_map, output, adapter or (), prompt, max_pixels)
    except (InferenceError, InputError, SaliencyMapError) as error:
        console = Console(stderr=True)
        console.print(f"[bold red]Error:[/] {escape(str(error))}", soft_wrap=True, highlight=False)
        raise typer.Exit(1) from error
    moved = explained.moved * 100
    Console(highlight=False).print(
        f"With the map: {explained.caption_with}\n"
        f"Without:      {explained.caption_without}\n"
        f"The visual tokens move by {moved.mean():.3g} % of their norm, at most {moved.max():.3g} %.\n"
        f"Look at {' and '.join(str(path) for path in sorted(output.glob('*.png')))}.",
        markup=False,
        soft_wrap=True,
    )


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


def _column_mapping(pairs: list[str]) -> dict[str, str]:
    from llamafactory_gaze.data.tables import DataError

    mapping: dict[str, str] = {}
    for pair in pairs:
        ours, equals, theirs = pair.partition("=")
        if not (ours and equals and theirs) or ours in mapping:
            raise DataError(
                f"--columns {pair} is not understood; expected one OURS=THEIRS per column, e.g. x=CURRENT_FIX_X."
            )
        mapping[ours] = theirs
    return mapping


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


if __name__ == "__main__":
    main()
