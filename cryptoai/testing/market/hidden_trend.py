"""A market that trends or reverts and does not say which: what a meta-controller over options must find out.

    side       s = +1 (trends) or -1 (reverts), P(stay) = .99 a step, hidden
    return     r = s' phi r_before + e, e ~ N(0, 1), where s' is the side after its step

The best position under `position x return - position^2 / 2` is the mean of the return given what is known. With w the
filtered mean of the side it is w phi r_before, and its share of the clairvoyant's value is E[w^2 r^2] / E[r^2]; E[w^2]
alone is .40, .56, .66 for phi .2, .3, .4. Trading one side for ever earns nothing at its best size and loses as much as
the clairvoyant earns at full size. Tests and the gates of the options use it. Nothing of it may pass for market data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["STAY", "HiddenTrend", "hidden_trend"]

STAY = 0.99
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HiddenTrend:
    """B paths of T returns and the truth behind them.

    returns [T + 1, B], the first one drawn from the stationary distribution; side int8 [T + 1, B]: s' of each return.
    """

    returns: Floats
    side: npt.NDArray[np.int8]
    phi: float

    def filtered_side(self) -> Floats:
        """E[side[t] | returns before t], [T + 1, B]: Hamilton's filter with the true parameters."""
        known, after = np.zeros_like(self.returns), np.zeros(self.returns.shape[1])
        for t in range(1, len(self.returns)):
            known[t] = (2 * STAY - 1) * after
            evidence = np.tanh(self.phi * self.returns[t] * self.returns[t - 1])
            after = (known[t] + evidence) / (1 + known[t] * evidence)
        return known

    def optimal_positions(self) -> Floats:
        """What the filter holds for each of the T later returns, [T, B]."""
        return self.filtered_side()[1:] * self.phi * self.returns[:-1]

    def clairvoyant_positions(self) -> Floats:
        """What somebody who sees the side would hold, [T, B]."""
        return self.side[1:] * self.phi * self.returns[:-1]

    def value(self, positions: Floats) -> Floats:
        """Expected result of each step given side and past, position x mean - position^2 / 2, [T, B].

        It is free of the noise of the return, so that two ways to trade are told apart on short paths.
        """
        return np.asarray(positions * self.clairvoyant_positions() - positions**2 / 2)


def hidden_trend(seed: int, steps: int, paths: int, phi: float) -> HiddenTrend:
    """`paths` paths of `steps` returns. Same seed, same bytes."""
    rng = np.random.default_rng(seed)
    first = np.where(rng.random(paths) < 0.5, 1, -1)
    flips = np.where(rng.random((steps, paths)) < STAY, 1, -1)
    side = np.concatenate([first[None], first * np.cumprod(flips, axis=0)]).astype(np.int8)
    returns = rng.standard_normal((steps + 1, paths))
    returns[0] /= np.sqrt(1 - phi**2)
    for t in range(1, steps + 1):
        returns[t] += side[t] * phi * returns[t - 1]
    return HiddenTrend(returns, side, phi)
