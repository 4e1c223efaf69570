"""How much of a result may be luck: probabilistic and deflated Sharpe ratio, block-bootstrap intervals.

The report and training's evidence call it. It must never draw from anything but the generator it is handed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from cryptoai.backtesting.metrics import kurtosis, sharpe, skewness

__all__ = ["Interval", "block_bootstrap", "deflated_sharpe", "expected_best_sharpe", "probabilistic_sharpe"]

Floats = npt.NDArray[np.float64]

_NORMAL = NormalDist()
_EULER = 0.5772156649015329


@dataclass(frozen=True, slots=True)
class Interval:
    """A two-sided interval of a statistic at `level` (0.9: 5 % on each side)."""

    low: float
    high: float
    level: float


def probabilistic_sharpe(ratio: float, benchmark: float, n: int, skew: float, kurt: float) -> float:
    """P(true Sharpe > benchmark) for a per-period `ratio` over n returns (Bailey and López de Prado 2012, eq. 11)."""
    spread = math.sqrt(max(1.0 - skew * ratio + (kurt - 1.0) / 4.0 * ratio**2, 1e-12))
    return _NORMAL.cdf((ratio - benchmark) * math.sqrt(n - 1) / spread)


def expected_best_sharpe(trials: int, variance: float) -> float:
    """Sharpe ratio that the best of `trials` skilless trials is expected to show; `variance` is that of their ratios.

    Bailey and López de Prado (2014), eq. 1; 0 for one trial.
    """
    if trials < 2:
        return 0.0
    first = _NORMAL.inv_cdf(1.0 - 1.0 / trials)
    second = _NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e))
    return math.sqrt(variance) * ((1.0 - _EULER) * first + _EULER * second)


def deflated_sharpe(returns: Floats, trials: int = 1, variance: float | None = None) -> float | None:
    """P(true Sharpe > what luck gives the best of `trials`), in [0, 1]; None without variation.

    `variance` of the trials' per-period ratios; by default 1 / (n - 1), that of a skilless normal strategy.
    """
    ratio, skew, kurt = sharpe(returns, 1.0), skewness(returns), kurtosis(returns)
    if ratio is None or skew is None or kurt is None:
        return None
    spread = 1.0 / (len(returns) - 1) if variance is None else variance
    return probabilistic_sharpe(ratio, expected_best_sharpe(trials, spread), len(returns), skew, kurt)


def block_bootstrap(
    returns: Floats,
    statistic: Callable[[Floats], float],
    generator: np.random.Generator,
    *,
    draws: int = 1000,
    level: float = 0.9,
    block: int | None = None,
) -> Interval:
    """Percentile interval of `statistic` under the circular block bootstrap (Politis and Romano 1992).

    `block` defaults to ceil(n^(1/3)), the order that is optimal for a variance; needs n >= 2.
    """
    n = len(returns)
    length = block or math.ceil(n ** (1 / 3))
    starts = generator.integers(0, n, size=(draws, math.ceil(n / length)))
    offsets = np.arange(length)
    samples = (returns[((row[:, None] + offsets).ravel()[:n]) % n] for row in starts)
    values = np.array([statistic(sample) for sample in samples])
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level)
