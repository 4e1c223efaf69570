"""What everybody sees of one market of the local exchange: its book, its last trades, and what changed since.

`floor.Floor` moves it along a tape; the dialects turn it into their venue's words. It knows no account: orders of
clients are matched elsewhere and never show here. It must never show a row later than the time it was moved to.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from cryptoai.backtesting.market import Feed
from cryptoai.backtesting.matching import exchange_order
from cryptoai.core.instruments import Instrument
from cryptoai.data_universe.events import ASK, BID, CLEAR, LEVEL, TRADE

__all__ = ["PublicMarket", "PublicTrade"]

_KEPT = 1000


@dataclass(frozen=True, slots=True)
class PublicTrade:
    """`time` in ns, `price` in ticks, `quantity` in steps; `bought` if the aggressor bought."""

    number: int
    time: int
    price: int
    quantity: int
    bought: bool


@dataclass(slots=True)
class _Unsaid:
    """What changed since it was last told: prices by side, trades, the first update among them."""

    prices: dict[int, set[int]] = field(default_factory=lambda: {BID: set(), ASK: set()})
    trades: list[PublicTrade] = field(default_factory=list)


class PublicMarket:
    """One instrument. Book sides are {ticks: steps}; `update` numbers the venue's messages, one for each."""

    def __init__(self, feed: Feed) -> None:
        self.made: Instrument = feed.instrument
        self.book: dict[int, dict[int, int]] = {BID: {}, ASK: {}}
        self.trades: deque[PublicTrade] = deque(maxlen=_KEPT)
        self.update = self.told = 1_000
        self.now = 0
        self._columns = exchange_order(feed.events)
        self._next, self._number = 0, 1
        self._unsaid = _Unsaid()

    @property
    def first(self) -> int:
        """When the tape begins (ns)."""
        return int(self._columns[0][0])

    @property
    def last(self) -> int:
        """When the tape ends (ns)."""
        return int(self._columns[0][-1])

    def advance(self, until_ns: int) -> None:
        """Takes in every row with a time of `until_ns` or earlier."""
        end = int(np.searchsorted(self._columns[0], until_ns, side="right"))
        rows = [column[self._next : end].tolist() for column in self._columns]
        for time, kind, side, last, price, quantity in zip(*rows, strict=True):
            if kind == TRADE:
                self._trade(time, price, quantity, bought=side > 0)
            elif kind == LEVEL:
                self._level(side, price, quantity)
            elif kind == CLEAR:
                self._clear()
            self.update += last
        self._next, self.now = max(end, self._next), max(self.now, until_ns)

    def best(self, side: int) -> tuple[int, int] | None:
        """(ticks, steps) of the best level of a side, None if it is empty."""
        levels = self.book[side]
        if not levels:
            return None
        price = max(levels) if side == BID else min(levels)
        return price, levels[price]

    def levels(self, side: int, limit: int) -> list[tuple[int, int]]:
        """The best `limit` levels of a side, best first."""
        return sorted(self.book[side].items(), reverse=side == BID)[:limit]

    def changes(self) -> dict[int, list[tuple[int, int]]]:
        """Levels that changed since the last call, 0 for one that is gone; empty sides if none did."""
        prices, self._unsaid.prices = self._unsaid.prices, {BID: set(), ASK: set()}
        return {
            side: [(price, self.book[side].get(price, 0)) for price in sorted(moved)] for side, moved in prices.items()
        }

    def new_trades(self) -> list[PublicTrade]:
        """Trades since the last call, oldest first."""
        trades, self._unsaid.trades = self._unsaid.trades, []
        return trades

    def _trade(self, time: int, price: int, quantity: int, *, bought: bool) -> None:
        trade = PublicTrade(self._number, time, price, quantity, bought)
        self._number += 1
        self.trades.append(trade)
        self._unsaid.trades.append(trade)

    def _level(self, side: int, price: int, quantity: int) -> None:
        if quantity:
            self.book[side][price] = quantity
        else:
            self.book[side].pop(price, None)
        self._unsaid.prices[side].add(price)

    def _clear(self) -> None:
        for side, levels in self.book.items():
            self._unsaid.prices[side].update(levels)
            levels.clear()
