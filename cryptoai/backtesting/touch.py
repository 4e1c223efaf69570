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
_PLACES = Decimal("1E-8")


class Touch(NamedTuple):
    """Best prices at the time of a fill."""

    bid: Price
    ask: Price

    @property
    def mid(self) -> Price:
        return (self.bid + self.ask).times(_HALF)


def touches(feeds: Iterable[Feed], assume: Assumptions, fills: Iterable[Fill | Liquidation]) -> dict[int, Touch]:
    """By `id` of the fill; a fill is left out where the exchange had no two-sided book.

    Candles have no book: there the spread is the one that is assumed, around the price that was paid.
    """
    traded = sorted(fills, key=lambda fill: fill.event_time)
    found: dict[int, Touch] = {}
    for feed in feeds:
        own = [fill for fill in traded if fill.instrument == feed.instrument.id]
        found |= _assumed(own, assume) if feed.bars is not None else _seen(feed, own, assume)
    return found


def _seen(feed: Feed, fills: list[Fill | Liquidation], assume: Assumptions) -> dict[int, Touch]:
    """From the tape; fills in order of time."""
    exchange, made = Exchange(feed, assume), feed.instrument
    found: dict[int, Touch] = {}
    for fill in fills:
        exchange.advance(fill.event_time)
        bid, ask = exchange.book.best_bid, exchange.book.best_ask
        if exchange.book.known and 0 < bid < ask:
            found[id(fill)] = Touch(made.price(bid), made.price(ask))
    return found


def _assumed(fills: list[Fill | Liquidation], assume: Assumptions) -> dict[int, Touch]:
    """Of those that took: half the assumed spread before the price."""
    half = Decimal(repr(assume.rules.candle_spread_bps)) / 10_000
    found: dict[int, Touch] = {}
    for fill in fills:
        if isinstance(fill, Fill) and fill.maker:
            continue
        price = fill.price.value
        mid = (price / (1 + half if fill.signed.value > 0 else 1 - half)).quantize(_PLACES)
        low, high = sorted((price, 2 * mid - price))
        found[id(fill)] = Touch(Price(low), Price(high))
    return found
