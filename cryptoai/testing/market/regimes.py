"""A market of three hidden regimes, and the filter that knows them: the most that any regime detection can see.

The gate of the regime filter and its tests use it. All of it follows from the seed. It must never show the regime in a
column that a model reads.

The market (per row; Hamilton 1989):
    regime     0 calm, 1 busy, 2 wild; P(stay) = .99, .98, .95, and moves mostly to a neighbour (TRANSITION)
    return     mean[regime] + sd[regime] e, mean (.08, -.06, -.4), sd (.6, 1, 3), in basis points
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["MEAN", "SD", "TRANSITION", "RegimeMarket", "regime_market", "stationary"]

TRANSITION = ((0.99, 0.0095, 0.0005), (0.0115, 0.98, 0.0085), (0.005, 0.045, 0.95))
MEAN = (0.08, -0.06, -0.4)
SD = (0.6, 1.0, 3.0)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RegimeMarket:
    """returns float64 [N] in basis points; regime int8 [N], the hidden truth of the same rows."""

    returns: Floats
    regime: npt.NDArray[np.int8]

    def oracle(self) -> Floats:
        """P(regime[t] | returns up to and with t) under the true parameters, [N, 3]: Hamilton's filter."""
        z = (self.returns[:, None] - np.asarray(MEAN)) / np.asarray(SD)
        density, chain = np.exp(-0.5 * z * z) / np.asarray(SD) + 1e-300, np.asarray(TRANSITION)
        known, ahead = np.empty(density.shape), stationary(chain)
        for t, fit in enumerate(density):
            joint = np.asarray(ahead * fit)
            known[t] = joint / joint.sum()
            ahead = known[t] @ chain
        return known


def regime_market(seed: int, rows: int) -> RegimeMarket:
    """`rows` rows, begun in the long-run mix of regimes. Same seed, same bytes."""
    rng = np.random.default_rng(seed)
    steps, draws = np.cumsum(TRANSITION, axis=1), rng.random(rows)
    regime = np.empty(rows, dtype=np.int8)
    state = int(rng.choice(3, p=stationary(np.asarray(TRANSITION))))
    for t in range(rows):
        regime[t] = state
        state = min(int(np.searchsorted(steps[state], draws[t], side="right")), 2)
    returns = np.asarray(MEAN)[regime] + np.asarray(SD)[regime] * rng.standard_normal(rows)
    return RegimeMarket(returns, regime)


def stationary(chain: Floats) -> Floats:
    """Long-run share of each state [K] of a chain [K, K] whose rows sum to 1."""
    size = len(chain)
    system = np.vstack([chain.T - np.eye(size), np.ones(size)])
    share, *_ = np.linalg.lstsq(system, np.append(np.zeros(size), 1.0))
    return np.asarray(share)
