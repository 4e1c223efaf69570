"""Stops, targets, fill-or-kill, replacements and the venue's filters, on books small enough to check by hand."""

from cryptoai.core.messages import Fill, OrderKind, OrderRequest, OrderStatus, OrderUpdate, Side
from cryptoai.data_universe.events import ASK, BID, GAP, LEVEL, TRADE

BUY, SELL = Side.BUY, Side.SELL


def _fills(exchange):
    return [
        (a.client_order_id, a.event_time, float(a.price), float(a.quantity))
        for a in exchange.answers()
        if isinstance(a, Fill)
    ]


def _last(exchange):
    *_, update = (a for a in exchange.answers() if isinstance(a, OrderUpdate))
    return update.status, update.reason


def _waiting(make_request, price, kind: OrderKind, side: Side, trigger: int, lots: int, on: str) -> OrderRequest:
    asked = make_request("s", side, OrderKind.MARKET, None, lots, reduce=True)
    return OrderRequest.model_validate(asked.model_dump() | {"kind": kind, "trigger": price(trigger), "trigger_on": on})


def _held(make_exchange, make_request, rows, **rules):
    """An exchange where 50 steps were bought at 1."""
    exchange = make_exchange(rows, **rules)
    exchange.advance(1)
    exchange.place(make_request("in", BUY, OrderKind.MARKET, None, 50), 1)
    exchange.answers()
    return exchange


def test_a_stop_fills_at_what_the_book_gives_behind_a_gap(make_exchange, make_request, price) -> None:
    """Stop at 98; the market falls from 100 to 90 at once: 30 go at 90 and 20 at 89, none at 98."""
    fall = [
        (10, LEVEL, BID, 100, 0), (10, LEVEL, BID, 99, 0), (10, LEVEL, BID, 90, 30), (10, LEVEL, BID, 89, 100),
        (10, TRADE, -1, 90, 5),
    ]  # fmt: skip
    exchange = _held(make_exchange, make_request, fall)
    exchange.place(_waiting(make_request, price, OrderKind.STOP, SELL, 98, 50, "last"), 2)
    exchange.advance(9)
    assert _fills(exchange) == []
    exchange.advance(50)
    assert _fills(exchange) == [("s", 10, 45.0, 3.0), ("s", 10, 44.5, 2.0)]


def test_a_target_waits_for_a_better_price_and_takes_the_bid(make_exchange, make_request, price) -> None:
    """Target at 105: a trade there sells at the bid of that moment."""
    rows = [(10, LEVEL, ASK, 102, 0), (10, LEVEL, ASK, 103, 0), (10, LEVEL, BID, 104, 80), (11, TRADE, 1, 105, 1)]
    exchange = _held(make_exchange, make_request, rows)
    exchange.place(_waiting(make_request, price, OrderKind.TAKE_PROFIT, SELL, 105, 50, "last"), 2)
    exchange.advance(50)
    assert _fills(exchange) == [("s", 11, 52.0, 5.0)]


def test_a_stop_on_the_mark_ignores_a_single_bad_print(make_exchange, make_request, price) -> None:
    """One trade at 1 does not move the mid, so the stop on the mark sleeps; the one on last trades goes."""
    rows = [(10, TRADE, -1, 1, 1)]
    for on, sold in (("mark", 0), ("last", 1)):
        exchange = _held(make_exchange, make_request, rows)
        exchange.place(_waiting(make_request, price, OrderKind.STOP, SELL, 98, 50, on), 2)
        exchange.advance(5_000_000_000)
        assert len(_fills(exchange)) == sold


def test_a_stop_whose_trigger_is_passed_already_goes_at_once(make_exchange, make_request, price) -> None:
    """The mid is 101: a stop to sell at 105 does not wait."""
    exchange = _held(make_exchange, make_request, [])
    exchange.advance(2)
    exchange.place(_waiting(make_request, price, OrderKind.STOP, SELL, 105, 50, "mark"), 2)
    assert _fills(exchange) == [("s", 2, 50.0, 5.0)]


def test_a_stop_reached_in_a_gap_goes_when_the_book_is_back(make_exchange, make_request, price) -> None:
    """Nothing can be taken from an unknown book; the first trade behind the next snapshot sends it on."""
    rows = [
        (10, GAP, 0, 0, 0), (11, TRADE, -1, 95, 5), (20, 2, 0, 0, 0), (20, LEVEL, BID, 94, 90), (21, TRADE, 1, 96, 1),
    ]  # fmt: skip
    exchange = _held(make_exchange, make_request, rows)
    exchange.place(_waiting(make_request, price, OrderKind.STOP, SELL, 98, 50, "last"), 2)
    exchange.advance(50)
    assert _fills(exchange) == [("s", 21, 47.0, 5.0)]


def test_a_cancelled_stop_sleeps_for_ever(make_exchange, make_request, price) -> None:
    """Its trigger passes it by."""
    exchange = _held(make_exchange, make_request, [(10, TRADE, -1, 90, 5)])
    exchange.place(_waiting(make_request, price, OrderKind.STOP, SELL, 98, 50, "last"), 2)
    exchange.cancel("s", 3)
    assert _last(exchange) == (OrderStatus.CANCELLED, "cancelled")
    exchange.advance(50)
    assert _fills(exchange) == []


def test_fill_or_kill_takes_all_or_nothing(make_exchange, make_request) -> None:
    """70 stand at 103 or better: 71 are killed, 70 filled."""
    exchange = make_exchange()
    exchange.advance(0)
    exchange.place(make_request("a", BUY, OrderKind.FOK, 103, 71), 0)
    assert _last(exchange) == (OrderStatus.CANCELLED, "fok: 7 can be had")
    exchange.place(make_request("b", BUY, OrderKind.FOK, 103, 70), 0)
    assert sum(quantity for *_, quantity in _fills(exchange)) == 7.0


def test_a_replacement_keeps_the_queue_only_where_the_rule_says_so(make_exchange, make_request) -> None:
    """Behind 100; 80 trade; then 40 for 50 at the same price: by the rule 20 are ahead, without it all shown."""
    rows = [(10, TRADE, -1, 100, 80), (20, TRADE, -1, 100, 50)]
    for keeps, filled in ((True, 3.0), (False, 0.0)):
        exchange = make_exchange(rows, amend_keeps_queue=keeps)
        exchange.advance(1)
        exchange.place(make_request("old", BUY, OrderKind.LIMIT, 100, 50), 1)
        exchange.advance(10)
        exchange.replace("old", make_request("new", BUY, OrderKind.LIMIT, 100, 40), 11)
        assert [r.client_order_id for r in exchange.open_orders()] == ["new"]
        exchange.advance(20)
        assert sum(quantity for *_, quantity in _fills(exchange)) == filled


def test_what_is_gone_cannot_be_replaced(make_exchange, make_request) -> None:
    """The replacement is rejected, so that a filled order is not filled twice."""
    exchange = make_exchange()
    exchange.advance(1)
    exchange.place(make_request("old", BUY, OrderKind.LIMIT, 102, 5), 1)
    exchange.replace("old", make_request("new", BUY, OrderKind.LIMIT, 101, 5), 2)
    assert _last(exchange) == (OrderStatus.REJECTED, "old is not open and cannot be replaced")


def test_a_price_far_from_the_mark_is_refused_and_a_market_order_stops_there(make_exchange, make_request) -> None:
    """Mark 101, band 5 %: a bid of 110 is refused, and a market order leaves the 110 alone."""
    exchange = make_exchange(price_band_pct=0.05)
    exchange.advance(0)
    exchange.place(make_request("a", BUY, OrderKind.LIMIT, 110, 5), 0)
    assert "from the mark" in _last(exchange)[1]
    exchange.place(make_request("b", BUY, OrderKind.MARKET, None, 80), 0)
    assert sum(quantity for *_, quantity in _fills(exchange)) == 7.0


def test_past_the_book_the_rest_pays_impact_and_slicing_does_not_help(make_exchange, make_request) -> None:
    """1,070 displayed; 107 more at 100 bps x sqrt(0.1) past 110, up to the next tick; the next slice pays more."""
    exchange = make_exchange(impact_bps=100)
    exchange.advance(0)
    exchange.place(make_request("a", BUY, OrderKind.MARKET, None, 1_177), 0)
    assert _fills(exchange)[-1] == ("a", 0, 55.5, 10.7)
    dear = make_exchange(impact_bps=1000)
    dear.advance(0)
    dear.place(make_request("a", BUY, OrderKind.MARKET, None, 1_177), 0)
    dear.place(make_request("b", BUY, OrderKind.MARKET, None, 107), 1)
    first, second = _fills(dear)[-2:]
    assert (first[2], second[2]) == (57.0, 57.5)
