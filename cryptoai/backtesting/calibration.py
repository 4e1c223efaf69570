"""Whether the model's forecasts meant what they said: its quantiles against what the market then did.

Read from decision records alone, so it judges what was forecast while trading, not what training remembers. A forecast
is calibrated if the realised return falls below its p-quantile with frequency p (Gneiting, Balabdaoui and Raftery
2007). Nothing here knows the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from cryptoai.backtesting.ledger import Ledger

__all__ = ["Calibration", "Coverage", "PitBin", "calibration"]

Floats = npt.NDArray[np.float64]

_LEAST = 20
"""Forecasts below which nothing can be said."""


@dataclass(frozen=True, slots=True)
class PitBin:
    """Outcomes between the quantiles `low` and `high`: `observed` share of them, of which high - low is expected."""

    low: float
    high: float
    observed: float

    @property
    def density(self) -> float:
        """1 where calibrated."""
        return self.observed / (self.high - self.low)


@dataclass(frozen=True, slots=True)
class Coverage:
    """Share of outcomes inside the central interval that should hold `nominal` of them.

    `error` is the standard error of that share if the forecasts were calibrated and their errors independent.
    """

    nominal: float
    observed: float
    error: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """`bins` are the PIT histogram with the forecast's own quantiles as edges; `bias_bps` the mean of outcome - median.

    `median_abs_bps` is the mean distance from the median forecast, `naive_abs_bps` that from no change at all.
    """

    forecasts: int
    bins: tuple[PitBin, ...]
    coverage: tuple[Coverage, ...]
    bias_bps: float | None
    median_abs_bps: float | None
    naive_abs_bps: float


def calibration(ledger: Ledger) -> Calibration | None:
    """Over every forecast whose outcome the ledger's marks show; None for fewer than twenty of them.

    Forecasts with other quantiles than the first's are left out: they cannot be counted together.
    """
    levels = tuple(ledger.forecasts[0].quantiles) if ledger.forecasts else ()
    levels = tuple(level for level in levels if 0 < level < 1)
    rows, outcomes = [], []
    for forecast in ledger.forecasts:
        outcome = _outcome(ledger, forecast.instrument, forecast.time, forecast.horizon_ns)
        if outcome is not None and tuple(forecast.quantiles) == levels:
            rows.append(list(forecast.quantiles.values()))
            outcomes.append(outcome)
    if len(rows) < _LEAST:
        return None
    return _judged(np.array(levels), np.array(rows), np.array(outcomes))


def _outcome(ledger: Ledger, instrument: str, time: int, horizon_ns: int) -> float | None:
    """The mid's return in bps from `time` to exactly the horizon later, None where either is not sampled."""
    marks = ledger.marks.get(instrument)
    first, last = np.searchsorted(ledger.times, [time, time + horizon_ns])
    if marks is None or last >= len(ledger.times):
        return None
    if ledger.times[first] != time or ledger.times[last] != time + horizon_ns:
        return None
    change = float(marks[last] / marks[first] - 1.0) * 1e4
    return change if np.isfinite(change) else None


def _judged(levels: Floats, quantiles: Floats, outcomes: Floats) -> Calibration:
    """levels [k], quantiles [n, k] and outcomes [n] in bps."""
    n = len(outcomes)
    # An outcome that equals a quantile (no move at all is common) counts half to either side of it.
    below = ((quantiles < outcomes[:, None]).sum(1) + (quantiles <= outcomes[:, None]).sum(1)) / 2
    shares = [float(np.mean(_between(below, place))) for place in range(len(levels) + 1)]
    edges = [0.0, *levels.tolist(), 1.0]
    bins = tuple(PitBin(low, high, share) for (low, high), share in zip(pairwise(edges), shares, strict=True))
    medians = quantiles[:, int(np.argmin(np.abs(levels - 0.5)))] if 0.5 in levels else None
    return Calibration(
        forecasts=n,
        bins=bins,
        coverage=_coverage(levels, bins, n),
        bias_bps=float(np.mean(outcomes - medians)) if medians is not None else None,
        median_abs_bps=float(np.mean(np.abs(outcomes - medians))) if medians is not None else None,
        naive_abs_bps=float(np.mean(np.abs(outcomes))),
    )


def _between(below: Floats, place: int) -> Floats:
    """How much of each outcome lies in bin `place`: 1, 0, or a half on its edge."""
    return np.asarray(np.clip(1.0 - np.abs(below - place), 0.0, 1.0))


def _coverage(levels: Floats, bins: tuple[PitBin, ...], n: int) -> tuple[Coverage, ...]:
    """Of each central interval that the levels make, widest last."""
    found = []
    for low in sorted((level for level in levels.tolist() if level < 0.5), reverse=True):
        high = next((level for level in levels.tolist() if abs(level - (1 - low)) < 1e-9), None)
        if high is not None:
            nominal = high - low
            observed = sum(part.observed for part in bins if part.low >= low - 1e-12 and part.high <= high + 1e-12)
            found.append(Coverage(nominal, observed, float(np.sqrt(nominal * (1 - nominal) / n))))
    return tuple(found)
