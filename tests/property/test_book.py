"""The compiled book against a dictionary: whatever the rows, both must agree."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cryptoai.data_universe.events import ASK, BID, CLEAR, GAP, LEVEL, QUOTE, TRADE, EventArray
from cryptoai.data_universe.market_microstructure.book import Book

Row = tuple[int, int, int, int]
PRICES = st.one_of(st.integers(1, 40), st.integers(4000, 5000))
LEVELS = st.tuples(st.just(LEVEL), st.sampled_from([BID, ASK]), PRICES, st.integers(0, 5))
OTHERS = st.tuples(st.sampled_from([CLEAR, GAP, TRADE, QUOTE]), st.just(BID), PRICES, st.integers(0, 5))
ROWS = st.lists(st.one_of(LEVELS, LEVELS, LEVELS, LEVELS, OTHERS), max_size=120)


def _events(rows: list[Row]) -> EventArray:
    kind, side, price, qty = np.array([(CLEAR, 0, 0, 0), *rows], np.int64).T.copy()
    time = np.arange(len(kind))
    ones = np.ones(len(kind), np.int8)
    return EventArray(time, time, kind.astype(np.int8), side.astype(np.int8), ones, price, qty)


def _replay(rows: list[Row]) -> tuple[dict[int, dict[int, int]], bool]:
    book: dict[int, dict[int, int]] = {BID: {}, ASK: {}}
    known = True
    for kind, side, price, qty in rows:
        if kind in (CLEAR, GAP):
            book, known = {BID: {}, ASK: {}}, kind == CLEAR
        elif kind == LEVEL and known:
            book[side][price] = qty
    return {side: {p: q for p, q in levels.items() if q} for side, levels in book.items()}, known


@given(ROWS)
@settings(max_examples=300, deadline=None)
def test_book_equals_a_dictionary_replay(rows: list[Row]) -> None:
    """Levels, order, best prices, quantities and knowledge are those of a plain dictionary."""
    book = Book(capacity=64)
    book.apply(_events(rows))
    expected, known = _replay(rows)
    assert book.known == known
    for side, sign in ((BID, -1), (ASK, 1)):
        wanted = sorted(expected[side].items(), key=lambda level: sign * level[0])
        prices, qtys = book.top(side, 1000)
        assert list(zip(prices.tolist(), qtys.tolist(), strict=True)) == wanted
        assert book.count(side) == len(wanted)
        assert (book.best_bid if side == BID else book.best_ask) == (wanted[0][0] if wanted else 0)
        assert all(book.quantity(side, price) == qty for price, qty in wanted)


@given(ROWS, st.integers(0, 120))
@settings(deadline=None)
def test_depth_is_conserved_row_by_row(rows: list[Row], cut: int) -> None:
    """Applying in two parts ends in the same arrays: nothing is lost when the book grows in between."""
    events = _events(rows)
    whole, halves = Book(capacity=64), Book(capacity=64)
    whole.apply(events)
    halves.apply(events, 0, min(cut, len(events)))
    halves.apply(events, min(cut, len(events)))
    size = min(len(whole.arrays[1]), len(halves.arrays[1]))
    assert all(np.array_equal(a[:size], b[:size]) for a, b in zip(whole.arrays, halves.arrays, strict=True))


@given(
    st.lists(st.tuples(st.integers(50, 150), st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)))), min_size=1)
)
@settings(deadline=None)
def test_a_valid_feed_never_crosses(messages: list[tuple[int, list[tuple[int, int]]]]) -> None:
    """Messages that keep bids below a mid and asks above it, clearing the other side first, never leave it crossed."""
    book = Book(capacity=64)
    standing: dict[int, dict[int, int]] = {BID: {}, ASK: {}}
    for mid, offsets in messages:
        rows = [(LEVEL, side, p, 0) for side in (ASK, BID) for p in standing[side] if (p - mid) * side >= 0]
        for n, (offset, qty) in enumerate(offsets):
            side = BID if n % 2 else ASK
            rows.append((LEVEL, side, max(1, mid - side * offset) if side == BID else mid + offset, qty))
        rows = [row for row in rows if row[1] == ASK or row[2] < mid or row[3] == 0]
        message = _events(rows)
        book.apply(message, 0 if not any(standing.values()) and not book.known else 1)
        for _, side, price, qty in rows:
            standing[side][price] = qty
            if not qty:
                del standing[side][price]
        assert not book.crossed()
        assert (book.count(BID), book.count(ASK)) == (len(standing[BID]), len(standing[ASK]))
