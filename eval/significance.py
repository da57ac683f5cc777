"""Is the difference between two systems more than chance? Tests for captions that share images and people.

The paper's p < 1e-5 takes 778 captions for independent, but they describe 30 images in the words of 29 people. Captions
of one image are alike, and so are captions of one person; with no effect at all, a paired t-test on such data calls a
difference significant in 20 to 55% of studies. The headline test here is therefore clustered two ways, by image and by
participant (`statistics.clustered`): in the same simulations it is wrong in 3 to 5%. Other tests stand beside it, to
show what depends on the choice of a test (`statistics.permutation`, `statistics.mixed`) and how far the usual ones are
off.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from eval.statistics.clustered import clustered_se, t_test
from eval.statistics.mixed import mixed_fit
from eval.statistics.permutation import image_flip
from eval.statistics.planning import detectable


@dataclass(frozen=True)
class Contrast:
    """One system against another on one metric.

    Attributes:
        base, new: mean scores in [0, 1].
        diff, ci95: new - base, and its confidence interval.
        pct, pct_ci95: the change in percent of base (delta method); None where base is 0.
        p_two_way: two-sided p of the clustered t-test; None with `reason` where no test is possible.
        p_holm: the same after Holm's correction within the family of tests, see `with_holm`.
        p_image_flip, flip: two-sided p of the sign-flip permutation test by image, and whether it was `exact` and with
            how many `resamples`; see `with_image_flips`.
        p_mixed, mixed: two-sided p of the mixed model, the shares of the variance that it finds (`icc_image`,
            `icc_participant`), and the `reason` where the fit is none; see `with_mixed_model`.
        p_naive, p_naive_wilcoxon: two-sided p of the paired t-test and of Wilcoxon's signed-rank test, which take
            captions for independent. For comparison only.
        mde: the smallest true difference that a study with this se and df finds at the 5% level in 80 of 100 cases.
        se, df: the clustered standard error of diff, and the degrees of freedom of its t.
        clustering: "image x participant", "image", "participant" or "none".
        dz: diff in standard deviations of the differences. win_rate: share of captions that got better, ties as half.
        n, n_images, n_participants: captions, and the clusters that they form (participants None if unknown).
    """

    base: float
    new: float
    diff: float
    pct: float | None
    ci95: tuple[float, float] | None
    pct_ci95: tuple[float, float] | None
    p_two_way: float | None
    p_naive: float | None
    p_naive_wilcoxon: float | None
    se: float | None
    df: int | None
    mde: float | None
    clustering: str
    dz: float | None
    win_rate: float
    n: int
    n_images: int
    n_participants: int | None
    reason: str | None = None
    p_holm: float | None = None
    p_image_flip: float | None = None
    flip: dict[str, Any] | None = None
    p_mixed: float | None = None
    mixed: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return asdict(self)


def contrast(base: np.ndarray, new: np.ndarray, images: Sequence[str], participants: Sequence[str] | None) -> Contrast:
    """Compare two systems on the same captions.

    Args:
        base, new: (rows,) scores of the two systems.
        images, participants: (rows,) what each caption is about and who spoke; participants None if not known, which
            leaves clustering by image.
    """
    groups = [_codes(images)] if participants is None else [_codes(images), _codes(participants)]
    names = ["image", "participant"][: len(groups)]
    usable = [(name, codes) for name, codes in zip(names, groups, strict=True) if codes.max() > 0]
    difference = new - base
    base_mean, new_mean, diff = float(base.mean()), float(new.mean()), float(difference.mean())

    pct = 100 * diff / base_mean if base_mean > 0 else None
    ci95 = pct_ci95 = p = se = df = reason = None
    if not usable:
        who = "image" if participants is None else "image and one participant"
        reason = f"all captions come from one {who}: there is nothing to tell chance by"
    elif _constant(difference):
        # Every sign flip of equal zeros gives the same result, so p is 1; of any other constant nothing is known.
        p = 1.0 if not difference.any() else None
        reason = f"every difference is {difference[0]:g}: no spread to tell chance by"
    else:
        codes = [codes for _, codes in usable]
        df = int(min(code.max() for code in codes))
        se = _spread(difference, codes)
        if se is None:
            reason = "the differences have no spread between clusters"
        else:
            p, ci95 = t_test(diff, se, df)
            if pct is not None:
                ratio = new_mean / base_mean
                pct_se = _spread((new - ratio * base) / base_mean, codes)
                if pct_se is not None:
                    _, (low, high) = t_test(ratio - 1, pct_se, df)
                    pct_ci95 = (100 * low, 100 * high)

    p_naive, p_naive_wilcoxon = _naive_p(difference)
    return Contrast(
        base=base_mean,
        new=new_mean,
        diff=diff,
        pct=pct,
        ci95=ci95,
        pct_ci95=pct_ci95,
        p_two_way=p,
        p_naive=p_naive,
        p_naive_wilcoxon=p_naive_wilcoxon,
        se=se,
        df=df,
        mde=None if se is None or df is None else detectable(se, df),
        clustering=" x ".join(name for name, _ in usable) or "none",
        dz=None if _constant(difference) else diff / float(difference.std(ddof=1)),
        win_rate=float(np.mean((difference > 0) + 0.5 * (difference == 0))),
        n=len(difference),
        n_images=int(groups[0].max()) + 1,
        n_participants=int(groups[1].max()) + 1 if len(groups) == 2 else None,
        reason=reason,
    )


def with_holm(family: Iterable[Contrast]) -> list[Contrast]:
    """Fill in `p_holm` (Holm, 1979) for a family of tests; those without a p stay out of it."""
    contrasts = list(family)
    # Not by statsmodels: it collects garbage each time, which takes half a second beside a loaded encoder.
    rising = sorted((one.p_two_way, i) for i, one in enumerate(contrasts) if one.p_two_way is not None)
    adjusted = 0.0
    for done, (p, i) in enumerate(rising):
        adjusted = min(1.0, max(adjusted, (len(rising) - done) * p))
        contrasts[i] = replace(contrasts[i], p_holm=adjusted)
    return contrasts


def with_image_flips(
    contrasts: Sequence[Contrast], differences: Sequence[np.ndarray], images: Sequence[str]
) -> list[Contrast]:
    """Fill in `p_image_flip` and `flip`; all contrasts get the same flips.

    Args:
        differences: for each contrast its paired differences (rows,).
        images: (rows,) what each caption is about.
    """
    p, flip = image_flip(np.array(differences), _codes(images))
    return [replace(one, p_image_flip=None if p is None else float(p[i]), flip=flip) for i, one in enumerate(contrasts)]


def with_mixed_model(
    found: Contrast, difference: np.ndarray, images: Sequence[str], participants: Sequence[str] | None
) -> Contrast:
    """Fill in `p_mixed` and `mixed` from the paired differences (rows,); takes about a tenth of a second."""
    fit = mixed_fit(difference, _codes(images), None if participants is None else _codes(participants))
    shares = {"icc_image": fit.icc_image, "icc_participant": fit.icc_participant, "reason": fit.reason}
    return replace(found, p_mixed=fit.p, mixed=shares)


def _spread(values: np.ndarray, codes: Sequence[np.ndarray]) -> float | None:
    """`clustered_se`; None where it is 0 but for rounding."""
    se = float(clustered_se(values, codes))
    return se if se > 1e-12 else None


def _naive_p(difference: np.ndarray) -> tuple[float | None, float | None]:
    from scipy import stats

    if len(difference) < 2 or _constant(difference):
        return None, None
    return float(stats.ttest_1samp(difference, 0).pvalue), float(stats.wilcoxon(difference).pvalue)


def _constant(values: np.ndarray) -> bool:
    return bool(np.ptp(values) < 1e-12)


def _codes(labels: Sequence[str]) -> np.ndarray:
    return np.unique(np.asarray(labels, dtype=str), return_inverse=True)[1]
