"""What maps are made of where no eye tracker was, and one map of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

import llamafactory_gaze
from llamafactory_gaze.data.maps.heatmaps import encode_map
from llamafactory_gaze.data.predicted.photograph import Photograph
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.saliency.label import label_texts


MADE_BY = "llamafactory-gaze predict-map"


class NoMap(DataError):
    """A source has nothing to say about this photograph; the message is the reason, without its full stop."""


class Source(Protocol):
    """Something that maps are made of; equal photographs give equal maps."""

    def label(self, photograph: Photograph) -> dict[str, Any]:
        """What the map will say of itself: source, method, library (with version), sigma_px, and what is particular.

        Raises:
            NoMap: there is none for this photograph.
            DataError: what it would be made of cannot be used.
        """

    def draw(self, photograph: Photograph, longest_side: int | None) -> np.ndarray:
        """The map: (H, W) float32 in [0, 1] with the maximum 1, of the photograph's size or with this longer side.

        Raises:
            as `label`, and for a map that would be too large.
        """


@dataclass(frozen=True)
class PredictedMap:
    """A map and what it was made of.

    Attributes:
        saliency: (H, W) float32 in [0, 1], maximum 1.
        label: what stands in its file; see `llamafactory_gaze.saliency.label`.
    """

    saliency: np.ndarray
    label: dict[str, Any]

    def png(self) -> bytes:
        """The file: 16-bit greyscale, with the label in it."""
        return encode_map(self.saliency, label_texts(self.label))


def predict_map(image: Path | Photograph, source: Source, longest_side: int | None = None) -> PredictedMap:
    """Make the map of one image.

    Example:
        made = predict_map(Path("photo.jpg"), OpenCVPredictor("spectral-residual"))
        Path("map.png").write_bytes(made.png())

    Args:
        image: an image file.
        source: of `predictors`, `given`, `traces` or `marks`.
        longest_side: longer side of the map in pixels; None: the image's.

    Raises:
        NoMap: the source has nothing to say about this image.
        DataError: the image or the source cannot be used.
    """
    photograph = image if isinstance(image, Photograph) else Photograph.at(image)
    saliency = source.draw(photograph, longest_side)
    return PredictedMap(saliency, full_label(photograph, source, longest_side))


def full_label(photograph: Photograph, source: Source, longest_side: int | None) -> dict[str, Any]:
    """What the map of a photograph says of itself; without times and folders, so that equal inputs give equal bytes."""
    return {
        **source.label(photograph),
        "longest_side": longest_side,
        "image": photograph.name,
        "image_sha256": photograph.sha256,
        "made_by": f"{MADE_BY} {llamafactory_gaze.__version__}",
    }
