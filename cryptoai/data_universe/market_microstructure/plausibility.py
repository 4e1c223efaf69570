"""Which rows can be believed: numbers, prices beside the prices before, and a book that never stays crossed.

Only `assembly` uses it. A price is judged against the median of the last nine trade and quote prices known before it,
so nothing later decides whether a row is believed, one bad print moves nothing, and a real crash is followed after five
prints. A book that is crossed after a whole message was made so by that message: its levels that cross are refused. A
stream that does so again and again contradicts itself, and the book is then unknown until the next snapshot.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryptoai.data_universe.events import ASK, BID, CLEAR, GAP, LEVEL, QUOTE, TRADE, Bytes, Ints
from cryptoai.data_universe.jit import njit
from cryptoai.data_universe.market_microstructure.book import (
    MAX_PRICE,
    Arrays,
    Book,
    book_apply_row,
    book_best,
    book_known,
    book_qty,
)
from cryptoai.data_universe.market_microstructure.columns import Columns
from cryptoai.data_universe.market_microstructure.decimals import NEGATIVE, NOT_A_NUMBER, OFF_GRID, ROUNDED

__all__ = ["Judge", "Verdict"]

_ABSURD, _NO_PRICE, _NO_TRADE, _QUOTE_CROSSED, _BOOK_CROSSED, _SNAPSHOT_CROSSED = range(5, 11)
_REASONS = {
    NOT_A_NUMBER: "price or quantity is not a number",
    NEGATIVE: "negative price or quantity",
    OFF_GRID: "price is no multiple of the tick",
    _ABSURD: "absurd price",
    _NO_PRICE: "price is zero",
    _NO_TRADE: "trade of nothing",
    _QUOTE_CROSSED: "crossed quote",
    _BOOK_CROSSED: "level that crosses the book",
    _SNAPSHOT_CROSSED: "snapshot of a crossed book",
}
_WINDOW = 9
_FEWEST = 3
_NEAR = 2
_OFFENCE, _TOO_OFTEN = 8, 32
_CONTRADICTIONS, _HEAT = range(2)

Rows = tuple[Bytes, Bytes, Ints, Ints]
"""kind, side, price, qty."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`kept` marks the rows that are believed; `refused` counts the others by reason; `rounded` rows have a quantity
    finer than the step; `contradictions` is how often the book was given up."""

    kept: Bytes
    refused: dict[str, int]
    rounded: int
    contradictions: int


class Judge:
    """Running state of one instrument; `book` is what the kept rows make."""

    def __init__(self) -> None:
        self.book = Book()
        self._recent = np.zeros(2 * _WINDOW + 1, np.int64)
        self._state = np.zeros(2, np.int64)

    def judge(self, columns: Columns) -> Verdict:
        """Judge whole messages. Where the book is given up, the message's last row becomes a GAP."""
        rows = (columns.kind, columns.side, columns.price, columns.qty)
        _judge(rows, columns.status, self._recent)
        self.book.reserve_price(_highest(rows, columns.status))
        before = int(self._state[_CONTRADICTIONS])
        _uncross(self.book.arrays, rows, columns.message, columns.status, self._state)
        counts = np.bincount(columns.status, minlength=_SNAPSHOT_CROSSED + 1)
        refused = {reason: int(counts[code]) for code, reason in _REASONS.items() if counts[code]}
        contradictions = int(self._state[_CONTRADICTIONS]) - before
        return Verdict((columns.status <= ROUNDED).astype(np.int8), refused, int(counts[ROUNDED]), contradictions)


@njit
def _judge(rows: Rows, status: Bytes, recent: Ints) -> None:
    """Mark absurd and missing prices in `status`; `recent` is the last prices as a ring and how many there were."""
    kind, side, price, qty = rows
    reference, seeds = _reference(recent), 0
    for i in range(len(kind)):
        if kind[i] == CLEAR or kind[i] == GAP:
            seeds = 3 if kind[i] == CLEAR else 0
            continue
        if status[i] > ROUNDED:
            continue
        status[i] = _verdict((kind[i], side[i], price[i], qty[i]), status[i], reference)
        if kind[i] == QUOTE and side[i] == ASK and i > 0 and 0 < price[i] <= price[i - 1] and kind[i - 1] == QUOTE:
            status[i - 1] = status[i] = _QUOTE_CROSSED
        if status[i] > _ABSURD or price[i] >= MAX_PRICE:
            continue
        mask = 1 if side[i] == BID else 2
        if kind[i] != LEVEL or seeds & mask:  # the first level of each side of a snapshot is its best
            seeds &= ~mask if kind[i] == LEVEL else seeds
            reference = _remember(recent, price[i])


@njit
def _remember(recent: Ints, price: int) -> int:
    """Take the price into the window; returns the new reference."""
    count = recent[_WINDOW]
    recent[_WINDOW] += 1
    old, recent[count % _WINDOW] = recent[count % _WINDOW], price
    first, place = _WINDOW + 1, _WINDOW + 1 + min(count, _WINDOW)
    if count >= _WINDOW:  # the oldest makes room: close its gap in the ordered half
        place = first
        while recent[place] != old:
            place += 1
        while place < first + _WINDOW - 1:
            recent[place] = recent[place + 1]
            place += 1
    while place > first and recent[place - 1] > price:
        recent[place] = recent[place - 1]
        place -= 1
    recent[place] = price
    return _reference(recent)


@njit
def _reference(recent: Ints) -> int:
    """Median of the last prices, 0 while there are too few to judge by."""
    count = min(recent[_WINDOW], _WINDOW)
    return int(recent[_WINDOW + 1 + count // 2]) if count >= _FEWEST else 0


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
    return high if side == BID else low


@njit
def _highest(rows: Rows, status: Bytes) -> int:
    highest = 0
    for i in range(len(status)):
        if rows[0][i] == LEVEL and status[i] <= ROUNDED and rows[2][i] > highest:
            highest = rows[2][i]
    return highest


@njit
def _uncross(book: Arrays, rows: Rows, message: Ints, status: Bytes, state: Ints) -> None:
    """Apply the rows to `book`; refuse what leaves it crossed at the end of a message."""
    kind, side, price, qty = rows
    before = np.zeros(len(kind), np.int64)
    start = 0
    for i in range(len(kind)):
        if status[i] <= ROUNDED and kind[i] != TRADE and kind[i] != QUOTE:
            before[i] = book_qty(book, side[i], price[i]) if kind[i] == LEVEL else 0
            book_apply_row(book, kind[i], side[i], price[i], qty[i])
        if i + 1 < len(kind) and message[i + 1] == message[i]:
            continue
        if kind[i] == LEVEL:
            if _crossed(book):
                _settle(book, rows, status, before, state, start, i)
            elif state[_HEAT] > 0:
                state[_HEAT] -= 1
        start = i + 1


@njit
def _settle(book: Arrays, rows: Rows, status: Bytes, before: Ints, state: Ints, first: int, last: int) -> None:
    """The message [first, last] crossed the book: take back what crosses, or give the book up."""
    kind, side, price, qty = rows
    if kind[first] == CLEAR:
        status[first : last + 1] = _SNAPSHOT_CROSSED
        _give_up(book, rows, status, last)
        return
    state[_HEAT] += _OFFENCE
    for i in range(last, first - 1, -1):
        if status[i] > ROUNDED or kind[i] != LEVEL or qty[i] == 0 or not _crossed(book):
            continue
        if price[i] >= book_best(book, ASK) if side[i] == BID else price[i] <= book_best(book, BID):
            book_apply_row(book, LEVEL, side[i], price[i], before[i])
            status[i] = _BOOK_CROSSED
    if _crossed(book) or state[_HEAT] >= _TOO_OFTEN:
        state[_CONTRADICTIONS] += 1
        state[_HEAT] = 0
        _give_up(book, rows, status, last)


@njit
def _give_up(book: Arrays, rows: Rows, status: Bytes, row: int) -> None:
    kind, side, price, qty = rows
    kind[row], side[row], price[row], qty[row], status[row] = GAP, 0, 0, 0, 0
    book_apply_row(book, GAP, 0, 0, 0)


@njit
def _crossed(book: Arrays) -> bool:
    return book_known(book) and 0 < book_best(book, ASK) <= book_best(book, BID)
