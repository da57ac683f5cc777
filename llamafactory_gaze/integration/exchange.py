"""`gaze_ablation: shuffle` and `observer`: every map goes to another row of the data set, and each is used once.

The maps of a video stay together: the whole list goes to another video, whose duration they then split.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import numpy as np
from datasets import concatenate_datasets


BATCH = 100  # rows in memory at once: embedded maps are large


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
    slots, image_of, map_of = _slots(dataset.select_columns([images_column, maps_column]), images_column, maps_column)
    rng = np.random.default_rng(seed)
    if ablation == "shuffle":
        source = _derangement(image_of, rng)
        if source is None:
            raise ValueError(
                f"`gaze_ablation: shuffle` cannot give every {what} the map of another one: of {len(slots)} maps, "
                f"{max(Counter(image_of).values())} belong to one {what}. Add {what}s, or write "
                "`gaze_ablation: uniform`."
            )
    else:
        source = np.empty(len(slots), np.int64)
        slots_of = defaultdict(list)
        for slot, image in enumerate(image_of):
            slots_of[image].append(slot)
        for image, of_image in slots_of.items():
            maps = [map_of[slot] for slot in of_image]
            exchanged = _derangement(maps, rng)
            if exchanged is None:
                raise ValueError(
                    f"`gaze_ablation: observer` cannot give every row another observer's map of its {what}: "
                    f"{image:.80} has {len(of_image)} rows with {len(set(maps))} different maps. "
                    "Use maps of single observers, or write `gaze_ablation: shuffle`."
                )
            source[of_image] = np.array(of_image)[exchanged]
    exchanged_maps = _exchanged(dataset.select_columns(maps_column), maps_column, slots, slots[source])
    return concatenate_datasets([dataset.remove_columns(maps_column), exchanged_maps], axis=1)


def _slots(columns: Any, images_column: str, maps_column: str) -> tuple[np.ndarray, list[str], list[str]]:
    """Where maps are: (maps, 2), row and place in its list; and the identities of the image and the map of each."""
    slots, image_of, map_of = [], [], []
    known: dict[str, str] = {}  # so that equal identities are one object
    rows = (row for batch in columns.iter(BATCH) for row in zip(batch[images_column], batch[maps_column], strict=True))
    for number, (images, maps) in enumerate(rows):
        for place, saliency in enumerate(maps or []):
            if saliency is not None:
                image, own = _identity(images[place] if isinstance(images, list) else images), _identity(saliency)
                slots.append((number, place))
                image_of.append(known.setdefault(image, image))
                map_of.append(known.setdefault(own, own))
    return np.array(slots, np.int64).reshape(-1, 2), image_of, map_of


def _derangement(group: Sequence[str], rng: np.random.Generator) -> np.ndarray | None:
    """The group of each thing -> for each thing the place of another one of another group, each used once.

    None if one group holds more than half of them.
    """
    # Things of one group stand side by side; a shift by the largest group leaves nobody among their own.
    groups = sorted(set(group))
    rank = {groups[i]: place for place, i in enumerate(rng.permutation(len(groups)))}
    order = np.array(sorted(rng.permutation(len(group)), key=lambda i: rank[group[i]]), np.int64)
    largest = max(Counter(group).values(), default=0)
    if 2 * largest > len(group):
        return None
    source = np.empty_like(order)
    source[order] = np.roll(order, largest)
    return source


def _exchanged(column: Any, name: str, slots: np.ndarray, sources: np.ndarray) -> Any:
    """The column of maps with the map of each source in its slot, batch by batch in a file of `datasets`' cache."""

    def exchange(batch: dict[str, list[Any]], rows: list[int]) -> dict[str, list[Any]]:
        here = slice(*np.searchsorted(slots[:, 0], (rows[0], rows[-1] + 1)))
        maps = [None if entries is None else [*entries] for entries in batch[name]]
        others = column[sources[here, 0].tolist()][name]
        for (row, place), (_, other_place), other in zip(slots[here], sources[here], others, strict=True):
            maps[row - rows[0]][place] = other[other_place]
        return {name: maps}

    return column.map(
        exchange, with_indices=True, batched=True, batch_size=BATCH, writer_batch_size=BATCH, features=column.features,
        desc="Exchanging maps",
    )  # fmt: skip


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
