"""The market around each fill: best bid and ask at the exchange when it happened, for splitting its cost.

`costs.attribute` is handed what this finds. The tape is lived through once more by an exchange that has no order of
ours, so what we took ourselves is not mistaken for the market.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from cryptoai.backtesting.assumptions import Assumptions
from cryptoai.backtesting.exchange import Exchange
from cryptoai.backtesting.market import Feed
from cryptoai.core.messages import Fill, Liquidation
from cryptoai.core.money import Price

__all__ = ["Touch", "touches"]

_HALF = Decimal("0.5")


class Touch(NamedTuple):
    """Best prices at the time of a fill."""

    bid: Price
    ask: Price

    @property
    def mid(self) -> Price:
        return (self.bid + self.ask).times(_HALF)


def touches(feeds: Iterable[Feed], assume: Assumptions, fills: Iterable[Fill | Liquidation]) -> dict[int, Touch]:
    """By `id` of the fill; a fill is left out where the exchange had no two-sided book, or lives on candles."""
    traded = sorted(fills, key=lambda fill: fill.event_time)
    found: dict[int, Touch] = {}
    for feed in feeds:
        if feed.bars is not None:
            continue
        exchange, made = Exchange(feed, assume), feed.instrument
        for fill in traded:
            if fill.instrument != made.id:
                continue
            exchange.advance(fill.event_time)
            bid, ask = exchange.book.best_bid, exchange.book.best_ask
            if exchange.book.known and 0 < bid < ask:
                found[id(fill)] = Touch(made.price(bid), made.price(ask))
    return found
