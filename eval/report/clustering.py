"""How differences were tested, in words: clustered by image and participant at once, by one of them, or not at all.

One image or one participant makes no clusters, nor do participants that are not all known. That can differ between all
captions and groups of them, so the sentences are made of the contrasts that they stand beside.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


_TWO_WAY = "image x participant"
_SHARED = {"image": "an image", "participant": "a participant"}

Entries = Iterable[dict[str, Any]]  # see `results.contrasts`


def clustering(entries: Entries) -> str:
    """In a few words: "clustered by image and participant"."""
    ways = _ways(entries)
    return f"clustered by {', or by '.join(way.replace(' x ', ' and ') for way in ways)}" if ways else "not possible"


def allowance(entries: Entries) -> str:
    """What p and CI in a table allow for, in a sentence."""
    entries = list(entries)
    shared = dict.fromkeys(_SHARED[name] for way in _ways(entries) for name in way.split(" x "))
    if not shared:
        return "No difference could be tested, so p and CI are missing."
    return f"p and CI allow for captions that share {' or '.join(shared)} ({clustering(entries)})."


def headline_test(results: dict[str, Any]) -> str:
    """The test of all tables, in a sentence or two.

    Args:
        results: see `results.build`.
    """
    tables = [table for system in results["systems"].values() for table in _tables(system)]
    ways = _ways(entry for table in tables for entry in table.values())
    if not ways:
        return "No difference could be tested."
    start = "Paired differences were tested with a two-sided t-test whose standard error is clustered by"
    if _TWO_WAY not in ways:
        return f"{start} {' or '.join(ways)}, with as many degrees of freedom as there are clusters less one."
    alone = {"image": "by one participant", "participant": "of one image"}
    exceptions = "".join(f" Where all captions were {alone[way]}, it is clustered by {way} only." for way in ways[1:])
    return (
        f"{start} image and by participant at once (Cameron, Gelbach and Miller, 2011) and not smaller than either "
        f"one-way estimate, with as many degrees of freedom as the smaller number of clusters less one.{exceptions}"
    )


def _ways(entries: Entries) -> list[str]:
    """How those that could be tested were clustered, each way once."""
    found = {entry["clustering"] for entry in entries if entry["p_two_way"] is not None}
    return [way for way in (_TWO_WAY, "image", "participant") if way in found]


def _tables(system: dict[str, Any]) -> list[dict[str, Any]]:
    """All captions and every group of them, each metric -> entry."""
    groups = [system["categories"], *system["subgroups"].values()]
    return [system["metrics"], *(table for of in groups for table in of.values())]
