"""The book's edges: what a wrong or extreme row may not do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numba import njit

from cryptoai.core.errors import DataError
from cryptoai.data_universe.events import ASK, BID, CLEAR, GAP, LEVEL, EventArray
from cryptoai.data_universe.market_microstructure.book import (
    MAX_PRICE,
    Arrays,
    Book,
    book_apply_row,
    book_best,
    book_known,
    book_qty,
)


def _events(*rows: tuple[int, int, int, int]) -> EventArray:
    kind, side, price, qty = np.array(rows, np.int64).T.copy()
    time = np.arange(len(rows))
    ones = np.ones(len(rows), np.int8)
    return EventArray(time, time, kind.astype(np.int8), side.astype(np.int8), ones, price, qty)


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


START = (CLEAR, 0, 0, 0)


def test_a_new_book_knows_nothing() -> None:
    """Levels before the first CLEAR are ignored: the book is not known yet."""
    book = Book()
    book.apply(_events((LEVEL, BID, 10, 1)))
    assert not book.known
    assert book.best_bid == 0


def test_a_gap_makes_the_book_unknown_until_the_next_clear() -> None:
    """After GAP nothing stale can be read and levels do not count; CLEAR starts anew."""
    book = Book()
    book.apply(_events(START, (LEVEL, BID, 10, 1), (GAP, 0, 0, 0), (LEVEL, BID, 11, 1)))
    assert (book.known, book.best_bid, book.quantity(BID, 10)) == (False, 0, 0)
    book.apply(_events(START, (LEVEL, BID, 12, 1)))
    assert (book.known, book.best_bid, book.count(BID)) == (True, 12, 1)


def test_absurd_rows_are_rejected_and_counted() -> None:
    """A price of zero, below it or beyond MAX_PRICE, or a negative quantity changes nothing and grows nothing."""
    book = Book(capacity=1 << 12)
    book.apply(_events(START, (LEVEL, BID, 10, 1)))
    size = len(book.arrays[1])
    book.apply(_events((LEVEL, ASK, 0, 1), (LEVEL, ASK, -5, 1), (LEVEL, ASK, MAX_PRICE, 1), (LEVEL, BID, 10, -1)))
    assert book.rejected == 4
    assert len(book.arrays[1]) == size
    assert (book.best_bid, book.quantity(BID, 10), book.best_ask) == (10, 1, 0)


def test_a_far_level_takes_no_memory_of_the_prices_between() -> None:
    """The highest possible price is kept and looked up, and only the pages that hold levels are resident."""
    book = Book()
    book.apply(_events(START, (LEVEL, ASK, 50, 1), (LEVEL, ASK, 50, 0)))
    before = _resident_bytes()
    book.apply(_events((LEVEL, ASK, MAX_PRICE - 1, 7), (LEVEL, ASK, MAX_PRICE // 2, 3)))
    assert _resident_bytes() - before < 1 << 24
    assert (book.best_ask, book.count(ASK)) == (MAX_PRICE // 2, 2)


def test_reserving_an_absurd_price_is_an_error() -> None:
    """The caller that asks for room beyond the limit is told the limit."""
    with pytest.raises(DataError, match="not plausible"):
        Book().reserve_price(MAX_PRICE)


def test_crossed_sees_touching_prices() -> None:
    """Bid equal to ask is crossed; an empty side never is."""
    book = Book()
    book.apply(_events(START, (LEVEL, BID, 10, 1)))
    assert not book.crossed()
    book.apply(_events((LEVEL, ASK, 10, 1)))
    assert book.crossed()


@njit
def _spread(book: Arrays, price: int) -> int:
    book_apply_row(book, LEVEL, ASK, price, 2)
    if not book_known(book) or book_qty(book, ASK, price) != 2:
        return -1
    return book_best(book, ASK) - book_best(book, BID)


def test_other_compiled_code_can_drive_the_book() -> None:
    """The compiled surface works inside another compiled function and shares state with the object."""
    book = Book()
    book.apply(_events(START, (LEVEL, BID, 10, 1)))
    assert _spread(book.arrays, 13) == 3
    assert book.best_ask == 13
