"""Where one looks: painted with a brush, replayed from a table of fixations, or loaded as a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from llamafactory_gaze.data.fixations import Fixations, read_fixations
from llamafactory_gaze.data.maps.geometry import Size, beyond, map_size, rescale
from llamafactory_gaze.data.maps.heatmaps import fixation_heatmap
from llamafactory_gaze.data.tables import DataError
from llamafactory_gaze.playground.picture import Picture, PlaygroundError
from llamafactory_gaze.saliency.label import map_source
from llamafactory_gaze.saliency.maps import check_aspect_ratio, read_saliency_map


EVERYBODY = "everybody"
MAP_SIDE = 512  # longer side of a map that is made here; it has no detail that would need more


@dataclass(frozen=True)
class Gaze:
    """A map (H, W) float32 in [0, 1], and in a few words where it comes from."""

    saliency: np.ndarray
    origin: str


@dataclass(frozen=True)
class Replay:
    """The fixations of one viewing in time, or of several that begin at once; arrays of equal length n.

    A table says how long each fixation lasts, not when it begins: they follow each other without a pause.
    """

    size: Size  # of the picture, whose pixels x and y are
    x: np.ndarray
    y: np.ndarray
    onset: np.ndarray  # ms
    duration: np.ndarray  # ms; also of those beside the picture
    on_picture: np.ndarray  # bool

    @property
    def end(self) -> float:
        """When the last fixation ends, in ms."""
        return float((self.onset + self.duration).max())

    def lasted(self, time: float) -> np.ndarray:
        """(n,) for how long each fixation on the picture has lasted at a time, in ms."""
        return np.where(self.on_picture, np.clip(time - self.onset, 0, self.duration), 0.0)

    def now(self, time: float) -> list[tuple[float, float]]:
        """(x, y) of the fixations on the picture that last at a time."""
        last = self.on_picture & (self.onset <= time) & (time < self.onset + self.duration)
        return list(zip(self.x[last].tolist(), self.y[last].tolist(), strict=True))

    def map_at(self, time: float, spread: float) -> np.ndarray | None:
        """The heat map of what was looked at up to a time, in ms; None while that is nothing.

        Args:
            spread: standard deviation of the Gaussian as a part of the picture's width.
        """
        weight = self.lasted(time)
        if not weight.any():
            return None
        width, height = size = map_size(self.size, min(MAP_SIDE, max(self.size)))
        x, y = rescale(self.x, self.size[0], width), rescale(self.y, self.size[1], height)
        seen = weight > 0
        return fixation_heatmap(x[seen], y[seen], weight[seen], size, _sigma(spread, width))


def painted_map(layers: Sequence[Image.Image], spread: float) -> np.ndarray | None:
    """Strokes to a map: their opacity, smoothed as fixations are, with a maximum of 1; None where nothing is painted.

    Args:
        layers: RGBA images of equal size with transparency where nothing is painted; where they overlap, the most
            opaque one counts.
        spread: as for `Replay.map_at`.
    """
    if not layers:
        return None
    strokes = np.max([np.asarray(layer.getchannel("A"), dtype=np.float32) for layer in layers], axis=0)
    if not strokes.any():
        return None
    smooth = gaussian_filter(strokes, _sigma(spread, strokes.shape[1]), mode="constant")
    return smooth / smooth.max()


def read_map(path: Path, picture: Picture) -> Gaze:
    """Read the file of a map; its origin says so where it was not made of an eye tracker's fixations.

    Raises:
        SaliencyMapError: no map, or of another shape than the picture. The message does not say where the upload lies.
    """
    file = {"bytes": path.read_bytes(), "path": path.name}
    saliency, source = read_saliency_map(file), map_source(file)
    check_aspect_ratio((saliency.shape[1], saliency.shape[0]), picture.image.size, path.name, picture.name)
    return Gaze(saliency, f"map {path.name}" + (f" (not of an eye tracker: {source})" if source else ""))


def read_uploaded_fixations(path: Path) -> Fixations:
    """As `read_fixations`; the message of its `DataError` does not say where the upload lies."""
    try:
        return read_fixations(path)
    except DataError as error:
        raise DataError(str(error).replace(str(path), path.name)) from error


def images_of(fixations: Fixations) -> list[str]:
    """The images of a table, sorted."""
    return sorted(set(fixations.image.tolist()))


def image_for(fixations: Fixations, picture: Picture) -> str | None:
    """The image of a table that has the name of the picture, or the only one; None where that is not clear."""
    images = images_of(fixations)
    same = [image for image in images if Path(image).stem == Path(picture.name).stem]
    found = same if same else images
    return found[0] if len(found) == 1 else None


def people_of(fixations: Fixations, image: str) -> list[str]:
    """Who looked at an image, sorted."""
    return sorted(set(fixations.participant[fixations.image == image].tolist()))


def replay(fixations: Fixations, image: str, person: str, picture: Picture) -> Replay:
    """The fixations of a person, or of `EVERYBODY`, on an image; each viewing (person and trial) begins at 0.

    Raises:
        DataError: a duration is not known, or no fixation lies on the picture.
    """
    chosen = fixations.image == image
    if person != EVERYBODY:
        chosen &= fixations.participant == person
    rows = fixations.where(chosen)
    unknown = int(np.isnan(rows.duration_ms).sum())
    if unknown:
        raise DataError(
            f"{fixations.table.path.name} does not say how long {unknown} of the {len(rows)} fixations last: a replay "
            "needs the column duration_ms in every row."
        )
    onset = np.empty(len(rows))
    viewings: dict[tuple[str, str], list[int]] = {}
    for i in range(len(rows)):
        trial = "" if rows.trial is None else str(rows.trial[i])
        viewings.setdefault((str(rows.participant[i]), trial), []).append(i)
    for viewing in viewings.values():
        order = viewing if rows.index is None else sorted(viewing, key=rows.index.__getitem__)
        lasts = rows.duration_ms[order]
        onset[order] = np.cumsum(lasts) - lasts
    size = picture.image.size
    on_picture = (beyond(rows.x, size[0]) == 0) & (beyond(rows.y, size[1]) == 0)
    if not (on_picture & (rows.duration_ms > 0)).any():
        raise DataError(
            f"None of the {len(rows)} fixations on {image} lies on the picture of {size[0]}x{size[1]} pixels: x and y "
            "must be pixels of this picture; for pixels of a screen, `llamafactory-gaze heatmaps --screen` makes a map."
        )
    return Replay(size, rows.x, rows.y, onset, rows.duration_ms, on_picture)


def gaze_of_replay(viewing: Replay, time: float, spread: float, person: str) -> Gaze:
    """What a replay shows at a time in ms.

    Raises:
        PlaygroundError: nothing has been looked at yet.
    """
    saliency = viewing.map_at(time, spread)
    if saliency is None:
        raise PlaygroundError(
            f"After {time / 1000:.2f} s nothing on the picture has been looked at: move the slider to a later time."
        )
    count = int((viewing.lasted(time) > 0).sum())
    when = "" if time >= viewing.end else f", the first {time / 1000:.2f} of {viewing.end / 1000:.2f} s"
    return Gaze(saliency, f"{count} fixation{'s' * (count > 1)} of {person}{when}")


def _sigma(spread: float, width: int) -> float:
    """In pixels of a map of this width; narrower than one pixel a Gaussian is none."""
    return max(1.0, spread * width)
