"""What every reader is asked for, and what it returns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal


if TYPE_CHECKING:  # which needs numpy
    from llamafactory_gaze.data.recordings.detection import Detection


@dataclass(frozen=True, slots=True)
class Fixation:
    """One fixation."""

    image: str  # '' where the recording names none
    participant: str
    trial: str  # as the recording names it; '' where it has no trials
    index: int  # place in its trial (and eye), from 0
    x: float  # pixels to the right
    y: float  # pixels down
    duration_ms: float | None  # 0 or more; None where the recording does not say
    eye: str  # 'left', 'right', or '' where the recording does not say


@dataclass(frozen=True)
class Recording:
    """One file of fixations."""

    path: Path
    format: str
    fixations: list[Fixation]  # in the order of the file
    pixels_of: Literal["screen", "image", "unknown"]  # what x and y are pixels of
    display_px: tuple[int, int] | None = None  # width and height of the screen
    sampling_hz: float | None = None
    skipped: int = 0  # lines that could not be read
    notes: tuple[str, ...] = ()  # sentences that a user should read before using the fixations
    detection: str = ""  # how the fixations were found, where it was here

    @property
    def eyes(self) -> tuple[str, ...]:
        """The eyes that have fixations: ('left',), ('right',), both, or none where the recording does not say."""
        return tuple(sorted({fixation.eye for fixation in self.fixations} - {""}))


@dataclass(frozen=True)
class ReadOptions:
    """What a user can say about a recording; see `read_recording`."""

    participant: str | None = None
    image_message: re.Pattern[str] | None = None
    image_named: Literal["before", "after"] | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    detection: Detection | None = None
