"""How much of a result may be luck: deflated Sharpe ratio, probability of overfitting, block-bootstrap intervals.

The report and training's evidence call it. It must never draw from anything but the generator it is handed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from cryptoai.backtesting.metrics import kurtosis, sharpe, skewness
from cryptoai.core.errors import DataError

__all__ = [
    "Interval",
    "Overfitting",
    "block_bootstrap",
    "deflated_sharpe",
    "expected_best_sharpe",
    "overfitting",
    "probabilistic_sharpe",
]

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


@dataclass(frozen=True, slots=True)
class Overfitting:
    """Of the strategy chosen in sample, over all symmetric splits.

    probability: share of splits in which it does no better than the median strategy out of sample (PBO); loss: share in
    which its out-of-sample mean return is not above zero; slope: of its out-of-sample on its in-sample Sharpe ratio,
    None if all splits chose at the same ratio.
    """

    probability: float
    loss: float
    slope: float | None
    splits: int


def overfitting(returns: Floats, blocks: int = 10) -> Overfitting:
    """Combinatorially symmetric cross-validation over returns float64[n, strategies] (Bailey, Borwein, López de Prado
    and Zhu 2017).

    `blocks` is even; each of the C(blocks, blocks/2) halves chooses the strategy with the best Sharpe ratio, the other
    half judges it. DataError for fewer than two strategies or fewer than two returns a block.
    """
    if returns.ndim != 2 or returns.shape[1] < 2 or blocks < 2 or blocks % 2 or len(returns) < 2 * blocks:
        raise DataError(
            f"overfitting needs returns of at least two strategies and an even number of blocks with two returns each,"
            f" not {returns.shape} in {blocks}"
        )
    parts = np.array_split(np.arange(len(returns)), blocks)
    choices = list(combinations(range(blocks), blocks // 2))
    inside, outside = np.empty(len(choices)), np.empty(len(choices))
    worse = lost = 0.0
    for at, chosen in enumerate(choices):
        rows = np.concatenate([parts[i] for i in chosen])
        rest = np.concatenate([parts[i] for i in range(blocks) if i not in chosen])
        trained, judged = _ratios(returns[rows]), _ratios(returns[rest])
        best = int(np.argmax(trained))
        rank = (np.sum(judged < judged[best]) + 0.5 * (np.sum(judged == judged[best]) + 1)) / (len(judged) + 1)
        worse += rank <= 0.5
        lost += float(np.mean(returns[rest, best])) <= 0.0
        inside[at], outside[at] = trained[best], judged[best]
    spread = float(np.var(inside))
    slope = float(np.mean((inside - inside.mean()) * (outside - outside.mean()))) / spread if spread > 0 else None
    return Overfitting(worse / len(choices), lost / len(choices), slope, len(choices))


def _ratios(returns: Floats) -> Floats:
    """Per-period Sharpe ratio of each column; 0 without variation."""
    spread = returns.std(axis=0, ddof=1)
    ratios: Floats = np.divide(returns.mean(axis=0), spread, out=np.zeros(returns.shape[1]), where=spread > 0)
    return ratios


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
