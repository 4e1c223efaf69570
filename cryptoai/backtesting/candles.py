"""Candles where there is no book: a pessimistic path through each bar, as rows of the same matching kernel.

A bar says how far the price went, not in which order, nor how much stood anywhere. The simulated exchange therefore
lives four moments of each bar: the open, the extreme that hurts us, the other extreme, the close. At each of them a
book of one level a side stands around the price, half a spread away, with a share of the bar's volume. What follows:

    a limit order fills when the price went through it by half a spread, at its own price, not when it was touched;
    a stop fills at the open if the bar opened beyond it, else at the extreme: nothing in a bar says at which price
    between the two anybody could have traded;
    a liquidation is judged at the extremes;
    stop and target in one bar: the stop comes first.

The bot's own view (`candle_events`) is later: it sees a bar when it has closed, never on its way. Bars need a volume.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import numpy as np
import numpy.typing as npt

from cryptoai.backtesting.matching import State, Tape, replay
from cryptoai.core.clock import SECOND
from cryptoai.core.config import BacktestConfig
from cryptoai.core.errors import DataError
from cryptoai.core.instruments import Contract, Instrument
from cryptoai.data_universe.events import ASK, BID, CLEAR, LEVEL, TRADE, EventArray
from cryptoai.data_universe.facts import Facts
from cryptoai.data_universe.market_microstructure.book import Book

__all__ = ["BarSource", "candle_events"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_MOMENTS = 4
_KINDS = np.array([CLEAR, LEVEL, LEVEL, TRADE], np.int8)
_SIDES = np.array([0, BID, ASK, BID], np.int8)
_LAST = np.array([0, 0, 1, 1], np.int8)


class BarSource:
    """What the exchange lives through instead of a tape; one moment a `step`."""

    def __init__(self, made: Instrument, bars: Facts, rules: BacktestConfig) -> None:
        """`bars` are of kind candles, with volumes; DataError if they are not or if they overlap."""
        self._made, self._rules = made, rules
        start, width = bars.event_time, (bars.column("interval_s") * SECOND).astype(np.int64)
        self._table = _prices(bars)
        if np.any(start[1:] < start[:-1] + width[:-1]):
            raise DataError(
                f"candles of {made.id} overlap or are not in order of time; give one interval, each bar once"
            )
        offsets = np.stack([0 * width, width // 3, 2 * width // 3, width - 1], axis=1)
        self.moments: Ints = (start[:, None] + offsets).reshape(-1)
        self._next, self._first = 0, -1

    def reserve(self, book: Book) -> None:
        """Room for every price."""
        if len(self._table):
            book.reserve_price(2 * int(self._table[:, 1].max() / float(self._made.tick)) + 2)

    def step(self, book: Book, state: State, until: int, hurts: int) -> bool:
        """Lives the next moment if it is not after `until`; whether it did. `hurts` is -1 if a fall hurts us."""
        if self._next >= len(self.moments) or self.moments[self._next] > until:
            return False
        moment = self._next % _MOMENTS
        if moment == 1:
            self._first = hurts
        time = int(self.moments[self._next])
        replay(book.arrays, self._rows(moment, time), 0, time, state)
        self._next += 1
        return True

    @property
    def now(self) -> int:
        """The moment that was lived last."""
        return int(self.moments[self._next - 1]) if self._next else 0

    def price(self) -> Decimal | None:
        """The price of that moment; None before the first."""
        return None if not self._next else self._price((self._next - 1) % _MOMENTS, (self._next - 1) // _MOMENTS)

    def impact(self) -> float:
        """The range of the bar over its open."""
        first, high, low, *_ = self._table[max(self._next - 1, 0) // _MOMENTS]
        return float((high - low) / first)

    def _price(self, moment: int, bar: int) -> Decimal:
        extremes = (2, 1) if self._first < 0 else (1, 2)
        column = (0, *extremes, 3)[moment]
        return Decimal(repr(float(self._table[bar, column])))

    def _rows(self, moment: int, time: int) -> Tape:
        bar = self._next // _MOMENTS
        bid, ask, last = _around(self._made, self._price(moment, bar), self._rules)
        lots = _lots(self._made, self._table[bar, 4] * self._rules.candle_volume_share, float(last * self._made.tick))
        price, qty = np.array([0, bid, ask, last], np.int64), np.array([0, lots, lots, 0], np.int64)
        return np.full(4, time, np.int64), _KINDS, _SIDES, _LAST, price, qty


def candle_events(made: Instrument, bars: Facts, rules: BacktestConfig) -> EventArray:
    """The bot's view of bars: the book around each close and the bar's volume as one trade, when the bar is known.

    known_at: as the bars'; event_time: the last ns of the bar.
    """
    table, rows = _prices(bars), []
    ends = bars.event_time + (bars.column("interval_s") * SECOND).astype(np.int64) - 1
    for end, known, (first, _, _, close, volume) in zip(ends, bars.known_at, table, strict=True):
        bid, ask, last = _around(made, Decimal(repr(float(close))), rules)
        depth, traded = (_lots(made, volume * share, float(close)) for share in (rules.candle_volume_share, 1.0))
        rows.append((end, known, CLEAR, 0, 0, 0, 0))
        rows.append((end, known, LEVEL, BID, 0, bid, depth))
        rows.append((end, known, LEVEL, ASK, 1, ask, depth))
        rows.append((end, known, TRADE, BID if close >= first else ASK, 1, last, traded))
    wide = np.array(rows, dtype=np.int64).reshape(-1, 7)
    event_time, known_at, kind, side, last_row, price, qty = (np.ascontiguousarray(column) for column in wide.T)
    return EventArray(
        event_time, known_at, kind.astype(np.int8), side.astype(np.int8), last_row.astype(np.int8), price, qty
    )


def _prices(bars: Facts) -> Floats:
    """open, high, low, close, volume, float64[n, 5]."""
    if bars.kind != "candles":
        raise DataError(f"a fill model of candles needs candles, not {bars.kind}")
    table = np.stack([bars.column(name) for name in ("open", "high", "low", "close", "volume")], axis=1)
    if np.isnan(table).any():
        raise DataError("a candle without price or volume cannot fill an order; leave it out of the bars")
    return table


def _around(made: Instrument, price: Decimal, rules: BacktestConfig) -> tuple[int, int, int]:
    """Bid, ask and the price itself in ticks, the spread rounded outward and at least a tick."""
    half = price * Decimal(repr(rules.candle_spread_bps)) / 10_000
    bid = max(1, int(((price - half) / made.tick).to_integral_value(ROUND_FLOOR)))
    ask = max(bid + 1, int(((price + half) / made.tick).to_integral_value(ROUND_CEILING)))
    return bid, ask, min(max(int((price / made.tick).to_integral_value()), bid), ask)


def _lots(made: Instrument, base: float, price: float) -> int:
    """Steps of a quantity in base units."""
    units = base * price / float(made.contract_size) if made.contract is Contract.INVERSE else base
    return int(units / float(made.step))
