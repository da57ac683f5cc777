"""What a saliency map is made of: the options that `heatmaps` and `dataset` share. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from llamafactory_gaze.data.tables import DataError


if TYPE_CHECKING:
    from llamafactory_gaze.data.maps.geometry import Screen


MapsOf = Literal["image", "participant", "leave-one-out", "trial"]
Weight = Literal["duration", "count"]
Participants = Literal["pooled", "equal"]
OffImage = Literal["drop", "keep"]


@dataclass(frozen=True)
class MapOptions:
    """How maps are made of fixations; the --help of both commands explains each."""

    screen: Screen | None = None  # None: x and y are pixels of the image
    placement: str | None = None  # center, fill or X,Y,W,H
    sigma_px: float | None = None
    sigma_deg: float | None = None
    weight: Weight = "duration"
    participants: Participants = "pooled"
    drop_first: bool = False
    min_duration: float = 0.0  # ms
    off_image: OffImage = "drop"
    maps: MapsOf = "image"
    longest_side: int | None = None  # of a map, in pixels; None: the image's

    @property
    def degrees(self) -> float | None:
        """The Gaussian's width in degrees of visual angle; None where it is given in pixels."""
        if self.sigma_px is not None:
            return None
        return 1.0 if self.sigma_deg is None else self.sigma_deg

    def check(self) -> None:
        """Raise `DataError` where the options contradict each other or say too little."""
        if self.sigma_px is not None and self.sigma_deg is not None:
            raise DataError("--sigma-px and --sigma-deg both set the Gaussian's width; give one of them.")
        if self.screen is not None:
            return
        for name, value in (("--sigma-deg", self.sigma_deg), ("--placement", self.placement)):
            if value is not None:
                raise DataError(f"{name} needs --screen: the size of the screen and the distance to it.")
        if self.sigma_px is None:
            raise DataError(
                "The Gaussian's width is missing; give --sigma-px, about one degree of visual angle in pixels of the "
                "image (OSIE: 24), or --screen, where x and y are pixels of the screen (then it is 1 degree)."
            )

    def given(self) -> list[str]:
        """The options that are not at their default, as on the command line: `--sigma-px`."""
        changed = [field.name for field in fields(self) if getattr(self, field.name) != field.default]
        return [f"--{name.replace('_', '-')}" for name in changed]

    def settings(self) -> dict[str, Any]:
        """As `maps.json` says them."""
        screen = self.screen and asdict(self.screen) | {"pixels_per_degree": self.screen.pixels_per_degree}
        return {
            "screen": screen,
            "placement": self.placement,
            "sigma_px": self.sigma_px,
            "sigma_deg": self.degrees,
            "weight": self.weight,
            "participants": self.participants,
            "drop_first": self.drop_first,
            "min_duration_ms": self.min_duration,
            "off_image": self.off_image,
            "maps": self.maps,
            "longest_side": self.longest_side,
        }
