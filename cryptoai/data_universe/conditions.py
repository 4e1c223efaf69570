"""What the judge needs of a market, read out of the state that the decision saw.

Markets (`execution.ports.Market`) hand it to the kernel beside the state, so that limits and model look at the same
numbers, through the feature store too. A masked feature stays unknown: the limits decide what that means.
"""

from __future__ import annotations

import math

import numpy as np

from cryptoai.core.messages import Conditions
from cryptoai.core.state import StateVector
from cryptoai.data_universe import schema
from cryptoai.data_universe.facts import Facts

__all__ = ["bar_conditions", "conditions"]

_BPS = 1e-4
_DAY_S = 86_400
_VOLATILITY = schema.index("realised_volatility_30s")
_TURNOVER = schema.index("notional_rate_30s")
_FUNDING = schema.index("funding_predicted"), schema.index("funding_rate")
_FUNDING_TIME = schema.index("funding_time")
_BARS, _LEAST_BARS = 24, 12
_PARKINSON = 1 / math.sqrt(4 * math.log(2))
_EVENTS = tuple(
    schema.index(name)
    for name in (
        "news_severity_1h",
        "distress_1d",
        "venue_incident",
        "network_incident",
        "macro_time_to",
        "macro_time_since",
        "unlock_time_to",
        "maintenance_time_to",
    )
)


def conditions(state: StateVector) -> Conditions:
    """The last half minute's volatility over a day (square root of time), its turnover over a minute, the funding that
    comes next (announced, else as last paid) and the worst event in force, near in time or in the news."""
    seen = [value if known else None for value, known in zip(state.floats(), state.present(), strict=True)]
    volatility, turnover, due = seen[_VOLATILITY], seen[_TURNOVER], seen[_FUNDING_TIME]
    funding = next((seen[place] for place in _FUNDING if seen[place] is not None), None)
    return Conditions(
        instrument=state.instrument,
        time=state.known_at,
        volatility_bps=volatility * math.sqrt(_DAY_S / 30) if volatility is not None else None,
        turnover=60 * math.expm1(turnover) if turnover is not None else None,
        funding_rate=funding * _BPS if funding is not None else None,
        funding_in_s=3600 * math.expm1(due) if due is not None else None,
        event_severity=max((value for place in _EVENTS if (value := seen[place]) is not None), default=None),
    )


def bar_conditions(known: Conditions, bars: Facts, seen: int) -> Conditions:
    """`known`, with what half a minute of a book cannot say where there are bars only, from the first `seen` of them.

    Volatility is the root mean square of the last 24 returns from close to close (unknown before 12), or the range of
    the newest bar if that moved more (Parkinson 1980, Journal of Business 53), over a day. Turnover is the newest bar's
    volume at its close, per minute.
    """
    newest = slice(max(0, seen - _BARS - 1), seen)
    if seen <= _LEAST_BARS:
        return known.model_copy(update={"volatility_bps": None, "turnover": None})
    width, high, low, close, volume = (
        bars.column(name)[newest] for name in ("interval_s", "high", "low", "close", "volume")
    )
    moved = float(np.sqrt(np.mean(np.diff(np.log(close)) ** 2)))
    ranged = _PARKINSON * math.log(float(high[-1]) / float(low[-1]))
    daily = max(moved, ranged) * math.sqrt(_DAY_S / float(width[-1]))
    turnover = 60 * float(volume[-1]) * float(close[-1]) / float(width[-1])
    return known.model_copy(update={"volatility_bps": daily / _BPS, "turnover": turnover})
