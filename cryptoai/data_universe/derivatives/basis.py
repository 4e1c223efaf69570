"""Basis: what a future or perpetual costs more than spot. Pure functions over aligned prices or tapes of facts.

Features, research and `cryptoai data` callers use them. Nothing here may use a price before it was known.
Source: Hull, Options, Futures, and Other Derivatives, ch. 3 and 5.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cryptoai.core.clock import SECOND
from cryptoai.core.errors import DataError
from cryptoai.data_universe.facts import Facts

__all__ = ["annualised", "basis", "basis_tape", "term_slope"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_YEAR = 365 * 86_400 * SECOND


def basis(future: Floats, spot: Floats) -> Floats:
    """(future - spot) / spot, a share; NaN where a price is missing or spot is not above 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = np.where(spot > 0, (future - spot) / spot, np.nan)
    return found


def annualised(future: Floats, spot: Floats, now: Ints, expiry_ns: int) -> Floats:
    """Basis of a dated future as simple interest a year; NaN within a day of expiry and after it."""
    left = (expiry_ns - now) / _YEAR
    return np.where(left > 1 / 365, basis(future, spot) / np.maximum(left, 1 / 365), np.nan)


def term_slope(near: Floats, far: Floats, near_ns: int, far_ns: int) -> Floats:
    """Interest a year that the curve asks between two expiries: (far / near - 1) / years."""
    if far_ns <= near_ns:
        raise DataError("the far contract must expire after the near one")
    return basis(far, near) / ((far_ns - near_ns) / _YEAR)


def basis_tape(future: Facts, spot: Facts, column: str, max_age_ns: int) -> tuple[Ints, Floats]:
    """Basis whenever either price becomes known: (known_at int64[n], basis float64[n]).

    Both are facts of one kind with a price in `column` (`mark` of mark, `close` of candles). Each price is the newest
    known then; NaN while one is not known yet or older than `max_age_ns`.
    """
    times = np.unique(np.concatenate((future.known_at, spot.known_at)))
    return times, basis(_newest(future, column, times, max_age_ns), _newest(spot, column, times, max_age_ns))


def _newest(facts: Facts, column: str, times: Ints, max_age_ns: int) -> Floats:
    """The price of the latest event known at each time, NaN if none is or if it became known too long ago."""
    if not len(facts):
        return np.full(len(times), np.nan)
    best = np.maximum.accumulate(facts.event_time)
    newest = np.maximum.accumulate(np.where(facts.event_time == best, np.arange(len(facts)), 0))
    place = np.searchsorted(facts.known_at, times, side="right") - 1
    row = newest[np.maximum(place, 0)]
    fresh = (place >= 0) & (times - facts.known_at[row] <= max_age_ns)
    return np.where(fresh, facts.column(column)[row], np.nan)
