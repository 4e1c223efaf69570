"""What a simulated exchange lives through: a recorded tape, or candles where there is none.

`exchange.Exchange` asks `source_of` and steps it. A source must never apply a row later than the time it was told.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

import numpy as np
import numpy.typing as npt

from cryptoai.backtesting.candles import BarSource
from cryptoai.backtesting.market import Feed
from cryptoai.backtesting.matching import WATCHES, State, exchange_order, replay
from cryptoai.core.config import BacktestConfig
from cryptoai.data_universe.events import EventArray
from cryptoai.data_universe.market_microstructure.book import Book

__all__ = ["Source", "TapeSource", "source_of"]

Ints = npt.NDArray[np.int64]


class Source(Protocol):
    """Times in ns, the exchange's."""

    @property
    def now(self) -> int:
        """Of the row that was applied last."""
        ...

    @property
    def moments(self) -> Ints | None:
        """The only times at which there is news, if they are few."""
        ...

    def reserve(self, book: Book) -> None:
        """Makes room in the book for everything to come."""
        ...

    def step(self, book: Book, state: State, until: int, hurts: int) -> bool:
        """Goes on, at most to `until`; True if fills or triggers should be looked at and it should be called again."""
        ...

    def price(self) -> Decimal | None:
        """The price at `now` where it is known without a book."""
        ...

    def impact(self) -> float:
        """The least move, as a share, that taking as much again as is visible makes."""
        ...


class TapeSource:
    """Recorded events, in the exchange's order."""

    moments = None

    def __init__(self, events: EventArray) -> None:
        self._events, self._tape, self._next = events, exchange_order(events), 0

    @property
    def now(self) -> int:
        return int(self._tape[0][self._next - 1]) if self._next else 0

    def reserve(self, book: Book) -> None:
        book.reserve(self._events)

    def step(self, book: Book, state: State, until: int, hurts: int) -> bool:  # noqa: ARG002 - a tape has one order
        before = self._next
        self._next = replay(book.arrays, self._tape, before, until, state)
        cut = self._next < len(self._events) and self._tape[0][self._next] <= until
        return self._next > before and bool(cut or state[0][WATCHES])

    def price(self) -> Decimal | None:
        return None

    def impact(self) -> float:
        return 0.0


def source_of(feed: Feed, rules: BacktestConfig) -> Source:
    """Candles if the feed has `bars`, else its events."""
    return BarSource(feed.instrument, feed.bars, rules) if feed.bars is not None else TapeSource(feed.events)
