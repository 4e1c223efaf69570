"""Returns whose tail is known: GARCH(1,1) with Student-t shocks, and losses of an exact generalised Pareto law.

The gates of value at risk and of the conformal limits use them. All of it follows from the seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

__all__ = ["DEGREES", "GarchMarket", "breaking_returns", "garch_market", "pareto_losses"]

ALPHA, BETA, DEGREES = 0.08, 0.90, 5
"""Of the variance recursion, and degrees of freedom of the shocks; the variance has mean 1."""
BURN = 500

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GarchMarket:
    """returns float64 [N]; deviations float64 [N]: the true standard deviation of each, given those before it."""

    returns: Floats
    deviations: Floats

    def value_at_risk(self, p: float) -> Floats:
        """The oracle: the loss of a long that each return exceeds with probability 1 - `p`, [N]."""
        quantile = float(stats.t.ppf(p, DEGREES)) * np.sqrt((DEGREES - 2) / DEGREES)
        return np.asarray(self.deviations * quantile)


def garch_market(seed: int, rows: int) -> GarchMarket:
    """v' = .02 + .08 r^2 + .90 v, r = sqrt(v) t5 / sd(t5): mean 0, variance 1, started in its stationary state."""
    rng = np.random.default_rng(seed)
    shocks = rng.standard_t(DEGREES, rows + BURN) * np.sqrt((DEGREES - 2) / DEGREES)
    returns, deviations, variance = np.empty(rows + BURN), np.empty(rows + BURN), 1.0
    for t, shock in enumerate(shocks):
        deviations[t] = np.sqrt(variance)
        returns[t] = deviations[t] * shock
        variance = 1.0 - ALPHA - BETA + ALPHA * returns[t] ** 2 + BETA * variance
    return GarchMarket(returns[BURN:], deviations[BURN:])


def pareto_losses(seed: int, rows: int, xi: float = 0.3) -> Floats:
    """Excesses of an exact generalised Pareto law with scale 1, [rows], by inversion."""
    uniform = np.random.default_rng(seed).random(rows)
    return np.asarray(np.expm1(-xi * np.log1p(-uniform)) / xi if xi else -np.log1p(-uniform))


def breaking_returns(seed: int, rows: int = 3000, factors: tuple[float, ...] = (1.0, 2.5, 1.0, 4.0)) -> Floats:
    """Normal returns [rows] whose volatility is multiplied by each of `factors` in turn, equally long."""
    scale = np.repeat(np.asarray(factors), -(-rows // len(factors)))[:rows]
    return np.asarray(np.random.default_rng(seed).standard_normal(rows) * scale)
