"""What is told of orders: once, forward only, complete, whatever order and number the messages come in."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import ccxt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryptoai.core.clock import MS
from cryptoai.core.errors import TransientError
from cryptoai.core.ids import client_order_id
from cryptoai.core.messages import Fill, OrderKind, OrderRequest, OrderStatus, OrderUpdate, Side
from cryptoai.core.money import Price, Quantity
from cryptoai.execution.adapters.ccxt_calls import Listed
from cryptoai.execution.adapters.ccxt_errors import Outcome, Scrubber, outcome
from cryptoai.execution.adapters.ccxt_limits import SharedLimiter
from cryptoai.execution.adapters.ccxt_tracking import Tracking
from cryptoai.execution.orders import Orders
from cryptoai.testing.fakes import make_instrument

MADE = make_instrument()
MARKET = Listed(MADE, "BTC/USDT:USDT", Decimal(1), contract=True)
NAME = client_order_id("bot", "revision", 1, MADE.id)


def request() -> OrderRequest:
    return OrderRequest(
        client_order_id=NAME,
        decision=1,
        time=0,
        instrument=MADE.id,
        side=Side.BUY,
        kind=OrderKind.LIMIT,
        quantity=Quantity(10),
        price=Price(100),
    )


def order(filled: int, status: str) -> tuple[str, dict[str, Any]]:
    body = {"id": "5", "clientOrderId": NAME, "symbol": MARKET.symbol, "status": status, "filled": str(filled)}
    return "order", {**body, "timestamp": 1, "lastUpdateTimestamp": 2}


def trade(number: int, amount: int) -> tuple[str, dict[str, Any]]:
    body = {"id": str(number), "order": "5", "price": "100", "amount": str(amount), "timestamp": 3}
    return "trade", {**body, "takerOrMaker": "maker", "fee": {"cost": "0.1", "currency": "USDT"}}


STORY = [order(0, "open"), trade(1, 4), order(4, "open"), trade(2, 5), order(9, "open"), order(9, "canceled")]
WHOLE = [order(0, "open"), trade(1, 4), order(4, "open"), trade(2, 6), order(10, "closed")]


def told(messages: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    tracking = Tracking("binanceusdm", {MARKET.symbol: MARKET})
    tracking.add(request(), MARKET)
    for now, (kind, body) in enumerate(messages):
        if kind == "order":
            tracking.take_order(body, now * MS)
        else:
            tracking.take_trade(body, now * MS)
    assert tracking.unreadable == []
    return tracking.news(len(messages) * MS)


@given(data=st.data(), story=st.sampled_from([STORY, WHOLE]))
def test_any_order_and_repetition_tells_the_same(data: st.DataObject, story: list[tuple[str, dict[str, Any]]]) -> None:
    """Each fill once, the end last, and the kernel's state machine takes all of it."""
    often = data.draw(st.lists(st.sampled_from(story), max_size=8))
    news = told(data.draw(st.permutations([*story, *often])))
    fills = [event for event in news if isinstance(event, Fill)]
    assert sorted(fill.fill_id for fill in fills) == ["1", "2"]
    end = OrderStatus.CANCELLED if story is STORY else OrderStatus.FILLED
    assert isinstance(news[-1], OrderUpdate)
    assert news[-1].status is end
    assert [event.known_at for event in news] == sorted(event.known_at for event in news)
    orders = Orders()
    orders.add(request())
    orders.sent(NAME)
    for event in news:
        orders.fill(event) if isinstance(event, Fill) else orders.update(event)
    known = orders.get(NAME)
    assert known is not None
    assert (known.status, known.filled) == (end, sum((f.quantity for f in fills), start=Quantity.zero()))


def test_an_end_waits_for_its_fills() -> None:
    """Closed with six of ten told: nothing final is said until the rest of the fills is there."""
    early = [order(0, "open"), trade(1, 4), order(10, "closed")]
    assert [type(event) for event in told(early)] == [OrderUpdate, Fill]
    assert told([*early, trade(2, 6)])[-1].status is OrderStatus.FILLED


def test_more_than_the_order_is_not_believed() -> None:
    """A trade beyond the quantity is reported as unreadable, and no fill is told."""
    tracking = Tracking("binanceusdm", {MARKET.symbol: MARKET})
    tracking.add(request(), MARKET)
    tracking.take_order(order(0, "open")[1], 0)
    tracking.take_trade(trade(1, 11)[1], 0)
    assert "beyond its quantity" in tracking.unreadable[0]
    assert not any(isinstance(event, Fill) for event in tracking.news(0))


JUNK = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.integers(), max_size=2)
)
FIELDS = st.sampled_from(sorted({*order(0, "open")[1], *trade(1, 1)[1], "side", "type", "amount", "reduceOnly"}))


@given(
    kind=st.sampled_from(["order", "trade"]),
    junk=st.dictionaries(FIELDS, JUNK | st.dictionaries(st.text(max_size=4), JUNK, max_size=2), max_size=6),
    forced=st.booleans(),
)
def test_no_message_breaks_it_or_makes_a_fill_up(kind: str, junk: dict[str, Any], forced: bool) -> None:
    """Whatever a field holds: nothing is raised, and what is told fits the order."""
    tracking = Tracking("binanceusdm", {MARKET.symbol: MARKET})
    tracking.add(request(), MARKET)
    tracking.take_order(order(0, "open")[1], 0)
    body = {**(order(4, "open") if kind == "order" else trade(1, 4))[1], **junk}
    if forced:
        body |= {"clientOrderId": "autoclose-1", "id": "9"}
    (tracking.take_order if kind == "order" else tracking.take_trade)(body, MS)
    for event in tracking.news(MS):
        if isinstance(event, Fill):
            assert (event.client_order_id, event.side) == (NAME, Side.BUY)
            assert event.quantity <= Quantity(10)


def test_orders_of_others_are_not_spoken_of() -> None:
    """Neither their updates nor their trades."""
    tracking = Tracking("binanceusdm", {MARKET.symbol: MARKET})
    assert tracking.take_order({**order(0, "open")[1], "clientOrderId": "by-hand"}, 0) is None
    tracking.take_trade(trade(1, 4)[1], 0)
    assert tracking.news(0) == []


def test_a_forced_close_is_a_liquidation() -> None:
    """The venue's own order closes our position: told as such, with its price and fee, once."""
    tracking = Tracking("binanceusdm", {MARKET.symbol: MARKET})
    forced = {**order(4, "closed")[1], "clientOrderId": "autoclose-77", "side": "sell", "amount": "4", "type": "limit"}
    for _ in range(2):
        tracking.take_order(forced, 0)
        tracking.take_trade(trade(1, 4)[1], 0)
    (event,) = tracking.news(0)
    assert type(event).__name__ == "Liquidation"
    assert (event.side, event.quantity) == (Side.SELL, Quantity(4))


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (ccxt.ExchangeError('x {"code":-2019,"msg":"Margin is insufficient."}'), Outcome.REFUSED),
        (ccxt.ExchangeError('x {"code": -5022, "msg": "Post Only"}'), Outcome.REFUSED),
        (ccxt.InsufficientFunds("x"), Outcome.REFUSED),
        (ccxt.InvalidOrder('x {"code":-2013}'), Outcome.MISSING),
        (ccxt.OrderNotFound("x"), Outcome.MISSING),
        (ccxt.OperationRejected('x {"code":-4046}'), Outcome.SAME),
        (ccxt.RequestTimeout("x"), Outcome.UNKNOWN),
        (ccxt.NetworkError("x"), Outcome.UNKNOWN),
        (ccxt.ExchangeNotAvailable('x 503 {"code":-1001}'), Outcome.UNKNOWN),
        (ccxt.ExchangeNotAvailable("x 404"), Outcome.UNKNOWN),
        (RuntimeError("anything"), Outcome.UNKNOWN),
        (ccxt.OperationFailed('x {"code":-1008}'), Outcome.LATER),
        (ccxt.DDoSProtection('x 429 {"code":-2019}'), Outcome.LATER),
        (ccxt.InvalidNonce('x {"code":-1021}'), Outcome.LATER),
        (ccxt.OnMaintenance("x"), Outcome.LATER),
        (ccxt.AuthenticationError('x {"code":-2015}'), Outcome.STOP),
        (ccxt.ExchangeError('x {"retCode":110007,"retMsg":"ab not enough"}'), Outcome.REFUSED),
        (ccxt.ExchangeError('x {"retCode":10003,"retMsg":"API key is invalid"}'), Outcome.STOP),
    ],
)
def test_every_error_has_one_meaning(error: Exception, result: Outcome) -> None:
    """The venue's code before ccxt's class, and whatever is not known may have happened."""
    assert outcome(error) is result


def test_secrets_and_signatures_are_taken_out_of_text() -> None:
    """Of every form in which an address or a header may carry them."""
    said = "GET https://x/?a=1&signature=abc%2B=&b 'X-MBX-APIKEY': 'topsecret' topsecret"
    text = Scrubber(("topsecret", "")).clean(said)
    assert "topsecret" not in text
    assert "abc" not in text
    assert repr(Scrubber(("topsecret",))) == "Scrubber()"


def test_the_budget_is_shared_and_its_reserve_is_for_what_is_urgent() -> None:
    """Ten units, two in reserve: a third ordinary four wait, an urgent one does not; what is refused costs nothing."""
    now = [0.0]
    limiter = SharedLimiter(1.0, 10.0, clock=lambda: now[0])
    assert limiter.take(4.0) == 0.0
    assert limiter.take(4.0) == 0.0
    assert limiter.take(2.0, urgent=True) == 0.0
    assert limiter.take(1.0, urgent=True) == pytest.approx(1.0)
    with pytest.raises(TransientError, match="rate limit"):
        limiter.take(4.0)
    now[0] = 5.0
    assert limiter.take(1.0) == 0.0


def test_a_pause_holds_everybody() -> None:
    """What is urgent too, until it is over; a shorter pause does not cut a longer one."""
    now = [0.0]
    limiter = SharedLimiter(10.0, 10.0, clock=lambda: now[0])
    limiter.pause(60.0)
    limiter.pause(1.0)
    for urgent in (False, True):
        with pytest.raises(TransientError) as refused:
            limiter.take(1.0, urgent=urgent)
        assert refused.value.retry_after_s == pytest.approx(60.0)
    now[0] = 60.0
    assert limiter.paused_s == 0.0
    assert limiter.take(1.0) == 0.0
