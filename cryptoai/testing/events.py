"""A synthetic pair of order books, perpetual and spot, as event arrays: valid, seeded, and never crossed.

Tests of books, features, venues and the kernel use it where a recorded tape would be too long or too tame. The two
follow one fair price, the spot a little later. It must never write a row that a venue could not have sent: every
message leaves a book with bids below asks, also between its rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cryptoai.core.clock import MS
from cryptoai.core.errors import DataError
from cryptoai.data_universe.events import ASK, BID, CLEAR, LEVEL, QUOTE, TRADE, EventArray

__all__ = ["synthetic_events"]

START = 1_600_000_000_000_000_000
PERP_TICKS = 600_000
"""First best bid of the perpetual in ticks of 0.1: 60,000."""
SPOT_SCALE = 10
"""Spot ticks (0.01) in one of the perpetual."""
DEPTH = 12
"""Levels a side."""
SPOT_DELAY = 3
"""Messages by which the spot's fair price lags."""

Row = tuple[int, int, int, int]
"""kind, side, price in ticks, quantity in steps."""


@dataclass
class _Book:
    """One instrument: best bid at `bid`, best ask `spacing` above, DEPTH levels a side, `spacing` ticks apart."""

    rng: np.random.Generator
    bid: int
    spacing: int
    size: int
    held: dict[tuple[int, int], int] = field(default_factory=dict)

    def snapshot(self) -> list[Row]:
        levels = [self._put(side, price) for side in (BID, ASK) for price in self._prices(side)]
        return [(CLEAR, 0, 0, 0), *levels]

    def move(self, up: bool) -> list[Row]:
        """The touch moves one level: the near side gives way before the other follows, and both stay DEPTH deep."""
        gone, come = (ASK, BID) if up else (BID, ASK)
        removed = self._drop(gone, self._prices(gone)[0])
        self.bid += self.spacing if up else -self.spacing
        rows = [removed, self._put(come, self._prices(come)[0]), self._put(gone, self._prices(gone)[-1])]
        return [*rows, self._drop(come, self._prices(come)[-1] - come * self.spacing)]

    def rest(self) -> list[Row]:
        """A quantity changes at some level, mostly near the touch."""
        side = BID if self.rng.random() < 0.5 else ASK
        return [self._put(side, self._prices(side)[min(int(self.rng.exponential(2.0)), DEPTH - 1)])]

    def trade(self, buy: bool) -> list[Row]:
        """An aggressor takes a part of the touch, never all of it: the trade, and what is left."""
        side = ASK if buy else BID
        price = self._prices(side)[0]
        there = self.held[side, price]
        taken = min(1 + int(self.rng.exponential(0.3 * there)), there - 1)
        if taken < 1:
            return self.rest()
        self.held[side, price] = there - taken
        return [(TRADE, -side, price, taken), (LEVEL, side, price, there - taken)]

    def quotes(self) -> list[Row]:
        return [(QUOTE, side, self._prices(side)[0], self.held[side, self._prices(side)[0]]) for side in (BID, ASK)]

    def _prices(self, side: int) -> list[int]:
        best = self.bid if side == BID else self.bid + self.spacing
        return [best - side * self.spacing * depth for depth in range(DEPTH)]

    def _put(self, side: int, price: int) -> Row:
        quantity = 2 + int(self.rng.gamma(2.0, self.size / 2.0))
        self.held[side, price] = quantity
        return LEVEL, side, price, quantity

    def _drop(self, side: int, price: int) -> Row:
        del self.held[side, price]
        return LEVEL, side, price, 0


def synthetic_events(seed: int, n: int) -> tuple[EventArray, EventArray]:
    """(perpetual, spot): `n` rows of the perpetual, cut at a message's end, and the spot of the same time.

    Perpetual ticks are 0.1 and steps 0.001, spot ticks 0.01 and steps 0.00001; a message every 5 ms on average, known
    1 to 20 ms after it happened. n must be at least 100.
    """
    if n < 100:
        raise DataError(f"{n} rows hold no book and a market; ask for 100 or more")
    rng = np.random.default_rng(seed)
    gaps = rng.exponential(5 * MS, n).astype(np.int64) + 1
    times = START + np.cumsum(gaps)
    drift = np.cumsum(rng.choice((-1, 0, 0, 0, 0, 0, 1), n) * (1 + (rng.random(n) < 0.02)))
    perp = _Book(rng, PERP_TICKS, 1, 2_000)
    spot = _Book(rng, PERP_TICKS * SPOT_SCALE - 200, SPOT_SCALE, 200_000)
    late = np.concatenate([np.zeros(SPOT_DELAY, dtype=np.int64), drift[:-SPOT_DELAY]])
    columns = _Columns(rng, n)
    for time, messages in zip(times, _messages(perp, drift), strict=False):
        if not columns.add(int(time), messages):
            break
    other = _Columns(rng, 4 * n)
    for time, messages in zip(times[: columns.messages], _messages(spot, late), strict=False):
        other.add(int(time), messages)
    return columns.events(), other.events()


def _messages(book: _Book, fair: npt.NDArray[np.int64]) -> Iterator[list[list[Row]]]:
    """Per moment the messages that bring `book` toward `fair` (levels from the start), or some other life in it."""
    yield [book.snapshot(), book.quotes()]
    first = book.bid
    for level in fair[1:]:
        behind = first + int(level) * book.spacing - book.bid
        if behind:
            yield [book.trade(buy=behind > 0), book.move(up=behind > 0), book.quotes()]
        elif book.rng.random() < 0.2:
            yield [book.trade(buy=bool(book.rng.random() < 0.5)), book.quotes()]
        else:
            yield [book.rest()]


class _Columns:
    """Rows as they become known; whole moments only, at most `limit` rows."""

    def __init__(self, rng: np.random.Generator, limit: int) -> None:
        self.rng, self.limit, self.messages = rng, limit, 0
        self.rows: list[tuple[int, int, int, int, int, int, int]] = []
        self._known = 0

    def add(self, time: int, messages: list[list[Row]]) -> bool:
        """False, and nothing is added, if the rows would not fit."""
        if len(self.rows) + sum(map(len, messages)) > self.limit:
            return False
        self._known = max(self._known, time + MS + int(self.rng.integers(0, 19 * MS)))
        for message in messages:
            ends = [0] * (len(message) - 1) + [1]
            self.rows += [
                (time, self._known, kind, side, last, price, quantity)
                for (kind, side, price, quantity), last in zip(message, ends, strict=True)
            ]
        self.messages += 1
        return True

    def events(self) -> EventArray:
        wide = np.array(self.rows, dtype=np.int64).T
        event_time, known_at, price, quantity = (np.ascontiguousarray(wide[place]) for place in (0, 1, 5, 6))
        kind, side, last = (wide[place].astype(np.int8) for place in (2, 3, 4))
        return EventArray(event_time, known_at, kind, side, last, price, quantity)
