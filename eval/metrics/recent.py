"""What was lately made of texts, for metrics whose texts come again soon: a run brings captions image by image."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar


Value = TypeVar("Value")


class Recent(Generic[Value]):
    """Values by text, of which those not asked for longest are forgotten first.

    Args:
        limit: how large all kept values may be together.
        size: of one value.
    """

    def __init__(self, limit: int, size: Callable[[Value], int]) -> None:
        self.limit, self.size = limit, size
        self._values: OrderedDict[str, Value] = OrderedDict()
        self._total = 0

    def get(self, texts: Iterable[str], make: Callable[[list[str]], Iterable[Value]]) -> dict[str, Value]:
        """The value of each different text, in the order of the texts.

        Args:
            make: makes the values of the texts that are not known, all in one call; it is not called for none.
        """
        wanted = list(dict.fromkeys(texts))
        fresh = [text for text in wanted if text not in self._values]
        if fresh:
            made = dict(zip(fresh, make(fresh), strict=True))
            self._values |= made
            self._total += sum(map(self.size, made.values()))
        for text in wanted:
            self._values.move_to_end(text)
        found = {text: self._values[text] for text in wanted}
        while self._total > self.limit:
            _, oldest = self._values.popitem(last=False)
            self._total -= self.size(oldest)
        return found
