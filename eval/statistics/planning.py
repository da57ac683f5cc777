"""How sure will a study be? Power and minimum detectable effect of the headline test, before anyone looks at an image.

A study of I images and P people has differences = mean + image + person + rest, with shares `icc_image`, `icc_person`
and what is left of the variance. The variance of the mean is then, in squared standard deviations of the differences,

    icc_image * sum(n_i^2) / N^2 + icc_person * sum(m_j^2) / N^2 + rest / N

for n_i captions of an image, m_j of a person, N in all. The headline test takes t with min(I, P) - 1 degrees of
freedom, so power follows from the noncentral t distribution. More people who describe the same few images do not help
for ever: `icc_image / I` stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from eval.statistics.clustered import LEVEL


POWER = 0.8  # what a study should have
MOST = 10_000  # images or people; who needs more than that needs another study


@dataclass(frozen=True)
class Design:
    """A study in which everyone describes every image, but for a share of captions missing at random.

    Attributes:
        icc_image, icc_person: shares of the variance of the paired differences, in [0, 1], together at most 1.
        missing: share of captions in [0, 1).
    """

    images: int
    people: int
    icc_image: float
    icc_person: float
    missing: float = 0.0

    @property
    def captions(self) -> float:
        """How many there will be, on average."""
        return (1 - self.missing) * self.images * self.people

    @property
    def df(self) -> int:
        """Degrees of freedom of the headline test."""
        return min(self.images, self.people) - 1

    @property
    def se(self) -> float:
        """Expected standard error of the mean difference, in standard deviations of the differences."""
        uneven = self.missing / (1 - self.missing)
        by_image = (1 + uneven / self.people) / self.images
        by_person = (1 + uneven / self.images) / self.people
        rest = 1 - self.icc_image - self.icc_person
        return float(np.sqrt(self.icc_image * by_image + self.icc_person * by_person + rest / self.captions))

    def power(self, effect: float) -> float:
        """Chance in [0, 1] that the headline test finds an effect (in standard deviations) at the 5% level."""
        return _power(abs(effect) / self.se, self.df)

    @property
    def detectable(self) -> float:
        """The smallest effect, in standard deviations, that is found with a chance of `POWER`."""
        return detectable(self.se, self.df)


def detectable(se: float, df: int) -> float:
    """The smallest true difference, in the unit of `se`, that t finds at the 5% level with a chance of `POWER`."""
    return _noncentrality(df) * se


def images_needed(design: Design, effect: float) -> int | None:
    """The fewest images, people as in `design`, for a chance of `POWER`; None if `MOST` are too few."""
    return _fewest(lambda images: replace(design, images=images).power(effect))


def people_needed(design: Design, effect: float) -> int | None:
    """The fewest people, images as in `design`, for a chance of `POWER`; None if `MOST` are too few."""
    return _fewest(lambda people: replace(design, people=people).power(effect))


def variance_components(differences: np.ndarray, images: np.ndarray, people: np.ndarray) -> tuple[float, float, float]:
    """Method of moments for crossed random effects, complete or not (Henderson's first method, 1953).

    Args:
        differences: (rows,).
        images, people: (rows,) numbers from 0.

    Returns:
        the standard deviation of the differences, and the shares of image and person in its square. A negative
        estimate counts as 0.

    Raises:
        ValueError: the effects cannot be told apart, or there is no spread.
    """
    values, rows = differences - differences.mean(), len(differences)
    of_image, of_person = np.bincount(images), np.bincount(people)
    cells = np.zeros((len(of_image), len(of_person)))
    np.add.at(cells, (images, people), 1)
    even_image, even_person = (of_image**2).sum() / rows, (of_person**2).sum() / rows
    # Expected sums of squares, less that of the mean, by the variances of image, person and rest.
    expected = np.array(
        [
            [rows - even_image, (cells**2 / of_image[:, None]).sum() - even_person, len(of_image) - 1],
            [(cells**2 / of_person).sum() - even_image, rows - even_person, len(of_person) - 1],
            [rows - even_image, rows - even_person, rows - 1],
        ]
    )
    found = [
        (np.bincount(images, values) ** 2 / of_image).sum(),
        (np.bincount(people, values) ** 2 / of_person).sum(),
        (values**2).sum(),
    ]
    if min(cells.shape) < 2 or np.linalg.matrix_rank(expected) < 3:
        raise ValueError(
            "effects of images and people cannot be told apart: several people must describe several images"
        )
    parts = np.maximum(np.linalg.solve(expected, found), 0)
    if parts.sum() < 1e-12:
        raise ValueError("the differences have no spread")
    shares = parts / parts.sum()
    return float(np.sqrt(parts.sum())), float(shares[0]), float(shares[1])


def _power(noncentrality: float, df: int) -> float:
    from scipy import stats

    limit = stats.t.ppf((1 + LEVEL) / 2, df)
    wrong_sign = stats.nct.cdf(-limit, df, noncentrality)  # scipy has NaN where it is far below rounding
    return float(stats.nct.sf(limit, df, noncentrality) + np.nan_to_num(wrong_sign))


@cache
def _noncentrality(df: int) -> float:
    from scipy.optimize import brentq

    return float(brentq(lambda value: _power(value, df) - POWER, 0, 50))


def _fewest(power: Callable[[int], float]) -> int | None:
    if power(MOST) < POWER:
        return None
    low, high = 1, MOST  # power(low) < POWER <= power(high), as one cluster finds nothing
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high
