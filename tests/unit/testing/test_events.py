"""The synthetic order books are ones that a venue could have sent."""

from dataclasses import fields

import numpy as np
import pytest

from cryptoai.core.errors import DataError
from cryptoai.data_universe.events import ASK, BID, CLEAR, LEVEL, QUOTE, TRADE, EventArray
from cryptoai.testing.events import synthetic_events


def replay(events: EventArray) -> None:
    """Plain dictionaries: no row may cross the book, every quote is the touch, every trade is at the touch."""
    books: dict[int, dict[int, int]] = {BID: {}, ASK: {}}
    whole = False
    for row in range(len(events)):
        kind, side = int(events.kind[row]), int(events.side[row])
        price, quantity = int(events.price[row]), int(events.qty[row])
        best = {s: s * max((s * p for p in books[s]), default=0) for s in books}
        if kind == CLEAR:
            books, whole = {BID: {}, ASK: {}}, False
        elif kind == LEVEL and quantity:
            books[side][price] = quantity
        elif kind == LEVEL:
            del books[side][price]
        elif kind == TRADE:
            assert price == best[-side]
            assert 0 < quantity < books[-side][price]
        else:
            assert kind == QUOTE
            assert (price, quantity) == (best[side], books[side][best[side]])
        whole = whole or bool(events.last[row])
        if whole:
            assert max(books[BID]) < min(books[ASK])
            assert not events.last[row] or len(books[BID]) == len(books[ASK]) == 12


@pytest.mark.parametrize("seed", [1, 2])
def test_both_books_are_valid_at_every_row(seed: int) -> None:
    """Never crossed, quotes and trades at the touch, equally deep on both sides at the end of each message."""
    for events in synthetic_events(seed, 4000):
        replay(events)


def test_rows_come_in_order_and_in_the_wanted_number() -> None:
    """known_at rises, no row is known before it happened, and the perpetual has almost n rows."""
    perp, spot = synthetic_events(4, 3000)
    assert 2990 <= len(perp) <= 3000
    for events in (perp, spot):
        assert (np.diff(events.known_at) >= 0).all()
        assert (events.event_time < events.known_at).all()
        assert events.last[-1] == 1
        assert set(events.kind.tolist()) == {LEVEL, TRADE, CLEAR, QUOTE}
    assert abs(int(perp.event_time[-1]) - int(spot.event_time[-1])) < 100_000_000


def test_seeds_decide() -> None:
    """Equal seeds give equal arrays, others do not, and columns have the types of an event array."""
    first, again, other = (synthetic_events(seed, 500)[0] for seed in (1, 1, 2))
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()
    types = {f.name: getattr(first, f.name).dtype.name for f in fields(first)}
    assert types["kind"] == types["side"] == types["last"] == "int8"
    assert types["event_time"] == types["price"] == "int64"


def test_the_spot_follows_the_perpetual() -> None:
    """Both end near the same fair price."""
    perp, spot = synthetic_events(6, 6000)
    ends = [events.price[(events.kind == QUOTE) & (events.side == BID)][-1] for events in (perp, spot)]
    assert ends[1] / 10 == pytest.approx(ends[0], abs=40)
    assert np.ptp(perp.price[perp.kind == QUOTE]) > 10


def test_too_few_rows_are_refused() -> None:
    """A snapshot alone is no market."""
    with pytest.raises(DataError, match="100 or more"):
        synthetic_events(1, 99)
