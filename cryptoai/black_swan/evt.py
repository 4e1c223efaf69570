"""How bad can one step be: the tail of the losses by extreme value theory.

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
from scipy import optimize

from cryptoai.black_swan.backtests import CoverageTest, christoffersen, kupiec
from cryptoai.core.errors import BundleError, DataError

__all__ = [
    "CRITICAL", "THRESHOLDS", "CoverageTest", "Tail", "Thresholds", "anderson_darling", "christoffersen", "fit_tail",
    "kupiec", "scan_thresholds",
]  # fmt: skip

THRESHOLDS = (0.85, 0.875, 0.90, 0.925, 0.95, 0.975)
"""Quantiles of the losses that are tried as thresholds, lowest first."""
SHAPES = (-0.45, 0.9)
"""Believed shapes: below -1/2 the likelihood has no regular maximum (Smith 1985), at 1 the mean is infinite."""
PRIOR = (0.25, 0.15)
"""Mean and deviation of the shape before overlapping losses are seen: Student-t(4) has 1/4, bitcoin by the hour .36. As
Martins and Stedinger (2000) for floods: few independent excesses cannot tell a thin tail from a tail not yet seen."""
CRITICAL = ((-0.4, 1.13), (-0.2, 1.04), (0.0, 0.96), (0.2, 0.90), (0.4, 0.85), (0.7, 0.82), (0.9, 0.80))
"""(shape, 95 % point of the Anderson-Darling statistic when shape and scale are fitted): Choulakian and Stephens (2001)
give a table; these are 6,000 draws of 200 excesses each."""

Floats = npt.NDArray[np.floating]
Doubles = npt.NDArray[np.float64]


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


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Every threshold that was tried, lowest first, and how well the tail above it fits.

    misfit: Anderson-Darling statistic over its 95 % point; above 1 the tail is rejected.
    """

    tails: tuple[Tail, ...]
    misfit: tuple[float, ...]

    @property
    def chosen(self) -> Tail:
        """The lowest that is not rejected and agrees with every higher one; where none is, the one that fits best."""
        for i, (tail, misfit) in enumerate(zip(self.tails, self.misfit, strict=True)):
            if misfit <= 1.0 and all(_agree(tail, higher) for higher in self.tails[i + 1 :]):
                return tail
        return self.tails[int(np.argmin(self.misfit))]

    def band(self, p: float = 0.99) -> tuple[float, float]:
        """Lowest and highest VaR at `p` from the chosen threshold up: how much the choice matters."""
        first = self.tails.index(self.chosen)
        answers = [tail.var(p) for tail in self.tails[first:] if tail.rate >= 1.0 - p]
        return min(answers), max(answers)


def fit_tail(
    losses: Floats,
    *,
    thresholds: tuple[float, ...] = THRESHOLDS,
    min_exceed: int = 100,
    least_rate: float = 0.01,
    overlap: int = 1,
) -> Tail:
    """Peaks over the lowest threshold whose tail fits and is stable: `scan_thresholds` (Bader, Yan and Zhang 2018)."""
    return scan_thresholds(
        losses, thresholds=thresholds, min_exceed=min_exceed, least_rate=least_rate, overlap=overlap
    ).chosen


def scan_thresholds(
    losses: Floats,
    *,
    thresholds: tuple[float, ...] = THRESHOLDS,
    min_exceed: int = 100,
    least_rate: float = 0.01,
    overlap: int = 1,
) -> Thresholds:
    """A tail above each of the thresholds, which are quantiles of the losses.

    losses: any order, positive is a loss, not finite is an error. Thresholds with fewer than `min_exceed` losses above
    are left out, and those with `least_rate` or less of them above (ties can do that), so that `var(1 - least_rate)`
    can always be asked. overlap: losses that share what happened; if more than one, the tails count independent losses
    and their shapes are drawn to PRIOR by as much. DataError if none is left or the tail is a single value.
    """
    finite = np.asarray(losses, dtype=np.float64).ravel()
    if not np.isfinite(finite).all():
        raise DataError("the losses hold values that are not finite; drop them before the tail is fitted")
    tried = [_fit_above(finite, float(np.quantile(finite, q)), overlap) for q in thresholds if finite.size]
    least = max(min_exceed // overlap, 1)
    kept = [tail for tail in tried if tail is not None and tail.n_exceed >= least and tail.rate > least_rate]
    if not kept:
        raise DataError(
            f"{finite.size} losses leave no threshold with {min_exceed} different losses above; give more data"
        )
    return Thresholds(tuple(kept), tuple(_misfit(tail, finite) / overlap for tail in kept))


def anderson_darling(excess: Floats, xi: float, beta: float) -> float:
    """Distance of excesses over a threshold from a generalised Pareto law, which weighs the far tail (A squared)."""
    ordered = np.sort(np.asarray(excess, dtype=np.float64)) / beta
    survival = ordered if abs(xi) < 1e-9 else np.log1p(np.maximum(xi * ordered, -1.0 + 1e-12)) / xi  # -ln(1 - F)
    survival = np.maximum(survival, 1e-12)
    n = len(ordered)
    weights = 2.0 * np.arange(1, n + 1) - 1.0
    return float(-n - (weights * (np.log(-np.expm1(-survival)) - survival[::-1])).mean())


def _agree(low: Tail, high: Tail) -> bool:
    """Whether the shapes differ by no more than chance (95 %)."""
    # The higher tail is a subset of the lower: the variance of the difference is the difference of the variances.
    spread = math.sqrt(max(high.xi_error**2 - low.xi_error**2, 1e-12))
    return abs(low.xi - high.xi) <= 1.96 * spread


def _misfit(tail: Tail, losses: Doubles) -> float:
    excess = losses[losses > tail.threshold] - tail.threshold
    shapes, points = zip(*CRITICAL, strict=True)
    return anderson_darling(excess, tail.xi, tail.beta) / float(np.interp(tail.xi, shapes, points))


def _fit_above(losses: Doubles, threshold: float, overlap: int) -> Tail | None:
    excess = losses[losses > threshold] - threshold
    if excess.size < 2 or np.ptp(excess) == 0.0:
        return None
    xi, beta = _fit_pareto(excess, overlap)
    independent = max(round(excess.size / overlap), 1)
    return Tail(xi, beta, threshold, independent, max(round(independent * losses.size / excess.size), independent))


def _fit_pareto(excess: Doubles, overlap: int) -> tuple[float, float]:
    """Maximum likelihood within SHAPES by the profile over theta = xi / beta (Grimshaw 1993).

    With an overlap the logarithm of the prior is added, in nats of one independent excess.
    """
    scale = float(excess.mean())
    x = excess / scale
    doubt = overlap / len(x) / (2.0 * PRIOR[1] ** 2) if overlap > 1 else 0.0

    def loss(theta: float) -> float:
        xi = float(np.log1p(theta * x).mean())
        if not SHAPES[0] <= xi <= SHAPES[1]:
            return 1e6 + abs(xi)
        return xi + math.log(xi / theta if abs(theta) > 1e-9 else 1.0) + doubt * (xi - PRIOR[0]) ** 2

    edge = 0.999 / float(x.max())
    grid = np.concatenate([-edge * np.linspace(1.0, 0.0, 25)[:-1], np.geomspace(1e-3, 20.0, 30)])
    best = int(np.argmin([loss(float(theta)) for theta in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    theta = float(optimize.minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-7}).x)
    xi = min(max(float(np.log1p(theta * x).mean()), SHAPES[0]), SHAPES[1])
    return xi, scale * (xi / theta if abs(theta) > 1e-9 else 1.0)
