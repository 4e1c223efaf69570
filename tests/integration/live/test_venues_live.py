"""The same day at every venue that the local exchange speaks: orders, fills, cancels, faults, the books at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from cryptoai.core.clock import SECOND
from cryptoai.core.errors import TransientError
from cryptoai.core.messages import OrderStatus, Side
from cryptoai.core.money import Quantity
from cryptoai.testing.exchange.server import DIALECTS
from cryptoai.testing.exchange.small import Bench

S = OrderStatus
Open = Callable[..., AbstractContextManager[Bench]]
CREATE = {"binance_usdm": "/v1/order", "binance_spot": "/v3/order", "bybit_linear": "/order/create"}


@pytest.fixture(params=sorted(DIALECTS))
def market(request: pytest.FixtureRequest, open_bench: Open) -> Iterator[Bench]:
    with open_bench(venue=request.param) as made:
        yield made


def test_a_taker_and_its_position(market: Bench) -> None:
    """Price, fee, id and time of the fill are the exchange's, the position is the fill."""
    client = market.account()
    venue = market.venue(client)
    order = market.send(venue, Side.BUY, "3", "100.3")
    market.hear(venue, lambda: S.FILLED in market.statuses(venue, order))
    (fill,), (booked,) = market.fills(venue, order), market.ledger(client)["fills"]
    assert (str(fill.price), str(fill.quantity), str(fill.fee)) == ("100.1", "3", booked["fee"])
    assert (fill.fill_id, fill.event_time, fill.maker) == (str(booked["id"]), booked["time"], False)
    assert venue.positions(market.now) == {market.made.id: Quantity(3)}


def test_a_maker_waits_and_is_filled(market: Bench) -> None:
    """Post-only below the ask rests, is listed as it was sent, and fills as a maker when the market comes."""
    venue = market.venue(market.account())
    order = market.send(venue, Side.BUY, "2", "99.8", how="post_only")
    market.hear(venue, lambda: market.statuses(venue, order) == [S.OPEN])
    (listed,) = venue.open_orders(market.now)
    assert (listed.client_order_id, listed.kind, listed.quantity) == (order, "post_only", Quantity(2))
    market.go(2 * SECOND)
    market.hear(venue, lambda: S.FILLED in market.statuses(venue, order))
    assert all(fill.maker for fill in market.fills(venue, order))


def test_post_only_never_takes(market: Bench) -> None:
    """What would take is rejected or ends unfilled."""
    venue = market.venue(market.account())
    order = market.send(venue, Side.BUY, "1", "100.1", how="post_only")
    market.hear(venue, lambda: bool(market.statuses(venue, order)) and market.statuses(venue, order)[-1].final)
    assert market.fills(venue, order) == []


def test_a_partial_fill_is_cancelled(market: Bench) -> None:
    """Ten of 25, then the rest goes; asking again changes nothing."""
    venue = market.venue(market.account())
    order = market.send(venue, Side.BUY, "25", "100.1")
    market.hear(venue, lambda: market.filled(venue, order) == Quantity(10))
    venue.cancel(order, market.now)
    market.hear(venue, lambda: S.CANCELLED in market.statuses(venue, order))
    venue.cancel(order, market.now)
    assert market.filled(venue, order) == Quantity(10)


def test_a_lost_answer_is_looked_up(market: Bench) -> None:
    """The order was taken and is found, once."""
    client = market.account()
    venue = market.venue(client, timeout_s=1.0)
    market.send(venue, Side.BUY, "1", "99", decision=9)
    market.exchange.faults.add("drop_ack", path=CREATE[market.made.venue], method="POST", times=1)
    with pytest.raises(TransientError):
        market.send(venue, Side.BUY, "1", "99.5")
    order = market.ledger(client)["orders"][1]["client_id"]
    market.hear(venue, lambda: market.statuses(venue, order) == [S.OPEN])
    assert len(market.ledger(client)["orders"]) == 2


def test_a_cut_stream_loses_nothing(market: Bench) -> None:
    """The market comes while nobody listens."""
    client = market.account()
    venue = market.venue(client)
    market.ready(venue)
    order = market.send(venue, Side.BUY, "2", "99.8")
    market.exchange.faults.add("drop_message")
    market.go(2 * SECOND)
    market.exchange.disconnect()
    market.exchange.faults.heal()
    market.hear(venue, lambda: S.FILLED in market.statuses(venue, order))
    assert market.filled(venue, order) == Quantity(2)
    assert [f.fill_id for f in market.fills(venue, order)] == [str(f["id"]) for f in market.ledger(client)["fills"]]


def test_a_new_connection_finds_old_orders(market: Bench) -> None:
    """By their ids, with their fills."""
    client = market.account()
    before = market.venue(client)
    order = market.send(before, Side.BUY, "2", "99.8")
    before.close()
    market.go(2 * SECOND)
    venue = market.venue(client)
    venue.cancel(order, market.now)
    market.hear(venue, lambda: S.FILLED in market.statuses(venue, order))
    assert market.filled(venue, order) == Quantity(2)


def test_what_cannot_be_paid_is_rejected(market: Bench) -> None:
    """A sentence of the exchange's, and no order."""
    client = market.account(cash=100)
    venue = market.venue(client, leverage=1)
    order = market.send(venue, Side.BUY, "9", "100.1")
    market.hear(venue, lambda: market.statuses(venue, order) == [S.REJECTED])
    assert market.ledger(client)["orders"] == []
