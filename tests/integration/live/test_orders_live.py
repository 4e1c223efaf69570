"""Orders through real ccxt to the local exchange: what the bot hears equals the exchange's own books."""

from __future__ import annotations

from decimal import Decimal

import ccxt
import pytest

from cryptoai.core.clock import SECOND
from cryptoai.core.errors import VenueError
from cryptoai.core.messages import Funding, OrderStatus, Side
from cryptoai.core.money import Price, Quantity
from cryptoai.testing.exchange.small import Bench
from cryptoai.testing.fakes import approved_order
from cryptoai.testing.feed_exchange import moved

S = OrderStatus


def test_a_partial_fill_is_cancelled_and_the_books_agree(market: Bench) -> None:
    """Of 25 ten are there; the rest is cancelled; quantity, price, fee and id of the fill are the exchange's."""
    client = market.account()
    venue = market.venue(client)
    order = market.send(venue, Side.BUY, "25", "100.1")
    market.hear(venue, lambda: market.filled(venue, order) == Quantity(10))
    venue.cancel(order, market.now)
    market.hear(venue, lambda: S.CANCELLED in market.statuses(venue, order))
    (fill,) = market.fills(venue, order)
    (booked,) = market.ledger(client)["fills"]
    assert (fill.fill_id, str(fill.price), str(fill.quantity)) == (str(booked["id"]), "100.1", "10")
    assert str(fill.fee) == booked["fee"] == "0.5005"
    assert fill.event_time == booked["time"]
    assert venue.positions(market.now) == {market.made.id: Quantity(10)}


def test_an_amended_order_keeps_its_id_and_its_place_at_the_exchange(market: Bench) -> None:
    """One order before and after, at the new price and size; it then fills at the new price."""
    client = market.account()
    venue = market.venue(client)
    order = market.send(venue, Side.BUY, "1", "99.5")
    wanted = approved_order(market.made, Side.BUY, "2", "99.8", time=market.now, decision=1)
    venue.amend(order, wanted, market.now)
    (resting,) = venue.open_orders(market.now)
    assert (resting.client_order_id, resting.price, resting.quantity) == (order, Price("99.8"), Quantity(2))
    market.go(2 * SECOND)
    market.hear(venue, lambda: S.FILLED in market.statuses(venue, order))
    assert market.filled(venue, order) == Quantity(2)
    assert {fill.price for fill in market.fills(venue, order)} == {Price("99.8")}
    assert len(market.ledger(client)["orders"]) == 1


def test_an_amendment_may_change_price_and_quantity_only(market: Bench) -> None:
    """Another side is another order, and one that is gone cannot be amended."""
    venue = market.venue(market.account())
    order = market.send(venue, Side.BUY, "1", "99.5")
    other = approved_order(market.made, Side.SELL, "1", "100.5", time=market.now, decision=1)
    with pytest.raises(VenueError, match="quantity and price only"):
        venue.amend(order, other, market.now)
    with pytest.raises(VenueError, match="is not open"):
        venue.amend("cai-other", other, market.now)


def test_cancel_all_leaves_nothing_open(market: Bench) -> None:
    """Both orders go, and the bot hears of both."""
    venue = market.venue(market.account())
    orders = [market.send(venue, Side.BUY, "1", price, decision=n) for n, price in enumerate(("99.5", "99.4"))]
    venue.cancel_all(market.now)
    market.hear(venue, lambda: all(S.CANCELLED in market.statuses(venue, order) for order in orders))
    assert venue.open_orders(market.now) == []


def test_margin_mode_and_leverage_are_set_before_the_first_order(market: Bench) -> None:
    """The exchange has them when the order arrives."""
    client = market.account()
    venue = market.venue(client, margin_mode="isolated", leverage=7)
    market.send(venue, Side.BUY, "1", "99.5")
    assert market.exchange.do(lambda: (client.isolated, client.leverage["BTCUSDT"])) == (True, 7)


def test_no_order_goes_out_at_another_leverage(market: Bench) -> None:
    """The exchange allows 20 only: the venue refuses to trade rather than trade at another."""
    client = market.account()
    venue = market.venue(client, leverage=50)
    with pytest.raises(VenueError, match="leverage"):
        market.send(venue, Side.BUY, "1", "99.5")
    assert market.ledger(client)["orders"] == []


def test_amounts_that_the_venue_does_not_know_are_not_sent(market: Bench) -> None:
    """A notional below the minimum is refused here, in a sentence, without a request."""
    client = market.account()
    venue = market.venue(client)
    order = market.send(venue, Side.BUY, "0.001", "99.5")
    market.hear(venue, lambda: market.statuses(venue, order) == [S.REJECTED])
    assert "below the venue's minimum" in market.said[venue][0].reason
    assert market.ledger(client)["orders"] == []


def test_two_accounts_do_not_see_each_other(market: Bench) -> None:
    """Orders, fills and positions stay with their account."""
    one, two = market.account(), market.account("key-two", "secret-two")
    first, second = market.venue(one), market.venue(two)
    order = market.send(first, Side.BUY, "3", "100.1")
    market.ready(second)
    market.hear(first, lambda: market.filled(first, order) == Quantity(3))
    second.poll(market.now)
    assert market.said[second] == []
    assert second.positions(market.now) == {}
    assert second.open_orders(market.now) == []
    with pytest.raises(VenueError, match="does not know"):
        second.cancel(order, market.now)


def test_orders_of_others_are_listed_and_never_spoken_of(market: Bench) -> None:
    """A person's order on the same account is seen by reconciliation and by nothing else."""
    client = market.account()
    venue = market.venue(client)
    market.ready(venue)
    person = ccxt.binanceusdm({"apiKey": client.key, "secret": client.secret, "enableRateLimit": False})
    person.urls["api"] = moved(person.urls["api"], market.exchange.address)
    person.create_order("BTC/USDT:USDT", "limit", "buy", 1, 99, {"clientOrderId": "by-hand"})
    (listed,) = venue.open_orders(market.now)
    assert listed.client_order_id == "by-hand"
    market.ready(venue)
    assert market.said[venue] == []


def test_funding_is_told_once_with_its_sign(market: Bench) -> None:
    """Long at a positive rate pays: a basis point of the position's worth, as the exchange's books have it."""
    client = market.account()
    venue = market.venue(client)
    order = market.send(venue, Side.BUY, "3", "100.1")
    market.hear(venue, lambda: market.filled(venue, order) == Quantity(3))
    market.go(301 * SECOND)
    market.hear(venue, lambda: any(isinstance(event, Funding) for event in market.said[venue]))
    market.go(31 * SECOND)
    market.ready(venue)
    (paid,) = [event for event in market.said[venue] if isinstance(event, Funding)]
    assert str(paid.amount) == market.ledger(client)["funding"] == "-0.029715"
    assert paid.share == Decimal("-0.0001")
    assert paid.position == Quantity(3)
