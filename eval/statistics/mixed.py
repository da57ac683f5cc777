"""The mixed model: differences = mean + effect of the image + effect of the participant + rest, all effects random.

A sensitivity check. It uses normal effects and a z-test, where the headline test assumes neither, and it also finds how
much of the spread is each one's. Fitted by restricted maximum likelihood with statsmodels.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np


MOST_EFFECTS = 300  # images and participants together; with 400 a fit takes seconds, and every cell of a table has one


@dataclass(frozen=True)
class MixedFit:
    """A fitted mixed model; p and the shares None with a `reason` where the fit is none.

    Attributes:
        p: two-sided p of mean = 0 (z-test).
        icc_image, icc_participant: shares of the variance in [0, 1].
    """

    p: float | None = None
    icc_image: float | None = None
    icc_participant: float | None = None
    reason: str | None = None


def mixed_fit(differences: np.ndarray, images: np.ndarray, participants: np.ndarray | None) -> MixedFit:
    """Fit the model to paired differences.

    Args:
        differences: (rows,).
        images, participants: (rows,) numbers from 0; participants None if not known.
    """
    if participants is None:
        return MixedFit(reason="participants are not known, so their effects cannot be told from the rest")
    groups = {"image": images, "participant": participants}
    for name, codes in groups.items():
        if not 0 < codes.max() < len(codes) - 1:
            return MixedFit(
                reason=f"no {name} effect can be told from the rest: 2 or more {name}s are needed, with more captions"
            )
    effects = sum(int(codes.max()) + 1 for codes in groups.values())
    if effects > MOST_EFFECTS:
        return MixedFit(
            reason=f"{effects} images and participants are more than the {MOST_EFFECTS} that it is fitted for"
        )
    spread = float(differences.std())
    if spread < 1e-12:
        return MixedFit(reason="the differences have no spread")

    from numpy.linalg import LinAlgError
    from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec

    class Model(MixedLM):
        """One that the optimiser may ask anywhere."""

        def loglike(self, *args: Any, **kwargs: Any) -> float:
            try:
                return float(super().loglike(*args, **kwargs))
            except LinAlgError:  # a variance so near to 0 that rounding, another on each processor, makes it singular
                return -np.inf

    dummies = [np.eye(codes.max() + 1)[codes] for codes in groups.values()]
    names = [[[str(code) for code in range(codes.max() + 1)]] for codes in groups.values()]
    model = Model(
        differences / spread,  # p and shares have no unit, and the optimiser starts near 1
        np.ones((len(differences), 1)),
        groups=np.zeros(len(differences)),
        exog_vc=VCSpec(list(groups), names, [[dummy] for dummy in dummies]),
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a variance is near 0; whether the fit converged is checked below
            # Gradients lead astray where a variance is 0: statsmodels' own choice of optimisers then ends without
            # convergence or at a lower likelihood. Nelder and Mead's needs none.
            fit = model.fit(method="nm", xtol=1e-7, ftol=1e-10)
            p = float(fit.pvalues[0])
    except (LinAlgError, ValueError) as error:
        return MixedFit(reason=f"the fit failed: {error}")
    if not fit.converged or not np.isfinite(p):
        return MixedFit(reason="the fit did not converge")
    total = float(fit.vcomp.sum() + fit.scale)
    return MixedFit(p, float(fit.vcomp[0]) / total, float(fit.vcomp[1]) / total)
