"""What our actions do to the price, from a log in which they were not random: the propagator, freed of confounding.

The market model takes no action, so `counterfactual` gets the effect of actions here. A policy acts on signals that
foresee the price; a regression of returns on actions then credits the actions with the foresight. Double machine
learning (Chernozhukov et al. 2018) removes it: what the signals explain of returns and of actions is predicted out of
sample and subtracted from both, and what is left of one is regressed on what is left of the other.

It holds if every signal that the policy used is among `signals`, and if actions do not move the signals. It must
never be fitted to a log whose policy was a function of the signals alone: then nothing is left of the actions, and it
refuses.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve

from cryptoai.core.errors import DataError

__all__ = ["Effect", "Propagator", "estimate_propagator", "past_steps"]

Floats = npt.NDArray[np.float64]

FOLDS = 5
KNOTS = tuple(n / 10 for n in range(1, 10))
"""Quantiles of a signal at which its fitted effect may bend."""
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0)
"""Of the ridge fits, in units of the mean variance of the controls."""
_LEFT = 0.01
"""Least share of the actions' variance that the signals must leave unexplained."""


@dataclass(frozen=True, slots=True)
class Effect:
    """Cumulative effect on the log price after each step, float64[H] each; low and high are pointwise at `level`."""

    path: Floats
    low: Floats
    high: Floats
    level: float


@dataclass(frozen=True, slots=True)
class Propagator:
    """kernel float64[L]: return at step t + j per unit of action at step t; covariance [L, L] of its estimate.

    most: largest |action| of the log. Beyond it nothing is known, and impact is not linear far from what was seen.
    """

    kernel: Floats
    covariance: Floats
    most: float

    def respond(self, actions: Floats) -> Floats:
        """Return [H] that actions [H] make at each step."""
        return np.asarray(_toeplitz(np.asarray(actions, np.float64), len(self.kernel)) @ self.kernel)

    def effect(self, first: Floats, second: Floats, level: float = 0.95) -> Effect:
        """Of taking `first` instead of `second`, both [H]."""
        difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
        design = np.cumsum(_toeplitz(difference, len(self.kernel)), 0)
        path = design @ self.kernel
        spread = np.sqrt(np.einsum("hi,ij,hj->h", design, self.covariance, design))
        width = NormalDist().inv_cdf(0.5 + level / 2) * spread
        return Effect(path, path - width, path + width, level)

    def known(self, *actions: Floats) -> bool:
        """Whether all actions lie within what the log has seen."""
        return all(np.abs(sequence).max(initial=0.0) <= self.most for sequence in actions)


def estimate_propagator(
    returns: Floats, actions: Floats, signals: Floats | None, lags: int = 10, *, curved: bool = True
) -> Propagator:
    """returns, actions [T], signals [T, C] known when the action was taken; returns[t] is the step that follows it.

    `curved`: signals may act by bends at their quantiles, else linearly. Without signals it is the naive regression,
    for comparison. The covariance is Newey and West's (1987). DataError where the log does not identify the kernel.
    """
    design = past_steps(np.asarray(actions, np.float64)[:, None], lags)
    target = np.asarray(returns, np.float64)[lags - 1 :]
    _check(design, target, lags)
    if signals is None:
        left, rest = design - design.mean(0), target - target.mean()
    else:
        known = _checked(signals, len(returns))
        controls = past_steps(_bends(known) if curved else known, lags)
        both = _unexplained(controls, np.column_stack([design, target]), lags)
        left, rest = both[:, :-1], both[:, -1]
        share = left.var(0).min() / design.var(0).max()
        if share < _LEFT:
            raise DataError(
                f"the signals explain all but {share:.1%} of the actions: their effect cannot be told apart; "
                "log a policy that also acts at random"
            )
    bread = np.linalg.inv(left.T @ left)
    kernel = bread @ (left.T @ rest)
    meat = _newey_west(left * (rest - left @ kernel)[:, None], lags)
    return Propagator(kernel, bread @ meat @ bread, float(np.abs(actions).max()))


def past_steps(columns: Floats, lags: int) -> Floats:
    """[T, C] -> [T - lags + 1, lags * C]: each row with the rows before it, the newest first."""
    rows = len(columns) - lags + 1
    return np.hstack([columns[lags - 1 - lag : lags - 1 - lag + rows] for lag in range(lags)])


def _check(design: Floats, target: Floats, lags: int) -> None:
    if len(design) != len(target) or len(design) < 50 * lags:
        raise DataError(f"{len(target)} complete rows are too few or uneven for {lags} lags: {50 * lags} are needed")
    if not (np.isfinite(design).all() and np.isfinite(target).all()):
        raise DataError("returns and actions must be finite: leave out or fill the rows that are not")
    if design[:, 0].std() < 1e-12:
        raise DataError("the actions never change: their effect cannot be known")


def _checked(signals: Floats, rows: int) -> Floats:
    signals = np.asarray(signals, np.float64)
    if signals.ndim != 2 or len(signals) != rows or not np.isfinite(signals).all():
        raise DataError(f"signals must be finite and of shape ({rows}, signals), not {signals.shape}")
    return signals


def _bends(signals: Floats) -> Floats:
    """[T, C] -> [T, C * (1 + knots)]: each signal, and how far it is above each of its quantiles; scaled."""
    parts = [signals, *(np.maximum(signals - np.quantile(signals, q, axis=0), 0.0) for q in KNOTS)]
    wide = np.hstack(parts)
    spread = wide.std(0)
    return np.asarray((wide - wide.mean(0)) / np.where(spread > 0, spread, 1.0))


def _unexplained(controls: Floats, targets: Floats, lags: int) -> Floats:
    """Residuals [n, L] of ridge fits made elsewhere: folds are stretches of time, `lags` rows next to each left out.

    Each column takes the penalty that leaves least of it out of sample: useless signals must not cost the others.
    """
    out, rows = np.empty((len(PENALTIES), *targets.shape)), np.arange(len(targets))
    for fold in np.array_split(rows, FOLDS):
        away = (rows < fold[0] - lags) | (rows > fold[-1] + lags)
        mean = controls[away].mean(0), targets[away].mean(0)
        x, y = controls[away] - mean[0], targets[away] - mean[1]
        square, cross = x.T @ x, x.T @ y
        unit = np.eye(len(square)) * np.trace(square) / len(square)
        for at, penalty in enumerate(PENALTIES):
            weights = solve(square + penalty * unit, cross, assume_a="pos")
            out[at, fold] = targets[fold] - mean[1] - (controls[fold] - mean[0]) @ weights
    best = np.square(out).mean(1).argmin(0)
    return np.asarray(np.take_along_axis(out, best[None, None, :], 0)[0])


def _newey_west(scores: Floats, lags: int) -> Floats:
    """Long-run covariance of score rows [n, L] with Bartlett weights: noise may be correlated and change its size."""
    total = scores.T @ scores
    for lag in range(1, lags + 1):
        cross = scores[lag:].T @ scores[:-lag]
        total += (1 - lag / (lags + 1)) * (cross + cross.T)
    return np.asarray(total)


def _toeplitz(actions: Floats, lags: int) -> Floats:
    """[H, L]: row h holds the actions at h, h - 1, ..., zero before the first."""
    padded = np.concatenate([np.zeros(lags - 1), actions])
    return np.lib.stride_tricks.sliding_window_view(padded, lags)[:, ::-1]
