"""Coverage that holds whatever the market does: limits give way after each breach and tighten after each quiet step.

Studies of intervals use `adaptive` (Gibbs and Candes 2021); value at risk, whose levels lie beyond any window of
scores, uses `tracked` (Angelopoulos, Candes and Tibshirani 2023). Neither believes in any distribution: the long-run
rate of breaches is right for any sequence. The limit of step t must never depend on score t.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cryptoai.core.errors import DataError

__all__ = ["adaptive", "tracked", "worst_window"]

Floats = npt.NDArray[np.floating]
Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def adaptive(scores: Floats, level: float, gamma: float, window: int = 500) -> Doubles:
    """Limits for scores [n] that cover a share `level` of them; NaN for the first `window`, which only calibrate.

    The limit is the quantile of the last `window` scores at 1 - a, where a moves by gamma (miscovered - (1 - level))
    against each miss. Where a leaves (0, 1) the limit is the largest score of the window, doubled for each further
    level of 1 - `level` below 0, or the smallest. gamma .01 to .03 a step; 0 is split conformal on a rolling window.
    """
    if not 0.0 < level < 1.0 or gamma < 0.0 or not 0 < window < len(scores):
        raise DataError("adaptive limits need a level inside (0, 1), gamma >= 0 and more scores than the window")
    miss, limits = 1.0 - level, np.full(len(scores), np.nan)
    for t in range(window, len(scores)):
        past = scores[t - window : t]
        limits[t] = np.quantile(past, min(max(1.0 - miss, 0.0), 1.0)) * 2.0 ** max(-miss / (1.0 - level), 0.0)
        miss -= gamma * (float(scores[t] > limits[t]) - (1.0 - level))
    return limits


def tracked(losses: Floats, limits: Floats, p: float, gamma: float = 0.05) -> Doubles:
    """`limits` [n] (positive forecasts of VaR at `p`) times a factor that keeps their rate of breaches at 1 - p.

    The logarithm of the factor rises by gamma p after a breach and falls by gamma (1 - p) after any other step, so the
    rate is off by at most its range / (gamma n), whatever the losses [n] are. Steps whose limit is NaN are passed over.
    """
    if not 0.0 < p < 1.0 or gamma < 0.0 or len(losses) != len(limits):
        raise DataError("tracked limits need p inside (0, 1), gamma >= 0 and one limit for each loss")
    log_factor, out = 0.0, np.full(len(limits), np.nan)
    for t in np.flatnonzero(np.isfinite(limits)):
        out[t] = limits[t] * np.exp(log_factor)
        log_factor += gamma * (float(losses[t] > out[t]) - (1.0 - p))
    return out


def worst_window(covered: Bools, length: int = 250) -> float:
    """Lowest coverage of any `length` steps in a row: what an alarm on calibration watches."""
    if len(covered) < length:
        raise DataError(f"{len(covered)} steps are fewer than the window of {length}")
    total = np.concatenate([[0], np.cumsum(covered)])
    return float((total[length:] - total[:-length]).min() / length)
