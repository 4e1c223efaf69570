"""The matching rules, one by one, on books small enough to check by hand."""

import pytest

from cryptoai.backtesting.exchange import Exchange
from cryptoai.core.instruments import Contract
from cryptoai.core.messages import Fill, OrderKind, OrderStatus, OrderUpdate, Side
from cryptoai.data_universe.events import ASK, BID, CLEAR, GAP, LEVEL, TRADE

BUY, SELL = Side.BUY, Side.SELL
LIMIT, POST, IOC, MARKET = OrderKind.LIMIT, OrderKind.POST_ONLY, OrderKind.IOC, OrderKind.MARKET


def _fills(exchange: Exchange) -> list[tuple[str, int, float, float]]:
    """(order, time, price, quantity) of the fills answered since the last look."""
    return [
        (a.client_order_id, a.event_time, float(a.price), float(a.quantity))
        for a in exchange.answers()
        if isinstance(a, Fill)
    ]


def _statuses(exchange: Exchange) -> list[tuple[OrderStatus, str]]:
    return [(a.status, a.reason) for a in exchange.answers() if isinstance(a, OrderUpdate)]


def test_queue_of_100_and_trades_of_80_30_50_fill_0_10_40(make_exchange, make_request) -> None:
    """The worked example of a pessimistic first-in-first-out queue."""
    trades = [(10, TRADE, -1, 100, 80), (20, TRADE, -1, 100, 30), (30, TRADE, -1, 100, 50)]
    exchange = make_exchange(trades)
    exchange.advance(1)
    exchange.place(make_request("a", BUY, LIMIT, 100, 50), 1)
    exchange.advance(10)
    assert _fills(exchange) == []
    exchange.advance(20)
    assert _fills(exchange) == [("a", 20, 50.0, 1.0)]
    exchange.advance(30)
    assert _fills(exchange) == [("a", 30, 50.0, 4.0)]
    assert exchange.open_orders() == []


def test_trades_of_our_own_side_do_not_fill_us(make_exchange, make_request) -> None:
    """A buyer's trade says nothing to a resting buy, whatever its price."""
    exchange = make_exchange([(10, TRADE, 1, 99, 1000)])
    exchange.advance(1)
    exchange.place(make_request("a", BUY, LIMIT, 101, 50), 1)
    exchange.advance(10)
    assert _fills(exchange) == []


def test_only_a_level_that_shows_less_than_ahead_moves_us_up(make_exchange, make_request) -> None:
    """A shrink to 60 leaves 60 ahead, growth to 500 stands behind us, so a trade of 70 fills 10."""
    rows = [(10, LEVEL, BID, 100, 60), (11, LEVEL, BID, 100, 500), (20, TRADE, -1, 100, 70)]
    exchange = make_exchange(rows)
    exchange.advance(1)
    exchange.place(make_request("a", BUY, POST, 100, 50), 1)
    exchange.advance(20)
    assert _fills(exchange) == [("a", 20, 50.0, 1.0)]


def test_a_trade_through_our_price_fills_up_to_what_traded(make_exchange, make_request) -> None:
    """A seller who hits 99 must have eaten the whole of 100, us included; a unit traded fills us once."""
    exchange = make_exchange([(10, TRADE, -1, 99, 20), (11, TRADE, -1, 99, 200)])
    exchange.advance(1)
    exchange.place(make_request("a", BUY, LIMIT, 100, 50), 1)
    exchange.advance(10)
    assert _fills(exchange) == [("a", 10, 50.0, 2.0)]
    exchange.advance(11)
    assert _fills(exchange) == [("a", 11, 50.0, 3.0)]


def test_one_trade_fills_our_orders_in_price_and_time_priority_once(make_exchange, make_request) -> None:
    """Of 160 traded at 100: 30 to the better order at 101, then 100 ahead, then 30 to the older order at 100."""
    exchange = make_exchange([(10, TRADE, -1, 100, 160)])
    exchange.advance(1)
    exchange.place(make_request("old", BUY, LIMIT, 100, 40), 1)
    exchange.place(make_request("sell", SELL, LIMIT, 120, 40), 1)
    exchange.place(make_request("new", BUY, LIMIT, 100, 40), 1)
    exchange.place(make_request("better", BUY, LIMIT, 101, 30), 1)
    exchange.advance(10)
    assert _fills(exchange) == [("better", 10, 50.5, 3.0), ("old", 10, 50.0, 3.0)]


def test_a_sell_rests_and_fills_as_a_mirror_of_a_buy(make_exchange, make_request) -> None:
    """30 ahead at 102: a buyer of 45 fills 15."""
    exchange = make_exchange([(10, TRADE, 1, 102, 45)])
    exchange.advance(1)
    exchange.place(make_request("a", SELL, LIMIT, 102, 50), 1)
    exchange.advance(10)
    assert _fills(exchange) == [("a", 10, 51.0, 1.5)]


def test_an_opposite_side_that_reaches_our_price_fills_us_with_what_it_shows(make_exchange, make_request) -> None:
    """After the bid moved away, 15 are offered at our price: they fill us at our price, as maker, once."""
    rows = [(10, LEVEL, BID, 100, 0), (10, LEVEL, ASK, 100, 15), (11, LEVEL, BID, 98, 5)]
    exchange = make_exchange(rows)
    exchange.advance(1)
    exchange.place(make_request("a", BUY, LIMIT, 100, 50), 1)
    exchange.advance(11)
    (fill,) = [a for a in exchange.answers() if isinstance(a, Fill)]
    assert (float(fill.quantity), float(fill.price), fill.maker) == (1.5, 50.0, True)


def test_a_market_order_walks_the_book_and_pays_each_level(make_exchange, make_request) -> None:
    """80 bought: 30 at 102, 40 at 103, 10 at 110, taker fee of 5 basis points on each."""
    exchange = make_exchange()
    exchange.advance(0)
    exchange.place(make_request("a", BUY, MARKET, None, 80), 3)
    fills = [a for a in exchange.answers() if isinstance(a, Fill)]
    assert [(float(f.price), float(f.quantity)) for f in fills] == [(51.0, 3.0), (51.5, 4.0), (55.0, 1.0)]
    assert [str(f.fee) for f in fills] == ["0.0765", "0.103", "0.0275"]
    assert [f.fill_id for f in fills] == ["a-1", "a-2", "a-3"]
    assert {(f.event_time, f.known_at) for f in fills} == {(3, 8)}


def test_a_market_order_bigger_than_the_book_is_cancelled_for_the_rest(make_exchange, make_request) -> None:
    """300 stand on the bid side; what is left of 301 is not invented."""
    exchange = make_exchange()
    exchange.advance(0)
    exchange.place(make_request("a", SELL, MARKET, None, 301), 0)
    answers = exchange.answers()
    assert sum(float(a.quantity) for a in answers if isinstance(a, Fill)) == pytest.approx(30.0)
    assert answers[-1].status is OrderStatus.CANCELLED  # type: ignore[union-attr]


def test_displayed_quantity_is_taken_once_until_the_book_sets_it_anew(make_exchange, make_request) -> None:
    """Two orders of 25 share 30 displayed; after the level is told again its whole quantity is there."""
    exchange = make_exchange([(10, LEVEL, ASK, 102, 30)])
    exchange.advance(0)
    exchange.place(make_request("a", BUY, IOC, 102, 25), 1)
    exchange.place(make_request("b", BUY, IOC, 102, 25), 2)
    assert [quantity for *_, quantity in _fills(exchange)] == [2.5, 0.5]
    exchange.advance(10)
    exchange.place(make_request("c", BUY, IOC, 102, 25), 10)
    assert [quantity for *_, quantity in _fills(exchange)] == [2.5]


def test_a_limit_order_takes_up_to_its_price_and_rests_with_the_remainder(make_exchange, make_request) -> None:
    """60 at 102 take 30 and leave 30 at the head of an empty level."""
    exchange = make_exchange([(10, TRADE, -1, 102, 10)])
    exchange.advance(0)
    exchange.place(make_request("a", BUY, LIMIT, 102, 60), 1)
    exchange.advance(10)
    assert _fills(exchange) == [("a", 1, 51.0, 3.0), ("a", 10, 51.0, 1.0)]
    assert [r.client_order_id for r in exchange.open_orders()] == ["a"]


def test_an_ioc_order_never_rests(make_exchange, make_request) -> None:
    """What cannot be taken at once is cancelled."""
    exchange = make_exchange()
    exchange.advance(0)
    exchange.place(make_request("a", BUY, IOC, 101, 5), 1)
    assert _statuses(exchange) == [(OrderStatus.OPEN, ""), (OrderStatus.CANCELLED, "ioc: nothing more to take")]


@pytest.mark.parametrize(
    ("side", "kind", "ticks", "lots", "says"),
    [
        (BUY, POST, 102, 5, "would take"),
        (SELL, POST, 100, 5, "would take"),
        (BUY, LIMIT, 0, 5, "multiple of the tick"),
    ],
)
def test_what_a_real_exchange_refuses_is_rejected_with_its_reason(
    make_exchange, make_request, side, kind, ticks, lots, says
) -> None:
    """A refused order gets one answer and leaves nothing behind."""
    exchange = make_exchange()
    exchange.advance(0)
    exchange.place(make_request("a", side, kind, ticks, lots), 0)
    ((status, reason),) = _statuses(exchange)
    assert status is OrderStatus.REJECTED
    assert says in reason
    assert exchange.open_orders() == []


def test_off_tick_off_step_and_small_orders_are_rejected(make_exchange, make_instrument, make_request) -> None:
    """Half a tick, half a step and a notional under the minimum; a reducing order is exempt from the minimum."""
    exchange = make_exchange(made=make_instrument(min_notional="60"))
    exchange.advance(0)
    fine = make_request("fine", BUY, LIMIT, 100, 20)
    exchange.place(fine.model_copy(update={"client_order_id": "t", "price": fine.price.times(3).__class__("50.25")}), 0)
    exchange.place(fine.model_copy(update={"client_order_id": "s", "quantity": fine.quantity.__class__("2.05")}), 0)
    exchange.place(make_request("n", BUY, LIMIT, 100, 11), 0)
    reasons = [reason for _, reason in _statuses(exchange)]
    assert [word in reason for word, reason in zip(("tick", "step", "minimum"), reasons, strict=True)] == [True] * 3
    exchange.place(make_request("buy", BUY, MARKET, None, 12), 0)
    exchange.place(make_request("out", SELL, MARKET, None, 12, reduce=True), 0)
    assert not exchange.position


def test_reduce_only_never_passes_through_zero(make_exchange, make_request) -> None:
    """Held 10: a reducing sale of 30 fills 10 and the rest is cancelled; flat, it is rejected."""
    exchange = make_exchange([(10, TRADE, 1, 105, 100)])
    exchange.advance(0)
    exchange.place(make_request("none", SELL, MARKET, None, 5, reduce=True), 0)
    exchange.place(make_request("in", BUY, MARKET, None, 10), 0)
    exchange.place(make_request("out", SELL, LIMIT, 104, 30, reduce=True), 1)
    exchange.advance(10)
    answers = exchange.answers()
    assert answers[0].status is OrderStatus.REJECTED  # type: ignore[union-attr]
    assert not exchange.position
    assert [a.status for a in answers if isinstance(a, OrderUpdate)][-1] is OrderStatus.CANCELLED
    assert exchange.open_orders() == []


def test_spot_cannot_be_sold_short(make_exchange, make_instrument, make_request) -> None:
    """A spot sale needs the coins."""
    exchange = make_exchange(made=make_instrument(Contract.SPOT))
    exchange.advance(0)
    exchange.place(make_request("a", SELL, MARKET, None, 5), 0)
    ((status, reason),) = _statuses(exchange)
    assert status is OrderStatus.REJECTED
    assert "insufficient balance" in reason


def test_nothing_can_be_taken_while_the_book_is_unknown(make_exchange, make_request) -> None:
    """From a gap to the next snapshot orders are rejected; a resting order keeps its place and fills by trades."""
    rows = [
        (10, GAP, 0, 0, 0),
        (11, TRADE, -1, 100, 110),
        (20, CLEAR, 0, 0, 0),
        (20, LEVEL, BID, 100, 7),
    ]
    exchange = make_exchange(rows)
    exchange.advance(1)
    exchange.place(make_request("a", BUY, LIMIT, 100, 50), 1)
    exchange.advance(10)
    exchange.place(make_request("b", BUY, MARKET, None, 5), 10)
    assert _statuses(exchange)[-1] == (OrderStatus.REJECTED, "the book is unknown")
    exchange.advance(20)
    assert _fills(exchange) == [("a", 11, 50.0, 1.0)]


def test_a_cancel_ends_the_order_and_a_second_one_says_nothing(make_exchange, make_request) -> None:
    """After the cancel a trade at its price passes it by."""
    exchange = make_exchange([(10, TRADE, -1, 99, 500)])
    exchange.advance(1)
    exchange.place(make_request("a", BUY, LIMIT, 100, 50), 1)
    exchange.cancel("a", 2)
    exchange.cancel("a", 3)
    exchange.cancel("never", 3)
    exchange.advance(10)
    assert _statuses(exchange) == [(OrderStatus.OPEN, ""), (OrderStatus.CANCELLED, "cancelled")]


def test_the_same_id_twice_is_one_order(make_exchange, make_request) -> None:
    """A resend changes nothing."""
    exchange = make_exchange()
    exchange.advance(0)
    exchange.place(make_request("a", BUY, MARKET, None, 5), 0)
    exchange.place(make_request("a", BUY, MARKET, None, 5), 1)
    assert len(_fills(exchange)) == 1


def test_hundreds_of_orders_find_room(make_exchange, make_request) -> None:
    """The kernel's table grows; every resting order still fills in order of time."""
    exchange = make_exchange([(10, TRADE, -1, 99, 1000)])
    exchange.advance(1)
    for n in range(600):
        exchange.place(make_request(f"o{n}", BUY, LIMIT, 100, 1), 1)
    exchange.advance(10)
    assert [name for name, *_ in _fills(exchange)] == [f"o{n}" for n in range(600)]
