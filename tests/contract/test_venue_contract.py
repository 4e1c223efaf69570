"""What every venue must do, whoever wrote it. Add yours to `RIGS` and all of this holds for it too.

A rig is a venue on one small market: from START bid 100 x 10 and ask 100.1 x 10; at TURN sellers trade through the bid
and the market is bid 99 x 10, ask 99.1 x 10. Orders and answers take LATENCY each way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cryptoai.backtesting.assumptions import Assumptions
from cryptoai.backtesting.latency import ConstantLatency
from cryptoai.backtesting.market import Feed
from cryptoai.backtesting.venue import SimVenue
from cryptoai.core.config import BacktestConfig
from cryptoai.core.errors import InvariantError, VenueError
from cryptoai.core.messages import Fill, OrderStatus, OrderUpdate, Side
from cryptoai.core.money import Money, Price, Quantity
from cryptoai.data_universe.events import ASK, BID, CLEAR, LEVEL, TRADE, EventArray
from cryptoai.execution.ports import Venue
from cryptoai.testing.fakes import FakeMarket, FakeVenue, approved_order, make_instrument, make_quote

MS = 1_000_000
START = 1_700_000_000_000 * MS
TURN = START + 1000 * MS
END = START + 3000 * MS
LATENCY = 20 * MS
INSTRUMENT = make_instrument()
NAME = INSTRUMENT.id


@dataclass
class Rig:
    """A venue and everything it said so far."""

    venue: Venue
    said: list[OrderUpdate | Fill] = field(default_factory=list)

    def send(self, side: Side, quantity: str, price: str, at: int, **more: Any) -> str:
        order = approved_order(INSTRUMENT, side, quantity, price, time=at, **more)
        self.venue.submit(order, at)
        return order.request.client_order_id

    def listen(self, now: int) -> list[OrderUpdate | Fill]:
        news = self.venue.poll(now)
        self.said += news
        return news

    def fills(self, order: str) -> list[Fill]:
        return [event for event in self.said if isinstance(event, Fill) and event.client_order_id == order]

    def filled(self, order: str) -> Quantity:
        return sum((fill.quantity for fill in self.fills(order)), start=Quantity.zero())

    def statuses(self, order: str) -> list[OrderStatus]:
        return [e.status for e in self.said if isinstance(e, OrderUpdate) and e.client_order_id == order]


def fake_rig() -> Rig:
    quotes = [make_quote(INSTRUMENT, START, "100"), make_quote(INSTRUMENT, TURN, "99")]
    return Rig(FakeVenue(FakeMarket(quotes), {NAME: INSTRUMENT}, LATENCY))


def simulated_rig() -> Rig:
    lots = 10_000
    rows = [
        (START, CLEAR, 0, 0, 0, 0),
        (START, LEVEL, BID, 1000, lots, 0),
        (START, LEVEL, BID, 990, lots, 0),
        (START, LEVEL, ASK, 1001, lots, 1),
        (TURN, TRADE, -1, 1000, lots, 1),
        (TURN, LEVEL, BID, 1000, 0, 0),
        (TURN, LEVEL, ASK, 991, lots, 1),
        (TURN + 1, TRADE, -1, 990, 1, 1),
        (END, TRADE, -1, 990, 1, 1),
    ]
    time, kind, side, price, qty, last = np.array(rows, dtype=np.int64).T.copy()
    small = [column.astype(np.int8) for column in (kind, side, last)]
    tape = EventArray(time, time.copy(), small[0], small[1], small[2], price.copy(), qty.copy())
    assume = Assumptions(BacktestConfig(price_band_pct=1), ConstantLatency(LATENCY, LATENCY))
    return Rig(SimVenue((Feed(INSTRUMENT, tape),), assume, Money(100_000)))


RIGS: dict[str, Callable[[], Rig]] = {"fake": fake_rig, "simulated": simulated_rig}


@pytest.fixture(params=sorted(RIGS))
def rig(request: pytest.FixtureRequest) -> Rig:
    made = RIGS[request.param]()
    made.listen(START)
    return made


def test_only_what_was_minted_is_taken(rig: Rig) -> None:
    """A bare request, or anything that looks like an approved order, is refused and nothing happens."""
    request = approved_order(INSTRUMENT, Side.BUY, "1", "100", time=START).request
    for forged in (request, SimpleNamespace(request=request), None):
        thing: Any = forged
        with pytest.raises(InvariantError):
            rig.venue.submit(thing, START)
    rig.listen(START + 500 * MS)
    assert rig.said == []
    assert rig.venue.open_orders(START + 500 * MS) == []


def test_an_unknown_instrument_is_refused_for_good(rig: Rig) -> None:
    """VenueError, so that nobody tries again."""
    order = approved_order(make_instrument("fake:OTHER"), Side.BUY, "1", "100", time=START)
    with pytest.raises(VenueError):
        rig.venue.submit(order, START)


def test_a_crossing_order_takes_at_the_touch(rig: Rig) -> None:
    """It pays the ask although its limit is higher, with the taker's fee, and becomes the position."""
    order = rig.send(Side.BUY, "3", "100.3", START)
    rig.listen(START + 500 * MS)
    (fill,) = rig.fills(order)
    assert (fill.price, fill.quantity, fill.maker) == (Price("100.1"), Quantity(3), False)
    assert fill.fee == INSTRUMENT.fee(Price("100.1"), Quantity(3), maker=False)
    assert rig.venue.positions(START + 500 * MS) == {NAME: Quantity(3)}
    assert rig.venue.open_orders(START + 500 * MS) == []


def test_latency_goes_both_ways(rig: Rig) -> None:
    """The order lives one latency later, and we know it another one later, not before."""
    order = rig.send(Side.BUY, "1", "100.1", START + 100 * MS)
    rig.listen(START + 100 * MS + 2 * LATENCY - 1)
    assert rig.said == []
    rig.listen(START + 100 * MS + 2 * LATENCY)
    (fill,) = rig.fills(order)
    assert fill.event_time == START + 100 * MS + LATENCY
    assert fill.known_at == START + 100 * MS + 2 * LATENCY


def test_news_comes_once_and_in_order(rig: Rig) -> None:
    """However often it is polled: each event once, sorted by known_at, none from the future."""
    rig.send(Side.BUY, "2", "100.1", START)
    rig.send(Side.SELL, "2", "100", START + 1 * MS, decision=1)
    rig.send(Side.BUY, "1", "99.5", START + 2 * MS, decision=2)
    for now in range(START, TURN, 7 * MS):
        assert all(event.known_at <= now for event in rig.listen(now))
        assert rig.venue.poll(now) == []
    known = [event.known_at for event in rig.said]
    assert known == sorted(known)
    assert all(event.event_time <= event.known_at for event in rig.said)
    keys = [(e.client_order_id, e.fill_id if isinstance(e, Fill) else e.status) for e in rig.said]
    assert len(keys) == len(set(keys)) >= 5


def test_the_same_id_is_the_same_order(rig: Rig) -> None:
    """Sent twice, filled once."""
    order = rig.send(Side.BUY, "2", "100.1", START)
    assert rig.send(Side.BUY, "2", "100.1", START) == order
    rig.listen(START + 500 * MS)
    assert rig.send(Side.BUY, "2", "100.1", START) == order
    rig.listen(START + 900 * MS)
    assert rig.filled(order) == Quantity(2)
    assert rig.venue.positions(START + 900 * MS) == {NAME: Quantity(2)}


def test_a_passive_order_rests_until_it_is_cancelled(rig: Rig) -> None:
    """Below the ask nothing is filled; the cancel is confirmed, and asking again changes nothing."""
    order = rig.send(Side.BUY, "1", "99.5", START)
    rig.listen(START + 300 * MS)
    assert rig.statuses(order) == [OrderStatus.OPEN]
    (resting,) = rig.venue.open_orders(START + 300 * MS)
    assert resting.client_order_id == order
    assert resting.quantity == Quantity(1)
    rig.venue.cancel(order, START + 300 * MS)
    rig.listen(START + 600 * MS)
    assert rig.statuses(order) == [OrderStatus.OPEN, OrderStatus.CANCELLED]
    rig.venue.cancel(order, START + 600 * MS)
    rig.listen(END)
    assert rig.statuses(order)[2:] == []
    assert rig.fills(order) == []
    assert rig.venue.open_orders(END) == []


def test_a_passive_order_is_filled_when_the_market_comes(rig: Rig) -> None:
    """At its own price, with the maker's fee, not before the market turned."""
    order = rig.send(Side.BUY, "2", "99.8", START)
    rig.listen(TURN)
    assert rig.fills(order) == []
    rig.listen(END)
    assert rig.filled(order) == Quantity(2)
    for fill in rig.fills(order):
        assert (fill.price, fill.maker) == (Price("99.8"), True)
        assert fill.fee == INSTRUMENT.fee(fill.price, fill.quantity, maker=True)
        assert fill.event_time >= TURN


def test_no_more_is_taken_than_is_there(rig: Rig) -> None:
    """Of 25 wanted ten are visible at the limit; the rest stays open and is cancelled as a partial fill."""
    order = rig.send(Side.BUY, "25", "100.1", START)
    rig.listen(START + 400 * MS)
    assert rig.filled(order) == Quantity(10)
    assert OrderStatus.FILLED not in rig.statuses(order)
    rig.venue.cancel(order, START + 400 * MS)
    rig.listen(START + 800 * MS)
    assert rig.statuses(order)[-1] is OrderStatus.CANCELLED
    assert rig.venue.positions(START + 800 * MS) == {NAME: Quantity(10)}


def test_post_only_never_takes(rig: Rig) -> None:
    """An order that would cross on arrival is rejected; one that would not rests."""
    crossing = rig.send(Side.BUY, "1", "100.1", START, how="post_only")
    resting = rig.send(Side.BUY, "1", "99.9", START, how="post_only", decision=1)
    rig.listen(START + 500 * MS)
    assert rig.statuses(crossing) == [OrderStatus.REJECTED]
    assert rig.fills(crossing) == []
    assert rig.statuses(resting) == [OrderStatus.OPEN]


def test_an_urgent_order_takes_what_is_there_and_goes(rig: Rig) -> None:
    """IOC: after it arrived it is final, filled or not."""
    rig.send(Side.BUY, "4", "100.1", START)
    rig.listen(START + 300 * MS)
    order = rig.send(Side.SELL, "4", "100.1", START + 300 * MS, how="urgent", decision=1)
    rig.listen(START + 600 * MS)
    assert rig.filled(order) == Quantity(4)
    assert rig.venue.positions(START + 600 * MS) == {}
    assert rig.venue.open_orders(START + 600 * MS) == []


def test_reduce_only_never_opens_the_other_side(rig: Rig) -> None:
    """Ten are to be sold of a position of four: four go, and what is left never makes a short."""
    rig.send(Side.BUY, "4", "100.1", START)
    rig.listen(START + 300 * MS)
    order = rig.send(Side.SELL, "10", "100", START + 300 * MS, how="reduce", decision=1)
    rig.listen(END)
    assert rig.filled(order) == Quantity(4)
    assert rig.venue.positions(END) == {}


def test_reduce_only_without_a_position_does_nothing(rig: Rig) -> None:
    """Flat, there is nothing to reduce: no fill, and the order does not stay."""
    order = rig.send(Side.SELL, "1", "100", START, how="urgent")
    rig.listen(START + 500 * MS)
    assert rig.fills(order) == []
    assert rig.statuses(order)[-1].final
    assert rig.venue.positions(START + 500 * MS) == {}


def test_positions_are_the_sum_of_the_fills(rig: Rig) -> None:
    """Both directions, several orders: the venue's position is what its fills add up to."""
    for n, (side, quantity) in enumerate([(Side.BUY, "3"), (Side.SELL, "5"), (Side.BUY, "1")]):
        rig.send(side, quantity, "100.1" if side is Side.BUY else "100", START + n * 100 * MS, decision=n)
    rig.listen(START + 900 * MS)
    total = sum((e.signed for e in rig.said if isinstance(e, Fill)), start=Quantity.zero())
    assert total == Quantity(-1)
    assert rig.venue.positions(START + 900 * MS) == {NAME: total}


def test_cancelling_the_unknown_changes_nothing(rig: Rig) -> None:
    """VenueError says that the venue never had it, and nothing else happens."""
    with pytest.raises(VenueError, match="cai-unknown"):
        rig.venue.cancel("cai-unknown", START)
    assert rig.listen(END) == []
