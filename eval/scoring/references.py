"""What each caption is compared with, and what other people said about the same image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from eval.inputs.dataset import Row


OWN, IMAGE = "own", "image"

Item = tuple[str, tuple[str, ...]]  # a caption and its references


class References:
    """The human captions of a data set by row.

    Args:
        rows: those that are scored.
        kind: "own": a row's reference is what the same participant said about the image; "image": all captions of it,
            the participant's own among them.
        everyone: all rows of the data set, whose captions are references; None if all are scored.
    """

    def __init__(self, rows: Sequence[Row], kind: str = OWN, everyone: Sequence[Row] | None = None) -> None:
        self.rows, self.kind = rows, kind
        self._by_image: dict[str, list[Row]] = defaultdict(list)
        for row in everyone or rows:
            self._by_image[row.image_id].append(row)

    @property
    def documents(self) -> list[list[str]]:
        """For each image its human captions."""
        return [[row.target for row in rows] for rows in self._by_image.values()]

    def of(self, row: Row) -> tuple[str, ...]:
        """The references of a row, without repetitions."""
        if self.kind == OWN:
            return (row.target,)
        return tuple(dict.fromkeys(one.target for one in self._by_image[row.image_id]))

    def human(self, row: Row) -> list[Item]:
        """The other people's captions of the image as if they were a system's; their mean is the row's human score.

        Against the own caption that is each of the others. Against several references it is the row's own caption
        against those of the others, since a caption must not be compared with itself.
        """
        others = [one.target for one in self._by_image[row.image_id] if _another(one, row)]
        if self.kind == OWN:
            return [(text, (row.target,)) for text in others]
        return [(row.target, tuple(dict.fromkeys(others)))] if others else []

    @property
    def tag(self) -> str:
        """For signatures: `refs:own` or `refs:image,3-16`, with the smallest and largest number of references."""
        if self.kind == OWN:
            return "refs:own"
        counts = [len(self.of(row)) for row in self.rows]
        return f"refs:image,{min(counts)}-{max(counts)}"

    @property
    def text(self) -> str:
        """For readers."""
        if self.kind == OWN:
            return "own caption: what the same participant said about the same image"
        counts = [len(self.of(row)) for row in self.rows]
        return (
            f"all captions of the same image ({min(counts)} to {max(counts)} different ones), the participant's own "
            "among them; the best match counts (BLEU and CIDEr use all of them at once)"
        )


def _another(one: Row, row: Row) -> bool:
    """Whether two rows are two people's; rows without participants count as one person each."""
    return one.row != row.row and (row.participant is None or one.participant != row.participant)
