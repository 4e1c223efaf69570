"""A market that our own trades move, with a signal that moves both the trades and the price: what impact really is.

    signal   f' = .9 f + sqrt(1 - .81) e: stationary, variance 1
    action   a = .8 p(f) + .7 e', as a policy logs it
    return   r = .4 g(f) + sum over j of kernel_j a(t - j) + e''      kernel_j = .3 exp(-j / 3), j = 0..9

The signal is a confounder: whoever regresses returns on actions alone credits the actions with what it foresaw. `twin`
runs the same noise under two action sequences, which no real market allows. Gates and tests of `world_model.impact`
use it (propagator: Bouchaud et al. 2004). Everything follows from the seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryptoai.core.errors import InvariantError

__all__ = ["KERNEL", "LoggedMarket", "logged_market", "twin"]

Floats = npt.NDArray[np.float64]

AR, POLICY, SIGNAL, ACTION_NOISE = 0.9, 0.8, 0.4, 0.7
KERNEL: Floats = 0.3 * np.exp(-np.arange(10) / 3.0)
"""Return of step t + j per unit of action at step t."""


@dataclass(frozen=True, slots=True)
class LoggedMarket:
    """signal, actions, returns, noise: float64[T]; noise is what no action and no signal explains.

    `drift` is the part of the return that the signal makes.
    """

    signal: Floats
    actions: Floats
    returns: Floats
    noise: Floats
    drift: Floats
    kernel: Floats


def logged_market(
    rng: np.random.Generator, rows: int, kernel: Floats = KERNEL, *, curved: bool = False
) -> LoggedMarket:
    """`rows` of a log; a `kernel` of zeros is the placebo.

    `curved`: p is a step and g a saturating curve of the signal; else both are the signal itself.
    """
    shocks = rng.standard_normal((rows, 3))
    signal = _autoregressive(shocks[:, 0])
    push = np.sign(signal) if curved else signal
    actions = POLICY * push + ACTION_NOISE * shocks[:, 1]
    drift = SIGNAL * (np.tanh(3.0 * signal) if curved else signal)
    returns = drift + respond(actions, kernel) + shocks[:, 2]
    return LoggedMarket(signal, actions, returns, shocks[:, 2], drift, kernel)


def respond(actions: Floats, kernel: Floats) -> Floats:
    """Return that the actions make at each step: each one acts from its own step on."""
    return np.convolve(actions, kernel)[: len(actions)]


def twin(market: LoggedMarket, at: int, first: Floats, second: Floats) -> Floats:
    """Returns [2, H] of steps at..at + H - 1 under two action sequences after the same log, signal and noise."""
    steps = len(first)
    if len(second) != steps or at + steps > len(market.returns):
        raise InvariantError(f"two sequences of one length are needed, ending by step {len(market.returns)}")
    window = slice(at, at + steps)
    paths = [respond(np.concatenate([market.actions[:at], actions]), market.kernel)[at:] for actions in (first, second)]
    return np.stack(paths) + market.drift[window] + market.noise[window]


def _autoregressive(shocks: Floats) -> Floats:
    path = np.empty_like(shocks)
    path[0] = shocks[0]
    for t in range(1, len(shocks)):
        path[t] = AR * path[t - 1] + np.sqrt(1 - AR**2) * shocks[t]
    return path
