"""The simulated venue keeps the promises of the `Venue` port, with orders that the real judge approved."""

from collections.abc import Callable

import numpy as np
import pytest

from cryptoai.backtesting.assumptions import Assumptions
from cryptoai.backtesting.latency import ConstantLatency
from cryptoai.backtesting.market import Feed
from cryptoai.backtesting.venue import SimVenue
from cryptoai.core.errors import DataError, VenueError
from cryptoai.core.instruments import Instrument
from cryptoai.core.messages import Fill, OrderStatus, OrderUpdate, Side
from cryptoai.core.money import Money
from cryptoai.data_universe.events import ASK, BID, CLEAR, LEVEL, TRADE, EventArray
from cryptoai.risk_engine.approved import ApprovedOrder
from cryptoai.testing.fakes import approved_order, make_instrument

LATENCY = 10
ASSUME = Assumptions(latency=ConstantLatency(LATENCY, LATENCY))
MADE = make_instrument().model_copy(update={"min_notional": Money.zero()})

Order = Callable[..., ApprovedOrder]


def _events(made: Instrument) -> EventArray:
    """Bid 1000 x 500 ticks and steps, ask 1001 x 20; a seller hits 1000 at 100 ns and goes through it at 200 ns."""
    rows = [
        (0, CLEAR, 0, 0, 0),
        (0, LEVEL, BID, 1000, 500),
        (0, LEVEL, ASK, 1001, 20),
        (100, TRADE, -1, 1000, 400),
        (200, TRADE, -1, 999, 400),
    ]
    time, kind, side, price, qty = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    last = np.array([0, 0, 1, 1, 1], np.int8)
    return EventArray(time, time + 3, kind.astype(np.int8), side.astype(np.int8), last, price, qty)


@pytest.fixture
def venue() -> SimVenue:
    """One instrument, 10 ns each way."""
    return SimVenue((Feed(MADE, _events(MADE)),), ASSUME, Money(100_000))


def _order(
    side: Side, lots: int, ticks: int, *, time: int = 50, decision: int = 0, how: str = "limit"
) -> ApprovedOrder:
    quantity, price = str(MADE.quantity(lots)), str(MADE.price(ticks))
    return approved_order(MADE, side, quantity, price, time=time, decision=decision, how=how)  # type: ignore[arg-type]


def test_an_order_travels_both_ways(venue: SimVenue) -> None:
    """Sent at 50, it arrives at 60 and its answer is known at 70, not a nanosecond earlier."""
    venue.submit(_order(Side.BUY, 30, 1000), 50)
    assert venue.poll(69) == []
    (update,) = venue.poll(70)
    assert isinstance(update, OrderUpdate)
    assert (update.status, update.event_time, update.known_at) == (OrderStatus.OPEN, 60, 70)


def test_answers_come_once_and_in_order_of_knowledge(venue: SimVenue) -> None:
    """An acknowledgement, fills and the end; a second poll has nothing left."""
    order = _order(Side.BUY, 30, 1000)
    venue.submit(order, 50)
    answers = venue.poll(1000)
    assert [a.known_at for a in answers] == sorted(a.known_at for a in answers)
    fills = [a for a in answers if isinstance(a, Fill)]
    assert sum((f.quantity for f in fills), start=MADE.quantity(0)) == order.request.quantity
    assert answers[-1].status is OrderStatus.FILLED  # type: ignore[union-attr]
    assert venue.poll(1000) == []


def test_the_same_order_twice_is_one_order(venue: SimVenue) -> None:
    """A resend changes nothing (invariant 5)."""
    order = _order(Side.BUY, 20, 1001)
    venue.submit(order, 50)
    venue.submit(order, 55)
    assert len([a for a in venue.poll(1000) if isinstance(a, Fill)]) == 1
    assert venue.positions(1000) == {MADE.id: MADE.quantity(20)}


def test_positions_are_those_of_one_latency_ago(venue: SimVenue) -> None:
    """What is asked at t is answered with what could be in hand at t."""
    venue.submit(_order(Side.BUY, 20, 1001), 50)
    assert venue.positions(69) == {}
    assert venue.positions(70) == {MADE.id: MADE.quantity(20)}


def test_a_cancel_can_lose_the_race_against_a_fill(venue: SimVenue) -> None:
    """The seller goes through at 200; a cancel sent at 195 arrives too late and changes nothing."""
    order = _order(Side.BUY, 30, 1000)
    venue.submit(order, 50)
    venue.cancel(order.request.client_order_id, 195)
    answers = venue.poll(1000)
    assert answers[-1].status is OrderStatus.FILLED  # type: ignore[union-attr]


def test_a_cancel_in_time_ends_the_order(venue: SimVenue) -> None:
    """Cancelled before anybody reached it, the order is gone from the open ones."""
    order = _order(Side.BUY, 30, 1000)
    venue.submit(order, 50)
    assert [r.client_order_id for r in venue.open_orders(80)] == [order.request.client_order_id]
    venue.cancel(order.request.client_order_id, 80)
    statuses = [a.status for a in venue.poll(1000) if isinstance(a, OrderUpdate)]
    assert statuses == [OrderStatus.OPEN, OrderStatus.CANCELLED]
    assert venue.open_orders(1000) == []


def test_a_post_only_order_that_would_take_is_rejected_with_a_reason(venue: SimVenue) -> None:
    """The judge saw another market; the exchange says no."""
    venue.submit(_order(Side.BUY, 20, 1001, how="post_only"), 50)
    (update,) = venue.poll(1000)
    assert isinstance(update, OrderUpdate)
    assert update.status is OrderStatus.REJECTED
    assert "would take" in update.reason


def test_unknown_ids_and_instruments_are_refused_for_good(venue: SimVenue) -> None:
    """A cancel of an order never sent, and an order for an instrument without a tape."""
    with pytest.raises(VenueError, match="never sent"):
        venue.cancel("cai-unknown", 50)
    other = make_instrument("fake:ETHUSDT")
    with pytest.raises(VenueError, match="no tape"):
        venue.submit(approved_order(other, Side.BUY, "1", "100", time=50), 50)


def test_a_negative_latency_is_refused() -> None:
    """No order arrives before it is sent."""
    with pytest.raises(DataError, match="latency"):
        ConstantLatency(-1, 0)
