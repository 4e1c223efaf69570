"""Performance figures of an equity curve and of its fills, each with its standard definition; no figure is smoothed.

The report, the CLI and training's evidence call it. It must never annualise a sample that is too short to say anything
about a year: `Performance` leaves those figures empty and says why. Returns are simple, a year has 365 days (crypto
trades on all of them), standard deviations use ddof = 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryptoai.core.clock import SECOND

__all__ = [
    "MIN_DAYS",
    "YEAR_NS",
    "Drawdown",
    "Performance",
    "cagr",
    "calmar",
    "drawdown",
    "expected_shortfall",
    "kurtosis",
    "performance",
    "period_returns",
    "rolling_sharpe",
    "sharpe",
    "skewness",
    "sortino",
    "tail_ratio",
    "value_at_risk",
    "volatility",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

YEAR_NS = 365 * 86_400 * SECOND
MIN_DAYS = 30
"""Below this many days the yearly figures of a sample are extrapolation and stay empty."""


@dataclass(frozen=True, slots=True)
class Drawdown:
    """`depth` is the largest fall from a running peak as a share of it (positive); `longest_ns` the longest time
    between a peak and its recovery, or the end of the curve."""

    depth: float
    longest_ns: int


@dataclass(frozen=True, slots=True)
class Performance:
    """Figures of one equity curve; None where they are undefined or the sample is too short (see `note`).

    Shares are fractions (0.01 is 1 %). `sharpe_period` is per sampling period, never scaled;
    var_95 and es_95 are losses a period, positive is a loss.
    """

    start_ns: int
    end_ns: int
    periods: int
    total_return: float
    max_drawdown: float
    drawdown_ns: int
    volatility_period: float | None
    sharpe_period: float | None
    var_95: float | None
    es_95: float | None
    skew: float | None
    tail_ratio: float | None
    cagr: float | None
    volatility: float | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    note: str


def period_returns(equity: Floats) -> Floats:
    """Simple returns, float64[n - 1], of an equity curve float64[n]; 0 once everything is lost."""
    before = equity[:-1]
    grown = np.divide(equity[1:], before, out=np.ones(len(before)), where=before > 0)
    return grown - 1.0


def cagr(total_return: float, years: float) -> float:
    """Compound annual growth rate; -1 once everything is lost."""
    return (1.0 + total_return) ** (1.0 / years) - 1.0 if total_return > -1.0 else -1.0


def volatility(returns: Floats, periods_per_year: float) -> float | None:
    """Annual standard deviation (ddof = 1); None under two returns."""
    return float(np.std(returns, ddof=1)) * math.sqrt(periods_per_year) if len(returns) > 1 else None


def sharpe(returns: Floats, periods_per_year: float) -> float | None:
    """Mean over standard deviation, annualised, against a zero risk-free rate (Sharpe 1994); None without variation."""
    if len(returns) < 2 or _constant(returns):
        return None
    return float(np.mean(returns) / np.std(returns, ddof=1)) * math.sqrt(periods_per_year)


def sortino(returns: Floats, periods_per_year: float) -> float | None:
    """Mean over downside deviation against zero, sqrt(mean(min(r, 0)^2)), annualised; None without a loss."""
    downside = math.sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2))) if len(returns) else 0.0
    return float(np.mean(returns)) / downside * math.sqrt(periods_per_year) if downside > 0 else None


def calmar(annual_growth: float, depth: float) -> float | None:
    """CAGR over maximum drawdown; None without a drawdown."""
    return annual_growth / depth if depth > 0 else None


def drawdown(times: Ints, equity: Floats) -> Drawdown:
    """Deepest and longest fall under the running peak; times int64[n] ns."""
    peaks = np.maximum.accumulate(equity)
    depth = float(np.max(1.0 - equity / peaks))
    at_peak = np.flatnonzero(equity >= peaks)
    edges = np.append(times[at_peak], times[-1])
    return Drawdown(depth, int(np.max(np.diff(edges))))


def value_at_risk(returns: Floats, level: float = 0.95) -> float | None:
    """Historical VaR: the loss that the worst 1 - level of the periods reach; linear quantile, positive is a loss."""
    return -float(np.quantile(returns, 1.0 - level)) if len(returns) else None


def expected_shortfall(returns: Floats, level: float = 0.95) -> float | None:
    """Historical CVaR: mean loss of the worst 1 - level of the periods, at least one (Rockafellar and Uryasev 2000)."""
    if not len(returns):
        return None
    worst = int((len(returns) - 1) * (1.0 - level)) + 1
    return -float(np.mean(np.partition(returns, worst - 1)[:worst]))


def skewness(returns: Floats) -> float | None:
    """Third standardised moment (population form, as the probabilistic Sharpe ratio takes it)."""
    return _moment(returns, 3)


def kurtosis(returns: Floats) -> float | None:
    """Fourth standardised moment, not in excess: 3 for a normal."""
    return _moment(returns, 4)


def tail_ratio(returns: Floats) -> float | None:
    """|95th percentile| over |5th percentile|, linear quantiles: above 1 the good tail is longer; None without one."""
    if not len(returns):
        return None
    low, high = (abs(float(np.quantile(returns, p))) for p in (0.05, 0.95))
    return high / low if low > 0 else None


def rolling_sharpe(returns: Floats, window: int, periods_per_year: float) -> Floats:
    """Sharpe ratio of the last `window` returns, float64[n]; NaN before the window is full or without variation."""
    found = np.full(len(returns), np.nan)
    if len(returns) < window or window < 2:
        return found
    views = np.lib.stride_tricks.sliding_window_view(returns, window)
    spread = views.std(axis=1, ddof=1)
    moving = views.max(axis=1) > views.min(axis=1)
    found[window - 1 :][moving] = views.mean(axis=1)[moving] / spread[moving] * math.sqrt(periods_per_year)
    return found


def performance(times: Ints, equity: Floats) -> Performance:
    """Every figure of one curve: times int64[n] ns and equity float64[n] > 0, evenly sampled, n >= 2."""
    returns = period_returns(equity)
    fall = drawdown(times, equity)
    span = int(times[-1] - times[0])
    years = span / YEAR_NS
    scale = len(returns) / years
    total = float(equity[-1] / equity[0] - 1.0)
    long_enough = years * 365 >= MIN_DAYS
    growth = cagr(total, years) if long_enough else None

    def yearly(figure: Callable[[Floats, float], float | None]) -> float | None:
        return figure(returns, scale) if long_enough else None

    return Performance(
        start_ns=int(times[0]),
        end_ns=int(times[-1]),
        periods=len(returns),
        total_return=total,
        max_drawdown=fall.depth,
        drawdown_ns=fall.longest_ns,
        volatility_period=volatility(returns, 1.0),
        sharpe_period=sharpe(returns, 1.0),
        var_95=value_at_risk(returns),
        es_95=expected_shortfall(returns),
        skew=skewness(returns),
        tail_ratio=tail_ratio(returns),
        cagr=growth,
        volatility=yearly(volatility),
        sharpe=yearly(sharpe),
        sortino=yearly(sortino),
        calmar=calmar(growth, fall.depth) if growth is not None else None,
        note="" if long_enough else _too_short(span),
    )


def _too_short(span_ns: int) -> str:
    seconds = span_ns / SECOND
    length = f"{seconds / 60:.1f} minutes" if seconds < 7200 else f"{seconds / 86_400:.1f} days"
    return f"The sample is {length} long; yearly figures need {MIN_DAYS} days and are left out."


def _constant(values: Floats) -> bool:
    return bool(np.all(values == values[0]))


def _moment(returns: Floats, order: int) -> float | None:
    if len(returns) < 2 or _constant(returns):
        return None
    centred = returns - np.mean(returns)
    return float(np.mean(centred**order) / np.mean(centred**2) ** (order / 2))
