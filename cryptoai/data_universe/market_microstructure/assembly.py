"""Messages to event rows, in bulk: texts are collected, then parsed, judged and laid out as columns a chunk at a time.

Only the tape importer uses it. A price is judged against the median of the last nine trade and quote prices known
before it, so nothing later decides whether a row is believed, one bad print moves nothing, and a real crash is
followed after five prints. Times in a chunk are still the local clock's; the importer corrects them at the end.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from itertools import chain

import numpy as np

from cryptoai.core.instruments import Instrument
from cryptoai.data_universe.events import ASK, BID, CLEAR, GAP, LEVEL, QUOTE, TRADE, Bytes, EventArray, Ints
from cryptoai.data_universe.jit import njit
from cryptoai.data_universe.market_microstructure.book import MAX_PRICE
from cryptoai.data_universe.market_microstructure.decimals import (
    NEGATIVE,
    NOT_A_NUMBER,
    OFF_GRID,
    ROUNDED,
    Grid,
    parse_pairs,
)

__all__ = ["KINDS", "Assembly", "Levels", "joined"]

KINDS = {LEVEL: "level", TRADE: "trade", CLEAR: "clear", QUOTE: "quote", GAP: "gap"}
"""Names of the row kinds in reports."""

_ABSURD, _NO_PRICE, _NO_TRADE = 5, 6, 7
_REASONS = {
    NOT_A_NUMBER: "price or quantity is not a number",
    NEGATIVE: "negative price or quantity",
    OFF_GRID: "price is no multiple of the tick",
    _ABSURD: "absurd price",
    _NO_PRICE: "price is zero",
    _NO_TRADE: "trade of nothing",
}
_CHUNK = 1 << 16
_WINDOW = 9
_FEWEST = 3
_FAR = 20
_NEAR = 2
_NOTHING = "0\n0"

Pairs = list[list[str]]
Levels = tuple[tuple[str, int], tuple[str, int]]
"""(text, rows) of bids and of asks."""


class Assembly:
    """Rows of one capture in the making; `add_*` whole messages, `flush` when `full` and at the end."""

    def __init__(self, instrument: Instrument) -> None:
        self._grid = Grid.of(instrument)
        self._texts: list[str] = []
        self._segments = array("q")
        self._message = 0
        self._rows = 0
        self._recent = np.zeros(_WINDOW + 1, np.int64)

    @property
    def full(self) -> bool:
        return self._rows >= _CHUNK

    def add_depth(self, event: int, known: int, levels: Levels, *, snapshot: bool = False) -> None:
        """Levels of one depth message; a snapshot's begin with CLEAR."""
        if snapshot:
            self.add_mark(CLEAR, event, known)
        else:
            self._message += 1
        for side, (text, count) in zip((BID, ASK), levels, strict=True):
            if count:
                self._add(LEVEL, side, event, known, count, text)

    def add_trade(self, event: int, known: int, side: int, price: str, qty: str) -> None:
        """One trade; TypeError or ValueError if price and quantity are not texts, and nothing is added."""
        text, _ = _side([[price, qty]])
        self._message += 1
        self._add(TRADE, side, event, known, 1, text)

    def add_quote(self, event: int, known: int, bid: list[str], ask: list[str]) -> None:
        """Best (price, quantity) of both sides; TypeError or ValueError if they are not texts, and nothing is added."""
        (bid_text, _), (ask_text, _) = joined([bid], [ask])
        self._message += 1
        self._add(QUOTE, BID, event, known, 1, bid_text)
        self._add(QUOTE, ASK, event, known, 1, ask_text)

    def add_mark(self, kind: int, event: int, known: int) -> None:
        """A CLEAR or GAP row; it begins a message."""
        self._message += 1
        self._add(kind, 0, event, known, 1, _NOTHING)

    def flush(self) -> tuple[EventArray, dict[str, int], int]:
        """Rows added since the last flush (event time 0 is "not given"), refused counts by reason, rows rounded."""
        segments = np.frombuffer(self._segments, np.int64).reshape(-1, 6)
        columns = np.repeat(segments, segments[:, 5], axis=0)
        text = "".join(f"{text}\n" for text in self._texts).encode()
        price, qty, status = parse_pairs(text, self._rows, self._grid)
        kind, side = columns[:, 3].astype(np.int8), columns[:, 4].astype(np.int8)
        _judge((kind, side, price, qty), status, self._recent)
        kept = status <= ROUNDED
        message = columns[kept, 0]
        last = np.ones(len(message), np.int8)
        last[:-1] = message[1:] != message[:-1]
        events = EventArray(columns[kept, 1], columns[kept, 2], kind[kept], side[kept], last, price[kept], qty[kept])
        self._texts, self._segments, self._rows = [], array("q"), 0
        counts = np.bincount(status, minlength=_NO_TRADE + 1)
        return events, {_REASONS[code]: int(counts[code]) for code in _REASONS if counts[code]}, int(counts[ROUNDED])

    def _add(self, kind: int, side: int, event: int, known: int, count: int, text: str) -> None:
        self._segments.extend((self._message, event, known, kind, side, count))
        self._texts.append(text)
        self._rows += count


def joined(bids: Pairs, asks: Pairs) -> Levels:
    """Levels as the exchange lists them, ready to add; TypeError or ValueError if they are not pairs of texts."""
    return _side(bids), _side(asks)


def _side(pairs: Pairs) -> tuple[str, int]:
    flat: Iterable[str] = chain.from_iterable(pairs)
    text = "\n".join(flat)
    if pairs and (set(map(len, pairs)) != {2} or text.count("\n") != 2 * len(pairs) - 1):
        raise ValueError("levels are not pairs of price and quantity")
    return text, len(pairs)


@njit
def _judge(rows: tuple[Bytes, Bytes, Ints, Ints], status: Bytes, recent: Ints) -> None:
    """Mark absurd and missing prices in `status`; `recent` is the last prices as a ring and how many there were."""
    kind, side, price, qty = rows
    reference, seeds = _reference(recent), 0
    for i in range(len(kind)):
        if kind[i] in (CLEAR, GAP):
            seeds = 3 if kind[i] == CLEAR else 0
            continue
        if status[i] > ROUNDED:
            continue
        status[i] = _verdict((kind[i], side[i], price[i], qty[i]), status[i], reference)
        if status[i] > _ABSURD or price[i] >= MAX_PRICE:
            continue
        mask = 1 if side[i] == BID else 2
        if kind[i] != LEVEL or seeds & mask:  # the first level of each side of a snapshot is its best
            seeds &= ~mask if kind[i] == LEVEL else seeds
            recent[recent[_WINDOW] % _WINDOW] = price[i]
            recent[_WINDOW] += 1
            reference = _reference(recent)


@njit
def _reference(recent: Ints) -> int:
    """Median of the last prices, 0 while there are too few to judge by."""
    count = min(recent[_WINDOW], _WINDOW)
    return int(np.sort(recent[:count])[count // 2]) if count >= _FEWEST else 0


@njit
def _verdict(row: tuple[int, int, int, int], status: int, reference: int) -> int:
    kind, side, price, qty = row
    if price == 0:
        return _NO_PRICE
    if kind == TRADE and qty == 0:
        return _NO_TRADE
    return _ABSURD if _absurd(kind, side, price, reference) else status


@njit
def _absurd(kind: int, side: int, price: int, reference: int) -> bool:
    """Beyond what the book can hold, or not possible beside `reference`: far bids and asks rest, on their own side."""
    if price >= MAX_PRICE:
        return True
    if reference == 0:
        return False
    low, high = price * _NEAR < reference, price > reference * _NEAR
    if kind != LEVEL:
        return low or high
    return high if side == BID else low or price > reference * _FAR
