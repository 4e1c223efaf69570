"""How bad can one step be: the tail of the losses by extreme value theory, and the tests that judge such a forecast.

Training fits a `Tail` on losses (peaks over threshold, McNeil and Frey 2000); inference scales it to the forecast of
the moment. It must never answer with an infinite or undefined loss: a tail without a finite mean is refused here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from scipy import special, stats

from cryptoai.core.errors import BundleError, DataError

__all__ = ["THRESHOLDS", "CoverageTest", "Tail", "christoffersen", "fit_tail", "kupiec"]

THRESHOLDS = (0.85, 0.875, 0.90, 0.925, 0.95, 0.975)
"""Quantiles of the losses that are tried as thresholds, lowest first."""
SHAPES = (-0.45, 0.9)
"""Believed shapes: below -1/2 the likelihood has no regular maximum (Smith 1985), at 1 the mean is infinite."""

Floats = npt.NDArray[np.floating]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Tail:
    """Generalised Pareto tail above `threshold`, in the unit of the losses (positive is a loss).

    xi, beta: shape and scale of the excesses; n_exceed of n losses lie above the threshold.
    """

    xi: float
    beta: float
    threshold: float
    n_exceed: int
    n: int

    @property
    def rate(self) -> float:
        """Share of the losses above the threshold."""
        return self.n_exceed / self.n

    def var(self, p: float) -> float:
        """Value at risk: the loss exceeded with probability 1 - p; DataError if p lies below the threshold."""
        ratio = self.rate / (1.0 - p) if 0.0 < p < 1.0 else 0.0
        if ratio < 1.0:
            raise DataError(f"p = {p} is below the tail, which starts at {1.0 - self.rate:.4f}; ask for a higher p")
        excess = math.log(ratio) if abs(self.xi) < 1e-9 else math.expm1(self.xi * math.log(ratio)) / self.xi
        return self.threshold + self.beta * excess

    def es(self, p: float) -> float:
        """Expected shortfall: the mean loss given that it exceeds `var(p)` (McNeil, Frey and Embrechts, 7.2)."""
        return (self.var(p) + self.beta - self.xi * self.threshold) / (1.0 - self.xi)

    def xi_interval(self, level: float = 0.95) -> tuple[float, float]:
        """Confidence interval of the shape from the asymptotic variance (1 + xi)^2 / n_exceed."""
        half = NormalDist().inv_cdf(0.5 + level / 2.0) * self.xi_error
        return self.xi - half, self.xi + half

    @property
    def xi_error(self) -> float:
        """Standard error of the shape."""
        return (1.0 + self.xi) / math.sqrt(self.n_exceed)

    def tensors(self) -> dict[str, torch.Tensor]:
        """What `from_tensors` reads back exactly."""
        row = [self.xi, self.beta, self.threshold, float(self.n_exceed), float(self.n)]
        return {"tail": torch.tensor(row, dtype=torch.float64)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor]) -> Self:
        if "tail" not in tensors or tensors["tail"].shape != (5,):
            raise BundleError("the risk file has no tensor tail of 5 numbers; train the bundle again")
        xi, beta, threshold, n_exceed, n = tensors["tail"].double().tolist()
        believable = SHAPES[0] <= xi <= SHAPES[1] and beta > 0 and 0 < n_exceed <= n and math.isfinite(threshold)
        if not believable:
            raise BundleError(f"the tail of the risk file is impossible (xi {xi}, beta {beta}); train the bundle again")
        return cls(xi, beta, threshold, int(n_exceed), int(n))


def fit_tail(losses: Floats, *, thresholds: tuple[float, ...] = THRESHOLDS, min_exceed: int = 100) -> Tail:
    """Peaks over the lowest threshold that is stable: its shape agrees with that of every higher one (95 %).

    losses: any order, positive is a loss, not finite is an error. Thresholds with fewer than `min_exceed` losses above
    are not tried, nor those with less than 1 % above (ties can do that), so that `var(.99)` can always be asked.
    DataError if none is left or the tail is a single value.
    """
    finite = np.asarray(losses, dtype=np.float64).ravel()
    if not np.isfinite(finite).all():
        raise DataError("the losses hold values that are not finite; drop them before the tail is fitted")
    tried = [_fit_above(finite, float(np.quantile(finite, q))) for q in thresholds if finite.size]
    tails = [tail for tail in tried if tail is not None and tail.n_exceed >= min_exceed and tail.rate > 0.01]
    if not tails:
        raise DataError(
            f"{finite.size} losses leave no threshold with {min_exceed} different losses above; give more data"
        )
    return next(tail for i, tail in enumerate(tails) if all(_agree(tail, higher) for higher in tails[i + 1 :]))


def _fit_above(losses: npt.NDArray[np.float64], threshold: float) -> Tail | None:
    excess = losses[losses > threshold] - threshold
    if excess.size < 2 or np.ptp(excess) == 0.0:
        return None
    scale = float(excess.mean())  # the optimiser starts better near one
    xi, _, beta = stats.genpareto.fit(excess / scale, floc=0)
    if not SHAPES[0] <= xi <= SHAPES[1]:
        xi, _, beta = stats.genpareto.fit(excess / scale, f0=min(max(xi, SHAPES[0]), SHAPES[1]), floc=0)
    return Tail(float(xi), float(beta) * scale, threshold, int(excess.size), int(losses.size))


def _agree(low: Tail, high: Tail) -> bool:
    # The higher tail is a subset of the lower: the variance of the difference is the difference of the variances.
    spread = math.sqrt(max(high.xi_error**2 - low.xi_error**2, 1e-12))
    return abs(low.xi - high.xi) <= 1.96 * spread


@dataclass(frozen=True, slots=True)
class CoverageTest:
    """A likelihood-ratio test of value-at-risk breaches; a small p_value rejects the forecast."""

    statistic: float
    p_value: float
    rate: float


def kupiec(breaches: Bools, p: float) -> CoverageTest:
    """Is the rate of breaches 1 - p (unconditional coverage, Kupiec 1995)?

    breaches: bool [n], True where the loss exceeded the forecast at level `p`, for example .99.
    """
    hits, n = int(np.count_nonzero(breaches)), int(np.size(breaches))
    if n == 0:
        raise DataError("no breaches to test; give at least one forecast")
    ratio = 2.0 * (_log_likelihood(hits, n, hits / n) - _log_likelihood(hits, n, 1.0 - p))
    return CoverageTest(ratio, float(stats.chi2.sf(ratio, 1)), hits / n)


def christoffersen(breaches: Bools, p: float) -> CoverageTest:
    """Is the rate right and does a breach say nothing of the next (conditional coverage, Christoffersen 1998)?

    breaches: bool [n] in time order, n >= 2.
    """
    hit = np.asarray(breaches, dtype=bool)
    if hit.size < 2:
        raise DataError("conditional coverage needs at least two forecasts in time order")
    after = [hit[1:][hit[:-1] == state] for state in (False, True)]
    chain = sum(_log_likelihood(int(a.sum()), a.size, float(a.mean()) if a.size else 0.0) for a in after)
    free = _log_likelihood(int(hit[1:].sum()), hit.size - 1, float(hit[1:].mean()))
    ratio = kupiec(hit, p).statistic + 2.0 * (chain - free)
    return CoverageTest(ratio, float(stats.chi2.sf(ratio, 2)), float(hit.mean()))


def _log_likelihood(hits: int, n: int, rate: float) -> float:
    """Bernoulli log-likelihood with 0 log 0 = 0."""
    return float(special.xlogy(hits, rate) + special.xlog1py(n - hits, -rate))
