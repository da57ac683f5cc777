"""Saliency maps: image files in, patches in the order of the visual encoder out. Nothing here imports torch."""

from llamafactory_gaze.saliency.label import map_source
from llamafactory_gaze.saliency.maps import (
    SaliencyMapError,
    check_aspect_ratio,
    overlay,
    probe_saliency_map,
    read_saliency_map,
)
from llamafactory_gaze.saliency.patches import NO_MAP, join_frames, no_map_patches, patchify


__all__ = [
    "NO_MAP",
    "SaliencyMapError",
    "check_aspect_ratio",
    "join_frames",
    "map_source",
    "no_map_patches",
    "overlay",
    "patchify",
    "probe_saliency_map",
    "read_saliency_map",
]
