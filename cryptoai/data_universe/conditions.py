"""What the judge needs of a market, read out of the state that the decision saw.

Markets (`execution.ports.Market`) hand it to the kernel beside the state, so that limits and model look at the same
numbers, through the feature store too. A masked feature stays unknown: the limits decide what that means.
"""

from __future__ import annotations

import math

from cryptoai.core.messages import Conditions
from cryptoai.core.state import StateVector
from cryptoai.data_universe import schema

__all__ = ["conditions"]

_BPS = 1e-4
_DAY_S = 86_400
_VOLATILITY = schema.index("realised_volatility_30s")
_TURNOVER = schema.index("notional_rate_30s")
_FUNDING = schema.index("funding_predicted")


def conditions(state: StateVector) -> Conditions:
    """The last half minute's volatility over a day (square root of time) and its turnover over a minute."""
    volatility = _known(state, _VOLATILITY)
    turnover = _known(state, _TURNOVER)
    funding = _known(state, _FUNDING)
    return Conditions(
        instrument=state.instrument,
        time=state.known_at,
        volatility_bps=volatility * math.sqrt(_DAY_S / 30) if volatility is not None else None,
        turnover=60 * math.expm1(turnover) if turnover is not None else None,
        funding_rate=funding * _BPS if funding is not None else None,
    )


def _known(state: StateVector, place: int) -> float | None:
    return state.floats()[place] if state.present()[place] else None
