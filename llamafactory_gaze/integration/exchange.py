"""`gaze_ablation: shuffle` and `observer`: every map goes to another row of the data set, and each is used once.

The maps of a video stay together: the whole list goes to another video, whose duration they then split.
"""

from collections import Counter
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np


Slot = tuple[int, int]  # row, place in its list of maps


def exchange_maps(
    dataset: Any, images_column: str, maps_column: str, ablation: str, seed: int, what: str = "image"
) -> Any:
    """Exchanges maps between images or videos (`shuffle`), or between the observers of one of them (`observer`).

    Args:
        dataset: the rows.
        images_column, maps_column: the columns of images or videos, and of their maps.
        ablation, seed: of the recipe.
        what: the word for one of them in messages.

    Raises:
        ValueError: no exchange exists that leaves nobody with their own.
    """
    columns = dataset.select_columns([images_column, maps_column])
    images, maps = columns[images_column][:], columns[maps_column][:]
    slots = [(row, i) for row, entries in enumerate(maps) for i, entry in enumerate(entries or []) if entry is not None]
    image_of = {
        (row, i): _identity(images[row][i] if isinstance(images[row], list) else images[row]) for row, i in slots
    }
    map_of = {(row, i): _identity(maps[row][i]) for row, i in slots}
    rng = np.random.default_rng(seed)
    if ablation == "shuffle":
        source = _derangement(slots, image_of, rng)
        if source is None:
            raise ValueError(
                f"`gaze_ablation: shuffle` cannot give every {what} the map of another one: of {len(slots)} maps, "
                f"{max(Counter(image_of.values()).values())} belong to one {what}. Add {what}s, or write "
                "`gaze_ablation: uniform`."
            )
    else:
        source = {}
        for image in dict.fromkeys(image_of.values()):
            of_image = [slot for slot in slots if image_of[slot] == image]
            exchanged = _derangement(of_image, map_of, rng)
            if exchanged is None:
                count = len({map_of[slot] for slot in of_image})
                raise ValueError(
                    f"`gaze_ablation: observer` cannot give every row another observer's map of its {what}: "
                    f"{image:.80} has {len(of_image)} rows with {count} different maps. "
                    "Use maps of single observers, or write `gaze_ablation: shuffle`."
                )
            source |= exchanged
    exchanged_maps: list[Any] = [list(entries) if entries is not None else None for entries in maps]
    for (row, i), (other_row, other_i) in source.items():
        exchanged_maps[row][i] = maps[other_row][other_i]
    features = dataset.features[maps_column]
    return dataset.remove_columns(maps_column).add_column(maps_column, exchanged_maps, feature=features)


def _derangement(slots: list[Slot], group: dict[Slot, str], rng: np.random.Generator) -> dict[Slot, Slot] | None:
    """For each slot another one of another group, each used once; None if one group holds more than half of them."""
    # Slots of one group stand side by side; a shift by the largest group leaves nobody among their own.
    rank = {key: place for place, key in enumerate(rng.permutation(sorted({group[slot] for slot in slots})))}
    order = sorted((slots[i] for i in rng.permutation(len(slots))), key=lambda slot: rank[group[slot]])
    largest = max(Counter(group[slot] for slot in slots).values(), default=0)
    if 2 * largest > len(slots):
        return None
    return dict(zip(order, order[-largest:] + order[:-largest], strict=True))


def _identity(entry: Any) -> str:
    """What tells one image, video or map from another: a digest of its content if it is embedded, else its path.

    (Beside embedded bytes `datasets` keeps the bare name of the file, which files of several folders may share.)
    """
    if isinstance(entry, Mapping):
        entry = entry.get("bytes") or entry.get("path") or ""
    if isinstance(entry, list):  # the frames of a video, or its maps
        return ", ".join(map(_identity, entry))
    if isinstance(entry, str):
        return entry
    return sha256(entry if isinstance(entry, bytes) else entry.tobytes()).hexdigest()
