"""The order book in compiled code: two dense arrays indexed by price in ticks, and the best price tracked in O(1).

The features, the simulated venue and the inspection replay events through it. `Book` is the Python face; the functions
`book_*` are the same machine for use inside other compiled loops. They take `Arrays`, a tuple of plain numpy arrays:

    book = Book()
    book.reserve(events)                      # once per batch: the kernel itself never allocates
    my_loop(book.arrays, events.kind, ...)    # @njit code that calls book_apply_row, book_best, book_qty, book_top
    book.rejected                             # 0, or rows that were out of range and left out

`reserve` may replace the arrays, so take `book.arrays` after it. Prices and quantities are ticks and steps; side is
BID or ASK; price 0 means "no such level". Rules of a row: LEVEL sets the quantity at a price (0 removes it); CLEAR
empties the book and makes it known; GAP empties it and makes it unknown, and LEVEL rows are ignored until the next
CLEAR; a new book is unknown; TRADE and QUOTE do not touch it. Between two rows with `last` set a book may be crossed.

The arrays are sparse: untouched prices cost no memory, and a price above `MAX_PRICE` is rejected and counted, so one
bad print cannot allocate gigabytes. This module must never see a float.
"""

from __future__ import annotations

import mmap

import numpy as np

from cryptoai.core.errors import DataError
from cryptoai.data_universe.events import BID, CLEAR, GAP, LEVEL, Bytes, EventArray, Ints
from cryptoai.data_universe.jit import lean

__all__ = [
    "MAX_PRICE",
    "Arrays",
    "Book",
    "book_apply",
    "book_apply_row",
    "book_behind",
    "book_best",
    "book_count",
    "book_known",
    "book_qty",
    "book_top",
]

Arrays = tuple[Ints, Ints, Ints]
"""(state int64[6], bids int64[capacity], asks int64[capacity]); bids[p] is the quantity in steps at p ticks."""

MAX_PRICE = 1 << 26
"""Prices reach up to this many ticks: $671,088 at Binance spot's 0.01, and at most 2 x 512 MiB of address space."""

_BEST_BID, _BEST_ASK, _BIDS, _ASKS, _KNOWN, _REJECTED = range(6)
_SMALLEST = 1 << 12


@lean
def book_apply_row(book: Arrays, kind: int, side: int, price: int, qty: int) -> None:
    """Apply one event row; a LEVEL out of the reserved range or with negative quantity is counted as rejected."""
    state, bids, asks = book
    if kind == LEVEL:
        if state[_KNOWN] == 0:
            return
        if price <= 0 or price >= len(bids) or qty < 0:
            state[_REJECTED] += 1
        elif side == BID:
            _set_bid(state, bids, price, qty)
        else:
            _set_ask(state, asks, price, qty)
    elif kind in (CLEAR, GAP):
        _clear(book)
        state[_KNOWN] = 1 if kind == CLEAR else 0


@lean
def book_apply(book: Arrays, kind: Bytes, side: Bytes, price: Ints, qty: Ints, start: int, stop: int) -> None:
    """Apply rows [start, stop) of event columns."""
    for i in range(start, stop):
        book_apply_row(book, kind[i], side[i], price[i], qty[i])


@lean
def book_best(book: Arrays, side: int) -> int:
    """Best price of a side in ticks, 0 if it is empty."""
    return int(book[0][_BEST_BID] if side == BID else book[0][_BEST_ASK])


@lean
def book_qty(book: Arrays, side: int, price: int) -> int:
    """Quantity in steps at a price, 0 if there is none."""
    if price <= 0 or price >= len(book[1]):
        return 0
    return int(book[1][price] if side == BID else book[2][price])


@lean
def book_known(book: Arrays) -> bool:
    """False before the first CLEAR and from a GAP to the next CLEAR: nothing in the book means anything."""
    return bool(book[0][_KNOWN] == 1)


@lean
def book_count(book: Arrays, side: int) -> int:
    """How many levels a side has."""
    return int(book[0][_BIDS] if side == BID else book[0][_ASKS])


@lean
def book_behind(book: Arrays, side: int, price: int) -> int:
    """The next level behind `price`; the caller knows from `book_count` that there is one."""
    return int(_next(book[1], price - 1, -1) if side == BID else _next(book[2], price + 1, 1))


@lean
def book_top(book: Arrays, side: int, prices: Ints, qtys: Ints) -> int:
    """Write the best len(prices) levels, best first, into two int64 buffers; returns how many there were."""
    state, bids, asks = book
    depth, price, step = (bids, state[_BEST_BID], -1) if side == BID else (asks, state[_BEST_ASK], 1)
    left = int(min(len(prices), state[_BIDS] if side == BID else state[_ASKS]))
    for n in range(left):
        while depth[price] == 0:
            price += step
        prices[n], qtys[n] = price, depth[price]
        price += step
    return left


@lean
def _set_bid(state: Ints, bids: Ints, price: int, qty: int) -> None:
    """Counts without a branch: whether a level comes or goes is what a processor cannot guess, three times in four."""
    before = bids[price]
    bids[price] = qty
    state[_BIDS] += (qty > 0) - (before > 0)
    if price >= state[_BEST_BID]:
        if qty > 0:
            state[_BEST_BID] = price
        elif before > 0:
            state[_BEST_BID] = _next(bids, price, -1) if state[_BIDS] > 0 else 0


@lean
def _set_ask(state: Ints, asks: Ints, price: int, qty: int) -> None:
    before = asks[price]
    asks[price] = qty
    state[_ASKS] += (qty > 0) - (before > 0)
    if price <= state[_BEST_ASK] or state[_BEST_ASK] == 0:
        if qty > 0:
            state[_BEST_ASK] = price
        elif before > 0:
            state[_BEST_ASK] = _next(asks, price, 1) if state[_ASKS] > 0 else 0


@lean
def _next(depth: Ints, price: int, step: int) -> int:
    """The next level behind `price`; the caller knows that there is one."""
    while depth[price] == 0:
        price += step
    return price


@lean
def _clear(book: Arrays) -> None:
    state, bids, asks = book
    _erase(bids, state[_BEST_BID], -1, state[_BIDS])
    _erase(asks, state[_BEST_ASK], 1, state[_ASKS])
    state[_BEST_BID] = state[_BEST_ASK] = state[_BIDS] = state[_ASKS] = 0


@lean
def _erase(depth: Ints, price: int, step: int, count: int) -> None:
    """Zero `count` levels from the best on; empty prices are only read, so that their pages stay unallocated."""
    while count > 0:
        if depth[price] != 0:
            depth[price] = 0
            count -= 1
        price += step


@lean
def _copy(source: Ints, target: Ints, price: int, step: int, count: int) -> None:
    while count > 0:
        if source[price] != 0:
            target[price] = source[price]
            count -= 1
        price += step


@lean
def _highest(kind: Bytes, price: Ints, start: int, stop: int) -> int:
    highest = 0
    for i in range(start, stop):
        if kind[i] == LEVEL and highest < price[i] < MAX_PRICE:
            highest = price[i]
    return highest


def _sparse(length: int) -> Ints:
    """Zeros whose pages exist only once written: numpy's own zeros may take 2 MiB for each far level (huge pages)."""
    pages = mmap.mmap(-1, length * 8, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        pages.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(pages, np.int64)


class Book:
    """One instrument's order book; every method but `reserve` and `apply` is a read.

    `capacity` is the highest price in ticks that fits at first; `reserve` and `apply` grow it as needed.
    """

    __slots__ = ("arrays",)

    def __init__(self, capacity: int = 1 << 20) -> None:
        size = _rounded(capacity)
        self.arrays: Arrays = (np.zeros(6, np.int64), _sparse(size), _sparse(size))

    def reserve(self, events: EventArray, start: int = 0, stop: int | None = None) -> None:
        """Make room for the LEVEL rows [start, stop), so that compiled code may apply them through `arrays`."""
        self.reserve_price(_highest(events.kind, events.price, start, len(events) if stop is None else stop))

    def reserve_price(self, price: int) -> None:
        """Make room for levels up to `price` ticks; `DataError` at MAX_PRICE and above."""
        state, bids, asks = self.arrays
        if price < len(bids):
            return
        size = _rounded(price)
        grown = (state, _sparse(size), _sparse(size))
        _copy(bids, grown[1], state[_BEST_BID], -1, state[_BIDS])
        _copy(asks, grown[2], state[_BEST_ASK], 1, state[_ASKS])
        self.arrays = grown

    def apply(self, events: EventArray, start: int = 0, stop: int | None = None) -> None:
        """Apply rows [start, stop); read the book only where the last of them has `last` set."""
        stop = len(events) if stop is None else stop
        self.reserve(events, start, stop)
        book_apply(self.arrays, events.kind, events.side, events.price, events.qty, start, stop)

    @property
    def known(self) -> bool:
        """False before the first CLEAR and from a GAP to the next CLEAR."""
        return bool(self.arrays[0][_KNOWN])

    @property
    def rejected(self) -> int:
        """LEVEL rows left out so far: price not in (0, capacity) or negative quantity."""
        return int(self.arrays[0][_REJECTED])

    @property
    def best_bid(self) -> int:
        """In ticks, 0 if there is none."""
        return int(self.arrays[0][_BEST_BID])

    @property
    def best_ask(self) -> int:
        """In ticks, 0 if there is none."""
        return int(self.arrays[0][_BEST_ASK])

    def quantity(self, side: int, price: int) -> int:
        """In steps at a price in ticks, 0 if there is none."""
        return int(book_qty(self.arrays, side, price))

    def count(self, side: int) -> int:
        """How many levels a side has."""
        return int(self.arrays[0][_BIDS if side == BID else _ASKS])

    def top(self, side: int, levels: int) -> tuple[Ints, Ints]:
        """At most `levels` best (prices, quantities), best first, int64 ticks and steps."""
        prices, qtys = np.empty(levels, np.int64), np.empty(levels, np.int64)
        found = book_top(self.arrays, side, prices, qtys)
        return prices[:found], qtys[:found]

    def crossed(self) -> bool:
        """Whether bid and ask touch or overlap; after a whole message of a valid feed they never do."""
        return 0 < self.best_ask <= self.best_bid


def _rounded(price: int) -> int:
    if price >= MAX_PRICE:
        raise DataError(f"a book price of {price} ticks is not plausible (limit {MAX_PRICE}); check the tick size")
    return max(_SMALLEST, 1 << price.bit_length())
