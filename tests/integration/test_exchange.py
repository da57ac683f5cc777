"""`gaze_ablation: shuffle` and `observer` on rows of any shape, against all exchanges that there are."""

from itertools import permutations

import numpy as np
import pyarrow
import pytest
from datasets import Dataset

from llamafactory_gaze.integration.exchange import BATCH, exchange_maps


def rows_of(count: int, images: int, observers: int, seed: int, embedded: bool = False) -> list[dict]:
    """Rows of no to three images, some of them without a map, some rows without any."""
    rng = np.random.default_rng(seed)

    def entry(*numbers: int):
        name = "/".join(map(str, numbers))
        return {"bytes": name.encode(), "path": "same.png"} if embedded else name

    rows = []
    for i in range(count):
        seen = [(int(rng.integers(images)), int(rng.integers(observers))) for _ in range(rng.integers(4))]
        maps = [entry(*each) if rng.random() < 0.8 else None for each in seen]
        rows.append({"id": i, "images": [entry(image) for image, _ in seen], "maps": maps if i % 7 else None})
    # So that no column is empty in all rows.
    return [*rows, {"id": count, "images": [entry(0), entry(1)], "maps": [entry(0, 0), entry(1, 0)]}]


def slots_of(rows: list[dict]) -> list[tuple[str, str]]:
    """(image, map) of every map, row by row."""

    def name(entry) -> str:
        return entry["bytes"].decode() if isinstance(entry, dict) else entry

    pairs = [pair for row in rows for pair in zip(row["images"], row["maps"] or [], strict=bool(row["maps"]))]
    return [(name(image), name(saliency)) for image, saliency in pairs if saliency is not None]


def fits(ablation: str, slot: tuple[str, str], given: tuple[str, str]) -> bool:
    """Whether the image of a slot may have the map of another one."""
    return slot[0] != given[0] if ablation == "shuffle" else slot[0] == given[0] and slot[1] != given[1]


def check(ablation: str, before: list[dict], after: list[dict]) -> None:
    assert [(row["id"], row["images"]) for row in after] == [(row["id"], row["images"]) for row in before]
    places = [[[entry is None for entry in row["maps"] or []] for row in rows] for rows in (before, after)]
    assert places[0] == places[1]
    slots, exchanged = slots_of(before), slots_of(after)
    assert sorted(saliency for _, saliency in exchanged) == sorted(saliency for _, saliency in slots)
    # The name of a map begins with that of its own image.
    given = [(saliency.partition("/")[0], saliency) for _, saliency in exchanged]
    assert all(fits(ablation, *each) for each in zip(slots, given, strict=True))


@pytest.mark.parametrize("embedded", [False, True])
@pytest.mark.parametrize("ablation", ["shuffle", "observer"])
def test_every_map_goes_to_another_place_that_it_fits_and_the_rows_stay(ablation, embedded):
    before = rows_of(3 * BATCH, images=9, observers=50, seed=1, embedded=embedded)
    dataset = Dataset.from_list(before)
    after = exchange_maps(dataset, "images", "maps", ablation, seed=1)
    check(ablation, before, after.to_list())
    assert after.features == dataset.features


@pytest.mark.parametrize("ablation", ["shuffle", "observer"])
def test_it_is_refused_where_no_exchange_exists_and_only_there(ablation):
    outcomes = []
    for seed in range(60):
        before = rows_of(3, images=2 + seed % 2, observers=1 + seed % 3, seed=seed)
        slots = slots_of(before)
        exists = any(
            all(fits(ablation, *each) for each in zip(slots, given, strict=True)) for given in permutations(slots)
        )
        try:
            check(ablation, before, exchange_maps(Dataset.from_list(before), "images", "maps", ablation, 0).to_list())
            outcomes.append((exists, True))
        except ValueError as error:
            assert f"`gaze_ablation: {ablation}` cannot give every" in str(error)
            outcomes.append((exists, False))
    assert set(outcomes) == {(True, True), (False, False)}


def test_rows_that_were_chosen_and_put_in_order_anew_are_exchanged_as_they_stand():
    """As after `max_samples`: below the rows lies a file in another order."""
    rows = rows_of(2 * BATCH, images=5, observers=9, seed=2)
    chosen = np.random.default_rng(0).permutation(len(rows))[: BATCH + 20]
    before = [rows[i] for i in chosen]
    straight = exchange_maps(Dataset.from_list(before), "images", "maps", "shuffle", seed=3).to_list()
    assert exchange_maps(Dataset.from_list(rows).select(chosen), "images", "maps", "shuffle", seed=3).to_list() == (
        straight
    )


def test_a_seed_means_the_same_exchange_in_every_version():
    """Results that were published with a seed can be had again."""
    rows = [{"images": [f"{i}.jpg"], "maps": [f"{i}/{who}"]} for who in "abc" for i in range(3)]

    def maps(ablation: str) -> str:
        exchanged = exchange_maps(Dataset.from_list(rows), "images", "maps", ablation, seed=7)
        return " ".join(saliency for (saliency,) in exchanged["maps"])

    assert maps("shuffle") == "1/a 2/c 0/b 1/c 2/b 0/c 1/b 2/a 0/a"
    assert maps("observer") == "0/b 1/c 2/b 0/c 1/a 2/c 0/a 1/b 2/a"


def test_the_maps_stay_on_disk(tmp_path):
    """Embedded maps of a large data set are larger than the memory of the machine."""
    size, count = 20_000, 3 * BATCH
    maps = [{"bytes": bytes([i % 256]) * size, "path": None} for i in range(count)]
    Dataset.from_list([{"images": [f"{i % 9}"], "maps": [maps[i]]} for i in range(count)]).save_to_disk(tmp_path)
    dataset = Dataset.load_from_disk(tmp_path)
    before = pyarrow.total_allocated_bytes()
    exchanged = exchange_maps(dataset, "images", "maps", "shuffle", seed=0)
    assert len(exchanged) == count
    assert pyarrow.total_allocated_bytes() - before < size * count / 10
