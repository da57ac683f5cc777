"""What each caption is compared with, and what other people said about the same image."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cached_property

from eval.inputs.dataset import Row


OWN, IMAGE = "own", "image"

HUMAN_PAIRS = 25_000  # of two people's captions; 778 captions of 30 images make about 20,000

Item = tuple[str, tuple[str, ...]]  # a caption and its references


class References:
    """The human captions of a data set by row.

    Args:
        rows: those that are scored.
        kind: "own": a row's reference is what the same participant said about the image; "image": all captions of it,
            the participant's own among them.
        everyone: all rows of the data set, whose captions are references; None if all are scored.
        human_pairs: about how many pairs of people's captions the human score may take, against own captions. Where
            all of them are more, each row is compared with equally many other people, at least one, drawn by the seed.
        seed: of that draw.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        kind: str = OWN,
        everyone: Sequence[Row] | None = None,
        human_pairs: int = HUMAN_PAIRS,
        seed: int = 0,
    ) -> None:
        self.rows, self.kind, self.seed = rows, kind, seed
        self._by_image: dict[str, list[Row]] = defaultdict(list)
        for row in everyone or rows:
            self._by_image[row.image_id].append(row)
        self._said = Counter((row.image_id, row.participant) for row in everyone or rows)
        self.n_human_pairs = sum(len(self._by_image[row.image_id]) - self._own(row) for row in rows)
        drawn = kind == OWN and self.n_human_pairs > human_pairs
        self.others_per_row = max(1, human_pairs // len(rows)) if drawn else None

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

        Against the own caption that is each of the others, or `others_per_row` of them, drawn. Against several
        references it is the row's own caption against those of the others, since a caption must not be compared with
        itself.
        """
        rows, drawn = self._by_image[row.image_id], self.others_per_row
        if drawn is not None:
            # Enough for `drawn` others even if all of the person's own are among them; the first so many are kept.
            rng = random.Random(f"{self.seed} {row.row}")
            rows = rng.sample(rows, min(len(rows), drawn + self._own(row)))
        others = [one.target for one in rows if _another(one, row)][:drawn]
        if self.kind == OWN:
            return [(text, (row.target,)) for text in others]
        return [(row.target, tuple(dict.fromkeys(others)))] if others else []

    @property
    def tag(self) -> str:
        """For signatures: `refs:own` or `refs:image,3-16`, with the smallest and largest number of references.

        Where the other people are drawn, `refs:own|human:32,seed0` says how many a row and how.
        """
        if self.kind == OWN:
            return "refs:own" + ("" if self.others_per_row is None else f"|human:{self.others_per_row},seed{self.seed}")
        fewest, most = self._counts
        return f"refs:image,{fewest}-{most}"

    @property
    def text(self) -> str:
        """For readers."""
        if self.kind == OWN:
            return "own caption: what the same participant said about the same image"
        fewest, most = self._counts
        return (
            f"all captions of the same image ({fewest} to {most} different ones), the participant's own "
            "among them; the best match counts (BLEU and CIDEr use all of them at once)"
        )

    @property
    def human_text(self) -> str | None:
        """For readers: that the human score is not of all pairs of people, and how they were drawn; else None."""
        if self.others_per_row is None:
            return None
        return (
            f"Each person's caption is compared with those of {self.others_per_row} other people at most, drawn by "
            f"chance (seed {self.seed}), as all {self.n_human_pairs:,} pairs of two people would be too many."
        )

    @cached_property
    def _counts(self) -> tuple[int, int]:
        """The smallest and the largest number of references of a row."""
        counts = [len(self.of(row)) for row in self.rows]
        return min(counts), max(counts)

    def _own(self, row: Row) -> int:
        """How many captions of the image are this person's; see `_another`."""
        return 1 if row.participant is None else self._said[row.image_id, row.participant]


def _another(one: Row, row: Row) -> bool:
    """Whether two rows are two people's; rows without participants count as one person each."""
    return one.row != row.row and (row.participant is None or one.participant != row.participant)
