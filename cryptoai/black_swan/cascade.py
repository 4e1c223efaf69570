"""Will the next fall feed on itself: liquidation cascades by their branching ratio.

Forced sales of a notional L move the price by kappa L; a move of one unit through a cluster forces sales of rho. So one
unit of push makes n = kappa rho more, then n^2, in all 1 / (1 - n), and no end for n >= 1 (a Galton-Watson process; for
markets Cont and Wagalath 2016, Brunnermeier and Pedersen 2009). `CascadeModel` is that formula, its unknown noise
averaged out, and a small logistic correction; `pressure` reads n from the features of a state. It must never call a
state safe because it cannot see: what is missing gives no pressure, and the anomaly score's coverage reports it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from cryptoai.core.errors import DataError
from cryptoai.data_universe.schema import index

__all__ = ["COLUMNS", "CascadeModel", "amplification", "needed_shock", "pressure"]

COLUMNS = ("kappa", "rho", "distance", "width", "volatility")
"""Of a state: move per notional sold, liquidated notional per move, distance to the cluster, its width, shock sd."""
NOISES = (0.0, 0.1, 0.2, 0.25, 0.3, 0.4)
"""Deviations of the logarithm of an observation that are tried."""
TAILS = (3.0, 5.0, 8.0, 30.0)
"""Degrees of freedom of the shock that are tried."""
DRAWS = 64
"""Points at which the noise is averaged out; the same for every state."""
RIDGE = 1e-3
LEAST = 500

Floats = npt.NDArray[np.floating]
Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def amplification(branching: Floats) -> Doubles:
    """Final move over the push that began it, inside a cluster: 1 / (1 - n), infinite from n = 1 on. [n] of [n]."""
    calm = np.minimum(np.asarray(branching, dtype=np.float64), 1.0)
    with np.errstate(divide="ignore"):
        return np.asarray(1.0 / (1.0 - calm))


def needed_shock(states: Floats) -> Doubles:
    """Smallest shock that runs through the whole cluster: d + w max(1 - n, 0). [...] of states [..., 5] (`COLUMNS`)."""
    kappa, rho, distance, width, _ = np.moveaxis(np.asarray(states, dtype=np.float64), -1, 0)
    return np.asarray(distance + width * np.maximum(1.0 - kappa * rho, 0.0))


@dataclass(frozen=True, slots=True)
class CascadeModel:
    """P(the next shock sets off a whole cluster).

    noise, degrees: of the observations and of the shock; centre, spread: float64 [5], of the logarithms observed in
    training; weights: float64 [1 + 7], the logistic correction.
    """

    noise: float
    degrees: float
    centre: Doubles
    spread: Doubles
    weights: Doubles

    @classmethod
    def fit(cls, states: Floats, cascade: Bools) -> Self:
        """states [N, 5] positive (`COLUMNS`), cascade [N]; DataError below 500 rows or if only one outcome is seen.

        Noise and tail are chosen by likelihood, then the correction by penalised likelihood on the same rows: eight
        numbers. `structure` alone is the oracle's formula if the states are lognormal.
        """
        if len(states) < LEAST or states.shape[1:] != (len(COLUMNS),) or not (states > 0).all():
            raise DataError(f"the cascade model needs {LEAST} rows of {len(COLUMNS)} positive numbers")
        if cascade.all() or not cascade.any():
            raise DataError("the cascade model saw only one outcome; give rows with and without cascades")
        logs = np.log(states)
        centre, spread = logs.mean(axis=0), np.maximum(logs.std(axis=0), 1e-9)
        tried = [cls(s, nu, centre, spread, _IDENTITY) for s, nu in product(NOISES, TAILS)]
        best = max(tried, key=lambda model: _likelihood(model.structure(states), cascade))
        weights = _logistic(best._features(states), cascade.astype(np.float64))
        return cls(best.noise, best.degrees, centre, spread, weights)

    def structure(self, states: Floats) -> Doubles:
        """The formula's probability with the noise averaged out, [n], before the correction.

        A true logarithm, given its observation, is normal around the observation drawn to the centre (empirical Bayes).
        """
        trust = np.clip(1.0 - self.noise**2 / self.spread**2, 0.0, 1.0)
        likely = self.centre + trust * (np.log(states) - self.centre)
        total = np.zeros(len(states))
        for point in _POINTS:
            true = np.exp(likely + self.noise * np.sqrt(trust) * point)
            total += 2.0 * stats.t.sf(needed_shock(true) / true[:, 4], self.degrees)
        return total / len(_POINTS)

    def probability(self, states: Floats) -> Doubles:
        """P(cascade), [n] of states [n, 5]."""
        return np.asarray(special.expit(self._features(states) @ self.weights))

    def _features(self, states: Floats) -> Doubles:
        """1, the structure's log-odds, its square, and the five standardised logarithms: [n, 8]."""
        odds = special.logit(np.clip(self.structure(states), 1e-6, 1.0 - 1e-6))
        logs = np.clip((np.log(states) - self.centre) / self.spread, -3.0, 3.0)
        return np.column_stack([np.ones(len(states)), odds, 0.1 * odds**2, logs])


def pressure(values: Floats, mask: Bools) -> Doubles:
    """The branching ratio that the last minute showed, [n] >= 0 of states [n, 200]: share of the move that is forced.

    n = kappa L / move: L the notional liquidated in the last minute of the side that the price of 30 s moved against,
    kappa 10 bp over the depth within 10 bp that it was sold into, the move that of 30 s, but not less than the realised
    volatility of 30 s or 1 bp. 0 where one is missing or nothing was liquidated. From 1 on the cascade feeds itself.
    """
    columns = [index(name) for name in _SEEN]
    move, usual, longs, shorts, bids, asks = np.asarray(values, dtype=np.float64)[:, columns].T
    forced, depth = np.where(move < 0, longs, shorts), np.where(move < 0, bids, asks)
    sold = np.expm1(np.clip(forced, 0.0, _MOST))
    absorbs = np.maximum(np.expm1(np.clip(depth, 0.0, _MOST)), 1.0)
    branching = 10.0 * sold / absorbs / np.maximum(np.maximum(np.abs(move), usual), 1.0)
    return np.where(mask[:, columns].all(axis=1), branching, 0.0)


_SEEN = (
    "perp_return_30s", "realised_volatility_30s", "long_liquidations_1m", "short_liquidations_1m", "bid_depth_10bp",
    "ask_depth_10bp",
)  # fmt: skip
_MOST = 60.0
_IDENTITY = np.array([0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
_POINTS = stats.norm.ppf(stats.qmc.Halton(len(COLUMNS), scramble=False).random(DRAWS + 1)[1:])
"""Quasi-random normal points [64, 5]; the first of the sequence lies at minus infinity."""


def _likelihood(p: Doubles, happened: Bools) -> float:
    safe = np.clip(p, 1e-9, 1.0 - 1e-9)
    return float(np.where(happened, np.log(safe), np.log1p(-safe)).mean())


def _logistic(x: Doubles, y: Doubles) -> Doubles:
    """Penalised maximum likelihood by Newton's method; the penalty draws to the uncorrected formula."""
    weights = _IDENTITY.copy()
    for _ in range(50):
        p = special.expit(x @ weights)
        slope = x.T @ (y - p) / len(y) - RIDGE * (weights - _IDENTITY)
        curve = (x * (p * (1.0 - p))[:, None]).T @ x / len(y) + RIDGE * np.eye(x.shape[1])
        step = np.linalg.solve(curve, slope)
        weights = weights + np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-9:
            break
    return weights
