"""`llamafactory-gaze dataset`: fixations, photographs and descriptions become a registered data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from llamafactory_gaze.cli import map_options as shared
from llamafactory_gaze.cli.common import column_mapping, errors_as_sentences
from llamafactory_gaze.data.maps.options import MapOptions
from llamafactory_gaze.data.triples.exclusions import INAUDIBLE, INCOMPLETE, Rules


if TYPE_CHECKING:
    from llamafactory_gaze.data.triples.built import BuiltDataset


_RULES, _SPEECH = "Exclusions and review", "Speech"
_SPLIT, _PRIVACY, _CARD = "Split", "Privacy", "Data card"


def dataset(
    images: Annotated[Path, typer.Option(help="Folder of the photographs that the column image names.")],
    descriptions: Annotated[
        Path,
        typer.Option(
            help="Table with the columns image, participant, description; category (the split is balanced by it), "
            "normalized (the stage-1 targets) and trial are optional; further columns are kept as fields. Or "
            "transcripts in JSON or JSON lines: image, participant, and a text or words with times."
        ),
    ],
    name: Annotated[
        str,
        typer.Option(
            help="The data sets are registered as NAME_stage1, NAME_stage2 and NAME_test (NAME_fold1_stage1, ...)."
        ),
    ],
    dataset_dir: Annotated[
        Path, typer.Option(help="LLaMA-Factory's dataset_dir: the folder of dataset_info.json.")
    ] = Path("data_registry"),
    fixations: Annotated[
        Path | None,
        typer.Option(
            help="CSV, TSV or Parquet with the columns image, participant, x, y, duration_ms; trial and index may be."
        ),
    ] = None,
    columns: shared.ColumnsOption = None,
    maps_from: Annotated[
        Path | None,
        typer.Option(
            help="Instead: folder of ready-made maps, written by `heatmaps` or published, named as their images. "
            "--fixations then only says who looked at what."
        ),
    ] = None,
    participants_table: Annotated[
        Path | None,
        typer.Option(
            help="Table with the column participant and what is known of each (age, ...): kept as fields of the rows, "
            "for reports by subgroup."
        ),
    ] = None,
    prompt: Annotated[str, typer.Option(help="The question that every description answers.")] = "Describe the image.",
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace a folder or registry entries that this command did not make; review.csv survives.",
        ),
    ] = False,
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
    jobs: shared.JobsOption = 2,
    min_fixations: Annotated[
        int,
        typer.Option(
            help="Fixations that the speaker must have on the image: a single one is where the cross was before it. "
            "0: off.",
            rich_help_panel=_RULES,
        ),
    ] = Rules.min_fixations,
    min_on_image: Annotated[
        float,
        typer.Option(
            help="Share of the speaker's fixations that must lie on the image; less is a bad calibration. 0: off.",
            rich_help_panel=_RULES,
        ),
    ] = Rules.min_on_image,
    min_looking_ms: Annotated[
        float,
        typer.Option(
            help="How long the speaker's fixations on the image must last in all. 0: off, because it depends on how "
            "long yours were shown.",
            rich_help_panel=_RULES,
        ),
    ] = Rules.min_looking_ms,
    max_one_fixation: Annotated[
        float,
        typer.Option(
            help="Share of a map's weight that may lie in a single fixation; more is an artefact. 1: off.",
            rich_help_panel=_RULES,
        ),
    ] = Rules.max_one_fixation,
    min_spread: Annotated[
        float,
        typer.Option(
            help="How far the fixations of a map must spread (weighted standard distance from their centre, in "
            "diagonals of the image; 0.002 is 2 pixels of 800x600): less is a tracker that is stuck. 0: off.",
            rich_help_panel=_RULES,
        ),
    ] = Rules.min_spread,
    min_words: Annotated[
        int,
        typer.Option(
            help="Words that a description must have; in scripts without spaces, letters. 0: off.",
            rich_help_panel=_RULES,
        ),
    ] = Rules.min_words,
    inaudible: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="What a description must not contain. Default: marks such as \\[inaudible], (unverständlich), xxx, "
            "???. '': off.",
            rich_help_panel=_RULES,
        ),
    ] = None,
    incomplete: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="How a description must not end. Default: '...', a dash, \\[incomplete]. '': off.",
            rich_help_panel=_RULES,
        ),
    ] = None,
    review: Annotated[
        Path | None,
        typer.Option(
            help="A review list that was filled in elsewhere. NAME/review.csv is always read: write accept (a rule was "
            "wrong) or reject there, and why, and run the command again.",
            rich_help_panel=_RULES,
        ),
    ] = None,
    clean_speech: Annotated[
        bool,
        typer.Option(
            "--clean-speech",
            help="Take fillers (uh, uhm, um, er, erm, ehm, hm, mhm, mm, you know) and restarts ('the the', 'a wo- a "
            "woman') out of the descriptions; the fields spoken and removed keep the original.",
            rich_help_panel=_SPEECH,
        ),
    ] = False,
    fillers: Annotated[
        Path | None,
        typer.Option(
            help="With --clean-speech: fillers of your own instead, one word or phrase per line.",
            rich_help_panel=_SPEECH,
        ),
    ] = None,
    split: Annotated[
        Literal["image", "participant", "both"],
        typer.Option(
            help="What stands in the training or in the test set only. both: test images by test participants are the "
            "test; mixed pairs are in neither.",
            rich_help_panel=_SPLIT,
        ),
    ] = "image",
    test_fraction: Annotated[
        float | None,
        typer.Option(
            help="Share of the images (or participants, or of each) that is held out for the test. Default: 0.25.",
            rich_help_panel=_SPLIT,
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            help="Instead of one test set: so many folds, balanced by category, each the test set once.",
            rich_help_panel=_SPLIT,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the choice of the test set.", rich_help_panel=_SPLIT)] = 42,
    pseudonyms: Annotated[
        Path | None,
        typer.Option(
            metavar="SALT_FILE",
            help="Write codes instead of the participants' ids, made with the salt in this file, which is made where "
            "it is missing. Keep it, and do not publish it. The column audio, names of recordings, is left out.",
            rich_help_panel=_PRIVACY,
        ),
    ] = None,
    consent: Annotated[
        str | None, typer.Option(help="What the participants consented to.", rich_help_panel=_CARD)
    ] = None,
    licence: Annotated[str | None, typer.Option(help="E.g. CC-BY-4.0.", rich_help_panel=_CARD)] = None,
    cite: Annotated[str | None, typer.Option(help="How to cite the recordings.", rich_help_panel=_CARD)] = None,
    contact: Annotated[str | None, typer.Option(help="Who answers questions.", rich_help_panel=_CARD)] = None,
) -> None:
    """Make a data set of photographs, eye fixations and descriptions, and register it for LLaMA-Factory.

    \b
    Example:
      llamafactory-gaze dataset --fixations fixations.csv --images photographs \\
        --descriptions descriptions.csv --name mine --sigma-px 24
      llamafactory-gaze dataset --maps-from FIXATIONMAPS --images Stimuli \\
        --descriptions descriptions.csv --name mine
      llamafactory-gaze dataset --fixations fixations.csv --images photographs \\
        --descriptions transcripts.json --name mine --sigma-px 24 --clean-speech \\
        --split both --pseudonyms ../salt.txt --consent "publication of maps" --licence CC-BY-4.0
    """
    from rich.console import Console
    from rich.progress import Progress

    from llamafactory_gaze.data.tables import DataError
    from llamafactory_gaze.data.triples.build import build_dataset
    from llamafactory_gaze.data.triples.options import DatasetOptions, Statements

    console = Console(stderr=True)
    with errors_as_sentences(DataError):
        if folds is not None and test_fraction is not None:
            raise DataError("--folds and --test-fraction both say how large the test sets are; give one of them.")
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
            test_fraction=0.25 if test_fraction is None else test_fraction,
            seed=seed,
            columns=column_mapping(columns or []),
            overwrite=overwrite,
            participants_table=participants_table,
            rules=Rules(
                min_fixations=min_fixations,
                min_on_image=min_on_image,
                min_looking_ms=min_looking_ms,
                max_one_fixation=max_one_fixation,
                min_spread=min_spread,
                min_words=min_words,
                inaudible=INAUDIBLE if inaudible is None else inaudible,
                incomplete=INCOMPLETE if incomplete is None else incomplete,
            ),
            review=review,
            clean_speech=clean_speech,
            fillers=fillers,
            split=split,
            folds=folds,
            pseudonyms=pseudonyms,
            statements=Statements(consent, licence, cite, contact),
        )
        with Progress(console=console) as progress:
            built = build_dataset(options, lambda items, what: progress.track(items, description=f"{what:<15}"))
    _print_summary(built)


def _print_summary(built: BuiltDataset) -> None:
    from shlex import quote

    from rich.console import Console
    from rich.table import Table

    from llamafactory_gaze.data.triples.card import (
        COUNTS,
        STAGE1_NOT_NORMALIZED,
        category_table,
        excluded_by_rule,
        review_in_words,
    )
    from llamafactory_gaze.data.triples.card_maps import which
    from llamafactory_gaze.data.triples.dataset_maps import ReadyMaps

    console = Console(highlight=False)
    header, lines = category_table(built)
    table = Table(*header, title="images (descriptions)", title_justify="left")
    for line in lines:
        table.add_row(*line)
    console.print(table)

    if built.fixations is None:
        (side,) = built.maps
        assert isinstance(side.maps, ReadyMaps)  # the only ones without fixations
        number = len({side.path(sample) for sample in side.samples})
        console.print(f"Maps: {number} taken from {built.options.maps_from}, {which(side.maps)}.", soft_wrap=True)
        if side.maps.sources:
            said = (
                f"{len(side.maps.sources)} of them say that they were not recorded by an eye tracker (see README.md)."
            )
            console.print(f"[bold yellow]Note:[/] {said}", soft_wrap=True)
    else:
        read, made = built.fixations["read"], built.fixations["used"]
        others = {COUNTS[key]: n for key, n in built.fixations.items() if key not in ("read", "used") and n}
        console.print(
            f"Fixations: {read} read, {made} in a map"
            + "".join(f", {number} {what}" for what, number in others.items())
            + ".",
            soft_wrap=True,
        )
    excluded = ", ".join(f"{number} x {rule}" for rule, number in excluded_by_rule(built).most_common())
    where = f" (each is listed in {built.folder / 'excluded.csv'})" if excluded else ""
    console.print(
        f"Descriptions excluded: {len(built.excluded)}{': ' * bool(excluded)}{excluded}{where}.",
        markup=False,
        soft_wrap=True,
    )
    console.print(f"Review by hand: {review_in_words(built)}", markup=False, soft_wrap=True)
    if built.options.split == "both":
        mixed = sum(map(len, built.neither.values()))
        console.print(f"In neither set: {mixed} samples (listed in {built.folder / 'splits.json'}).", soft_wrap=True)
    if not built.normalized:
        console.print(f"[bold yellow]Note:[/] {STAGE1_NOT_NORMALIZED}", soft_wrap=True)

    name, folder = quote(built.options.name), quote(str(built.options.dataset_dir))
    stage1, *_ = built.dataset_names.values()
    demo = name if built.options.folds is None else f"{name}_fold1"
    console.print(
        f"Registered {', '.join(built.dataset_names.values())} in {built.options.dataset_dir / 'dataset_info.json'}.\n"
        f"Look at {built.folder / 'preview.png'} first: do the hot spots lie on what the descriptions name?\n"
        "Then try all of it with a tiny model on the CPU:\n"
        f"  llamafactory-gaze demo --dataset-dir {folder} --dataset {demo} --output saves/{demo}\n"
        "or begin stage 1 of the real one on a GPU:\n"
        f"  llamafactory-cli train yaml_recipes/stage1.yaml dataset_dir={folder} dataset={stage1}",
        markup=False,
        soft_wrap=True,
    )
