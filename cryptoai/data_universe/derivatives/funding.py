"""Funding intervals from the payments themselves: venues change them, and timestamps jitter by milliseconds.

The importer of funding tapes calls this where a file does not say its interval. It must never move a time.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cryptoai.core.clock import SECOND

__all__ = ["INTERVALS_S", "funding_intervals"]

INTERVALS_S = (3_600, 7_200, 14_400, 21_600, 28_800, 43_200, 86_400)
"""Intervals that venues use, in seconds."""
_JITTER = 120 * SECOND
_DEFAULT = 28_800.0

Floats = npt.NDArray[np.float64]


def funding_intervals(event_time: npt.NDArray[np.int64], unknown: float = _DEFAULT) -> Floats:
    """Seconds since the payment before, for sorted times of one instrument: float64[n], one of `INTERVALS_S`.

    A step within two minutes of an interval is that interval. A step that is none (a hole), or that is a multiple of
    the interval on both sides of it (a missing payment), has the interval of the payment before it; the first
    payment has that of the second. `unknown` is for a tape of one payment.
    """
    steps = _snapped(np.diff(event_time))
    if not np.isfinite(steps).any():
        return np.full(len(event_time), unknown)
    found = np.empty(len(event_time))
    current = steps[np.isfinite(steps)][0]
    for place, step in enumerate(steps):
        later = steps[place + 1 : place + 2]
        missing = step > current and step % current == 0 and (not len(later) or later[0] == current)
        current = current if not np.isfinite(step) or missing else step
        found[place + 1] = current
    found[0] = found[1]
    return found


def _snapped(steps: npt.NDArray[np.int64]) -> Floats:
    """Each step as the interval that it is, NaN if it is none."""
    known = np.array(INTERVALS_S, np.int64) * SECOND
    nearest = known[np.abs(steps[:, None] - known).argmin(axis=1)] if len(steps) else steps
    return np.where(np.abs(steps - nearest) <= _JITTER, nearest / SECOND, np.nan)
