"""What a taker pays past the visible book: a temporary impact that grows with the square root of the excess.

`exchange.Exchange` asks it for one price when a market order, a stop or nothing else is left to take. The law is the
square-root law of market impact (Tóth et al. 2011, Bouchaud et al. 2018): a quantity Q moves a market of size V by
about sigma x sqrt(Q / V). Here V is what the side displayed, sigma a configured move (for a candle at least its range),
and all of the excess pays the marginal price, which is the costly reading. As in propagator models the impact decays:
what was taken past the book before counts with weight 2^(-age / half life), so that slicing an order does not pay.
"""

from __future__ import annotations

import math

from cryptoai.core.clock import SECOND
from cryptoai.core.config import BacktestConfig

__all__ = ["Impact"]


class Impact:
    """The excess that we took from each side, and what the next one costs."""

    def __init__(self, rules: BacktestConfig) -> None:
        self._move, self._half_life = rules.impact_bps / 1e4, rules.impact_half_life_s * SECOND
        self._taken = {1: (0.0, 0), -1: (0.0, 0)}

    @property
    def on(self) -> bool:
        return self._move > 0

    def ticks(self, side: int, lots: int, visible: tuple[int, int], time: int, least: float = 0.0) -> int:
        """The price for `lots` more than the (last price in ticks, displayed lots) of the other side, rounded against
        us; at least 1. `least` is the smallest move for as much again as is visible."""
        last, shown = visible
        move = max(self._move, least) * math.sqrt((self._before(side, time) + lots) / max(shown, 1))
        return last + math.ceil(last * move) if side > 0 else max(1, last - math.ceil(last * move))

    def took(self, side: int, lots: int, time: int) -> None:
        """Remembers what was taken past the book."""
        self._taken[side] = (self._before(side, time) + lots, time)

    def _before(self, side: int, time: int) -> float:
        lots, since = self._taken[side]
        return lots * 2.0 ** (-(time - since) / self._half_life) if lots else 0.0
