"""Every fault of the local exchange, survived: nothing lost, nothing twice, nothing sent that should not be."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest

from cryptoai.backtesting.market import Feed
from cryptoai.core.clock import SECOND
from cryptoai.core.errors import TransientError, VenueError
from cryptoai.core.messages import Fill, Liquidation, OrderStatus, OrderUpdate, Side
from cryptoai.core.money import Quantity
from cryptoai.data_universe.events import ASK, BID, CLEAR, LEVEL, TRADE, EventArray
from cryptoai.execution.adapters.ccxt_limits import SharedLimiter
from cryptoai.testing.exchange.small import START, TURN, Bench, small_instrument

S = OrderStatus


def crash_feed() -> Feed:
    """Bid 100, ask 100.1; at TURN bid 92, ask 92.1, ten on each side."""
    rows = [
        (START, CLEAR, 0, 0, 0, 0),
        (START, LEVEL, BID, 1000, 10_000, 0),
        (START, LEVEL, ASK, 1001, 10_000, 1),
        (TURN, LEVEL, BID, 1000, 0, 0),
        (TURN, LEVEL, ASK, 1001, 0, 0),
        (TURN, LEVEL, BID, 920, 10_000, 0),
        (TURN, LEVEL, ASK, 921, 10_000, 1),
        (TURN + 9 * SECOND, TRADE, -1, 920, 1, 1),
    ]
    time, kind, side, price, qty, last = np.array(rows, dtype=np.int64).T.copy()
    small = [column.astype(np.int8) for column in (kind, side, last)]
    tape = EventArray(time, time.copy(), small[0], small[1], small[2], price.copy(), qty.copy())
    return Feed(small_instrument("binance_usdm"), tape)


def test_a_lost_answer_is_looked_up_and_the_order_is_one(market: Bench) -> None:
    """The order was taken, the answer never came: it is found by its id, and sending it again sends nothing."""
    client = market.account()
    venue = market.venue(client, timeout_s=1.0)
    market.send(venue, Side.BUY, "1", "99", decision=9)
    market.exchange.faults.add("drop_ack", path="/v1/order", method="POST", times=1)
    with pytest.raises(TransientError, match="may or may not have arrived"):
        market.send(venue, Side.BUY, "1", "99.5")
    (order,) = [o["client_id"] for o in market.ledger(client)["orders"][1:]]
    market.hear(venue, lambda: market.statuses(venue, order) == [S.OPEN])
    assert market.send(venue, Side.BUY, "1", "99.5") == order
    assert len(market.ledger(client)["orders"]) == 2


def test_a_failure_after_the_order_was_taken_is_no_refusal(market: Bench) -> None:
    """503, and yet it filled: the fill is found."""
    client = market.account()
    venue = market.venue(client)
    market.send(venue, Side.BUY, "1", "99", decision=9)
    market.exchange.faults.add("error_after", path="/v1/order", method="POST", times=1)
    with pytest.raises(TransientError):
        market.send(venue, Side.BUY, "2", "100.1")
    order = market.ledger(client)["orders"][1]["client_id"]
    market.hear(venue, lambda: market.filled(venue, order) == Quantity(2))
    assert market.statuses(venue, order)[-1] is S.FILLED


def test_an_order_that_never_arrived_ends_only_when_it_cannot_arrive_any_more(market: Bench) -> None:
    """Not being there proves nothing until the request is too old to be taken; a cancel meanwhile says so."""
    client = market.account()
    venue = market.venue(client, doubt_s=15.0)
    first = market.send(venue, Side.BUY, "1", "99", decision=9)
    market.exchange.faults.add("error", path="/v1/order", method="POST", times=1)
    with pytest.raises(TransientError) as raised:
        market.send(venue, Side.BUY, "1", "99.5")
    order = str(raised.value).split()[1]
    market.ready(venue)
    assert market.statuses(venue, order) == []
    with pytest.raises(TransientError, match="may still arrive"):
        venue.cancel(order, market.now)
    market.go(16 * SECOND)
    market.hear(venue, lambda: market.statuses(venue, order) == [S.REJECTED])
    assert [o["client_id"] for o in market.ledger(client)["orders"]] == [first]


def test_silence_without_a_cut_is_found_by_the_audit(market: Bench) -> None:
    """Messages are swallowed and the connection stays: the next audit tells what they said."""
    venue = market.venue(market.account(), audit_s=30.0)
    market.ready(venue)
    order = market.send(venue, Side.BUY, "2", "99.8")
    market.exchange.faults.add("drop_message")
    market.go(2 * SECOND)
    assert venue.poll(market.now)[0].status is S.OPEN
    market.go(31 * SECOND)
    market.hear(venue, lambda: market.filled(venue, order) == Quantity(2))


def test_messages_twice_and_out_of_order_are_told_once_and_in_order(market: Bench) -> None:
    """Each fill once, the end after the fills, whatever the stream does."""
    venue = market.venue(market.account())
    market.ready(venue)
    market.exchange.faults.add("duplicate")
    market.exchange.faults.add("reorder", chance=0.5)
    orders = [market.send(venue, Side.BUY, "2", "100.1", decision=n) for n in range(4)]
    market.go(3 * SECOND)
    market.hear(venue, lambda: all(S.FILLED in market.statuses(venue, order) for order in orders))
    said = market.said[venue]
    keys = [(e.client_order_id, e.fill_id if isinstance(e, Fill) else e.status) for e in said]
    assert len(keys) == len(set(keys))
    for order in orders:
        ends = [n for n, e in enumerate(said) if isinstance(e, OrderUpdate) and e.status is S.FILLED]
        fills = [n for n, e in enumerate(said) if isinstance(e, Fill) and e.client_order_id == order]
        end = next(n for n in ends if said[n].client_order_id == order)
        assert fills
        assert max(fills) < end


def test_the_rate_limit_stops_requests_until_the_exchange_says(market: Bench) -> None:
    """One 429, and nothing goes out any more: the order is not sent, and the exchange never has to ban us."""
    client = market.account()
    venue = market.venue(client)
    market.send(venue, Side.BUY, "1", "99", decision=9)
    market.ready(venue)
    weights = market.exchange.server.weights["/fapi"]
    weights.limit = 0
    order = market.send(venue, Side.BUY, "1", "99.5")
    later = market.send(venue, Side.BUY, "1", "99.5", decision=1)
    market.hear(venue, lambda: market.statuses(venue, later) == [S.REJECTED])
    assert market.statuses(venue, order) == [S.REJECTED]
    assert market.exchange.do(lambda: dict(weights._warned)) == {"127.0.0.1": 1}
    assert len(market.ledger(client)["orders"]) == 1


def test_the_rate_limit_of_one_is_the_rate_limit_of_all(market: Bench) -> None:
    """Two connections share a budget, as they share an address: the 429 of one keeps the other from asking."""
    shared = SharedLimiter(20.0, 600.0)
    one, two = (market.account(name, "secret") for name in ("one", "two"))
    first, second = (market.venue(client, limiter=shared) for client in (one, two))
    for venue in (first, second):
        market.send(venue, Side.BUY, "1", "99", decision=9)
        market.ready(venue)
    weights = market.exchange.server.weights["/fapi"]
    weights.limit = 0
    market.send(first, Side.BUY, "1", "99.5")
    order = market.send(second, Side.BUY, "1", "99.5")
    market.hear(second, lambda: market.statuses(second, order) == [S.REJECTED])
    assert shared.paused_s > 0
    assert market.exchange.do(lambda: dict(weights._warned)) == {"127.0.0.1": 1}


def test_margin_can_be_set_before_the_first_order(market: Bench) -> None:
    """So that the first order does not wait for it."""
    client = market.account()
    venue = market.venue(client, leverage=3)
    venue.prepare()
    assert market.exchange.do(lambda: client.leverage["BTCUSDT"]) == 3


def test_a_wrong_secret_stops_trading(market: Bench) -> None:
    """The venue says that its key is refused, and no order is sent."""
    client = market.account()
    venue = market.venue(client, secret="another")
    with pytest.raises(VenueError):
        market.send(venue, Side.BUY, "1", "99.5")
    assert market.ledger(client)["orders"] == []


def test_a_clock_that_differs_is_set_and_the_next_order_goes(market: Bench) -> None:
    """The first order is refused for its time and was not taken; the one after it is."""
    client = market.account()
    venue = market.venue(client)
    market.send(venue, Side.BUY, "1", "99", decision=9)
    market.exchange.faults.add("clock_skew", seconds=60.0)
    late = market.send(venue, Side.BUY, "1", "99.5")
    market.hear(venue, lambda: market.statuses(venue, late) == [S.REJECTED])
    market.hear(venue, lambda: venue.clock_set)
    good = market.send(venue, Side.BUY, "1", "99.5", decision=1)
    market.hear(venue, lambda: market.statuses(venue, good) == [S.OPEN])


def test_a_dead_bot_leaves_no_order_behind(market: Bench) -> None:
    """While the bot polls, its order stays; once it is silent, the exchange cancels it."""
    client = market.account()
    venue = market.venue(client, dead_man_s=6.0)
    order = market.send(venue, Side.BUY, "1", "99")
    market.hear(venue, lambda: bool(market.exchange.do(lambda: client.deadlines)))
    for _ in range(5):
        market.go(2 * SECOND)
        before = market.exchange.do(lambda: dict(client.deadlines))
        market.hear(venue, lambda seen=before: market.exchange.do(lambda: client.deadlines) != seen)
    assert market.ledger(client)["orders"][0]["status"] == "open"
    market.go(7 * SECOND)
    assert market.ledger(client)["orders"][0]["status"] == "cancelled"
    market.hear(venue, lambda: S.CANCELLED in market.statuses(venue, order))


def test_bybit_cancels_for_who_is_gone(open_bench: Callable[..., AbstractContextManager[Bench]]) -> None:
    """Its switch watches the stream: while that is there the order stays, a window after it was lost the order goes."""
    with open_bench(venue="bybit_linear") as market:
        client = market.account()
        venue = market.venue(client, dead_man_s=6.0)
        market.ready(venue)
        market.send(venue, Side.BUY, "1", "99")
        watched = market.exchange.server.dialects[0]._guarded
        market.hear(venue, lambda: bool(market.exchange.do(lambda: watched.get(client.key))))
        market.go(60 * SECOND)
        assert market.ledger(client)["orders"][0]["status"] == "open"
        venue.close()
        for _ in range(100):
            if market.exchange.do(lambda: client.deadlines):
                break
            market.go(SECOND // 100)
        market.go(7 * SECOND)
        assert market.ledger(client)["orders"][0]["status"] == "cancelled"


def test_a_maintenance_is_waited_out(market: Bench) -> None:
    """Streams are closed and every request is refused; afterwards the bot goes on with nothing lost."""
    client = market.account()
    venue = market.venue(client)
    market.ready(venue)
    order = market.send(venue, Side.BUY, "2", "99.8")
    market.exchange.faults.add("maintenance")
    market.go(2 * SECOND)
    with pytest.raises(TransientError):
        venue.positions(market.now)
    market.exchange.faults.heal()
    market.go(2 * SECOND)
    market.hear(venue, lambda: S.FILLED in market.statuses(venue, order))
    assert venue.positions(market.now) == {market.made.id: Quantity(2)}


def test_an_outage_of_one_endpoint_stops_only_what_needs_it(market: Bench) -> None:
    """Fills cannot be asked for, yet the stream tells them; orders go on."""
    venue = market.venue(market.account())
    market.ready(venue)
    market.exchange.faults.add("error", path="/userTrades")
    order = market.send(venue, Side.BUY, "2", "100.1")
    market.hear(venue, lambda: S.FILLED in market.statuses(venue, order))


def test_a_liquidation_is_told_with_its_price_and_fee(open_bench: Callable[..., AbstractContextManager[Bench]]) -> None:
    """At twenty times the money a fall of eight per cent takes the position: the bot hears of it, and holds nothing."""
    with open_bench(crash_feed()) as market:
        client = market.account(cash=100)
        venue = market.venue(client, leverage=20)
        market.ready(venue)
        order = market.send(venue, Side.BUY, "10", "100.1")
        market.hear(venue, lambda: market.filled(venue, order) == Quantity(10))
        market.go(3 * SECOND)
        market.hear(venue, lambda: any(isinstance(event, Liquidation) for event in market.said[venue]))
        (event,) = [event for event in market.said[venue] if isinstance(event, Liquidation)]
        booked = market.ledger(client)["fills"][-1]
        assert (event.side, event.quantity) == (Side.SELL, Quantity(10))
        assert (str(event.price), str(event.fee)) == (booked["price"], booked["fee"])
        assert venue.positions(market.now) == {}
