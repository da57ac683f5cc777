"""The options that say what a map is made of, once for all commands that make maps.

`heatmaps` and `dataset` take their parameters' types and defaults from here, so that their help texts are the same.
"""

from __future__ import annotations

from typing import Annotated

import typer

from llamafactory_gaze.data.maps.options import MapOptions, MapsOf, OffImage, Participants, Weight


_PANEL = "How maps are made of fixations"

ScreenOption = Annotated[
    str | None,
    typer.Option(
        metavar="paper|WxH,CM_WIDE,CM_AWAY",
        help="x and y are pixels of this screen: its pixels, width and distance in cm. paper: 24-inch, 90 cm. "
        "Default: x and y are pixels of the image.",
        rich_help_panel=_PANEL,
    ),
]
PlacementOption = Annotated[
    str | None,
    typer.Option(
        metavar="center|fill|X,Y,W,H",
        help="Where the image stood: at its own size in the middle, as large as fits, or in these screen pixels.",
        rich_help_panel=_PANEL,
    ),
]
SigmaPxOption = Annotated[
    float | None,
    typer.Option(help="Standard deviation of the Gaussian in pixels of the image.", rich_help_panel=_PANEL),
]
SigmaDegOption = Annotated[
    float | None,
    typer.Option(
        help="Or in degrees of visual angle; needs --screen. Default with --screen: 1.", rich_help_panel=_PANEL
    ),
]
WeightOption = Annotated[Weight, typer.Option(help="What a fixation counts for in its map.", rich_help_panel=_PANEL)]
ParticipantsOption = Annotated[
    Participants, typer.Option(help="equal: everybody has the same total weight in a map.", rich_help_panel=_PANEL)
]
DropFirstOption = Annotated[
    bool,
    typer.Option(
        "--drop-first", help="Leave out the first fixation of each participant (and trial).", rich_help_panel=_PANEL
    ),
]
MinDurationOption = Annotated[
    float, typer.Option(min=0, metavar="MS", help="Leave out shorter fixations.", rich_help_panel=_PANEL)
]
OffImageOption = Annotated[
    OffImage,
    typer.Option(
        help="Fixations beside the image: left out, or kept where their Gaussian (3 of its widths) reaches it.",
        rich_help_panel=_PANEL,
    ),
]
MapsOption = Annotated[
    MapsOf,
    typer.Option(
        help="One map per image (the paper's), participant (their own fixations), all but one participant, or trial.",
        rich_help_panel=_PANEL,
    ),
]
LongestSideOption = Annotated[
    int | None,
    typer.Option(min=1, help="Longer side of a map in pixels. Default: the image's.", rich_help_panel=_PANEL),
]
ColumnsOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="OURS=THEIRS", help="Name of a column in the fixation table, e.g. x=CURRENT_FIX_X. Repeatable."
    ),
]
JobsOption = Annotated[int, typer.Option(min=1, help="Maps to make at the same time.", rich_help_panel=_PANEL)]


def map_options(
    screen: str | None,
    placement: str | None,
    sigma_px: float | None,
    sigma_deg: float | None,
    weight: Weight,
    participants: Participants,
    drop_first: bool,
    min_duration: float,
    off_image: OffImage,
    maps: MapsOf,
    longest_side: int | None,
) -> MapOptions:
    """The options as `llamafactory_gaze.data` takes them.

    Raises:
        DataError: the screen is not understood.
    """
    from llamafactory_gaze.data.maps.geometry import parse_screen

    return MapOptions(
        screen=None if screen is None else parse_screen(screen),
        placement=placement,
        sigma_px=sigma_px,
        sigma_deg=sigma_deg,
        weight=weight,
        participants=participants,
        drop_first=drop_first,
        min_duration=min_duration,
        off_image=off_image,
        maps=maps,
        longest_side=longest_side,
    )
